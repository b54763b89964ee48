#!/bin/bash
# Slurm batch script for pretraining: one process a GPU, requeued until the run is done. sbatch pretrain.sh CONFIG
#
# Edit what is between here and `set`; `logfm plan CONFIG` says how many GPUs of which kind the model needs. CONFIG and
# every path in it must lie on a file system that all nodes see. In CONFIG, `train.strategy: deepspeed` shares the model
# out over the GPUs; train.nodes and train.devices are set from what Slurm gives.
#SBATCH --job-name=logfm-pretrain
#SBATCH --nodes=2
# One process a GPU.
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the time is over the script asks for another turn. The run goes on from its last checkpoint: see
# that train.checkpoint_every steps take less than that.
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail
config=${1:?"usage: sbatch pretrain.sh CONFIG [--set a.b=value]..."}
shift

# Activate the environment that logfm is installed in here, where it is not the login shell's:
# source /path/to/venv/bin/activate

# Data loading and the CPU parts of DeepSpeed use the cores of their own task only.
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

# One process that dies ends the others at once; the rest of the run would wait for it. In the background, because bash
# runs a trap only between commands.
srun --kill-on-bad-exit=1 --cpus-per-task="$OMP_NUM_THREADS" \
  logfm pretrain "$config" \
  --set train.nodes="$SLURM_JOB_NUM_NODES" \
  --set train.devices="$SLURM_NTASKS_PER_NODE" \
  "$@" &
wait $!
