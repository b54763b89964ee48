"""How devices share the work: Lightning's own strategies, and its DeepSpeed strategy made to run on CPUs too."""

import os
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from logfm.configs.schema.pretrain import TrainConfig
from logfm.errors import UserError
from logfm.extras import require


def build_strategy(config: TrainConfig) -> Any:
    """The value for `Trainer(strategy=...)`; no process waits for another longer than `timeout_minutes`.

    On a CPU, `offload` changes nothing: all memory is the host's.

    Raises:
        UserError: DeepSpeed is asked for and not installed.
    """
    timeout = timedelta(minutes=config.timeout_minutes)
    if config.strategy != "deepspeed":
        if config.strategy == "auto" and config.devices * config.nodes == 1:
            return "auto"
        from lightning.pytorch.strategies import DDPStrategy

        return DDPStrategy(timeout=timeout)
    on_cpu = uses_cpu(config)
    if on_cpu:
        # Read by DeepSpeed when it is imported.
        os.environ["DS_ACCELERATOR"] = "cpu"
    require("deepspeed", "train")
    from logfm.pretrain.zero import ZeroOnCPUStrategy, ZeroStrategy

    options: dict[str, Any] = {"stage": config.zero_stage, "logging_batch_size_per_gpu": 1, "timeout": timeout}
    if on_cpu:
        # The usual buckets are for GPUs: two buffers of 0.8 GB each, written anew in every step.
        small: dict[str, Any] = {"reduce_bucket_size": 5_000_000, "allgather_bucket_size": 5_000_000}
        return ZeroOnCPUStrategy(process_group_backend="gloo", overlap_comm=False, **small, **options)
    strategy = ZeroStrategy(
        **options, offload_optimizer=config.offload != "none", offload_parameters=config.offload == "parameters"
    )
    if config.offload != "none" and strategy.config is not None:
        # The optimizer stays torch's AdamW, on the host; DeepSpeed's own needs a compiler.
        strategy.config["zero_force_ds_cpu_optimizer"] = False
    return strategy


def plugins(config: TrainConfig) -> list[Any]:
    """The values for `Trainer(plugins=...)`: whole checkpoints, and Slurm without Lightning's own requeueing."""
    from logfm.pretrain.saving import WholeCheckpointIO

    chosen: list[Any] = [] if config.strategy == "deepspeed" else [WholeCheckpointIO()]
    if _launcher() == "srun":
        # Lightning's requeueing saves no place in the data. The batch script requeues, and the job goes on from the
        # last checkpoint.
        chosen.append(SLURMEnvironment(auto_requeue=False))
    return chosen


def check_launch(config: TrainConfig) -> None:
    """Compare what was started with what the configuration names.

    Raises:
        UserError: torchrun or srun started another number of processes, nothing starts those of the other nodes, or
            this machine has fewer GPUs.
    """
    if not uses_cpu(config) and config.devices > torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise UserError(
            f"train.devices is {config.devices}, and torch sees {there} GPU{'s' * (there != 1)}",
            fix=f"Set it to {there} or fewer.",
        )
    wanted, launcher = config.devices * config.nodes, _launcher()
    if launcher is None:
        if config.nodes > 1:
            raise UserError(f"train.nodes is {config.nodes}", fix="Start the run on each of them: torchrun or srun.")
        return
    started = int(os.environ["WORLD_SIZE" if launcher == "torchrun" else "SLURM_NTASKS"])
    if started != wanted:
        raise UserError(
            f"{launcher} started {started} processes, and train.devices times train.nodes is {wanted}",
            fix="Set them to what is started.",
        )


def _launcher() -> str | None:
    """What started this process, in the order in which Lightning asks."""
    if TorchElasticEnvironment.detect():
        return "torchrun"
    return "srun" if SLURMEnvironment.detect() else None


def uses_cpu(config: TrainConfig) -> bool:
    """Whether the run is on the CPU.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    if config.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("train.accelerator is gpu, and torch sees no GPU", fix="See: logfm doctor")
    return config.accelerator == "cpu" or not torch.cuda.is_available()


def global_rank() -> int:
    """This process's number among all of the run, as torchrun, Slurm or Lightning's launcher tells it."""
    # Inside an interactive allocation Slurm's number is that of the shell, and Lightning launches the processes.
    launcher = _launcher()
    name = "LOCAL_RANK" if launcher is None else {"torchrun": "RANK", "srun": "SLURM_PROCID"}[launcher]
    return int(os.environ.get(name, "0"))
