"""Several processes: ZeRO, torchrun, Slurm, other numbers of ranks; and a rank or a disk that gives out."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import yaml
from pydantic import ValidationError

from logfm.cli import main
from logfm.configs import scripts
from logfm.configs.schema.pretrain import MaskingConfig, PretrainConfig
from logfm.configs.schema.tokenizer import TokenizerConfig
from logfm.errors import LogfmError, UserError
from logfm.pretrain import export_checkpoint, load_encoder, pretrain, saving
from logfm.pretrain.callbacks import read_history, saved_steps
from logfm.pretrain.data import Leg, TrainBatches
from logfm.pretrain.reshape import _recipe, reshape_checkpoint
from logfm.pretrain.strategy import check_launch, global_rank
from logfm.tokenizer import train
from tests.pretrain.conftest import log_lines, write_corpus

# Odd widths: nothing divides evenly over two ranks.
SMALL = {
    "model": {"hidden_size": 30, "layers": 1, "heads": 2, "intermediate_size": 63},
    "data": {"tokens_per_batch": 512},
}
TRAIN = {"steps": 28, "checkpoint_every": 2, "validate_every": 7, "logger": "none"}
ZERO = {"strategy": "deepspeed", "devices": 2}
ENVIRONMENT = {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK")


def written(config, path):
    """The configuration as a file."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_none=True)))
    return path


def spawn(command, **more):
    clean = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    return subprocess.Popen(
        [str(part) for part in command], env=clean | ENVIRONMENT | {"PATH": PATH} | more, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def output(process, code=0):
    try:
        text, _ = process.communicate(timeout=280)
    finally:
        # A launcher that is killed leaves its workers.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode == 0) == (code == 0), text
    return text


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def two_nodes(config_file):
    """Two torchrun launchers, as on two machines, with one process each; the first holds the rendezvous."""
    rendezvous = ["--rdzv-backend=static", f"--rdzv-endpoint=127.0.0.1:{free_port()}"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *rendezvous]
    run = ["-m", "logfm.cli", "pretrain", config_file]
    return [spawn([*launch, f"--node-rank={node}", *run]) for node in range(2)]


def wait_for(path, processes):
    deadline = time.monotonic() + 240
    while not path.exists():
        assert all(process.poll() is None for process in processes), [process.communicate()[0] for process in processes]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def validation(run):
    """Validation loss by step."""
    return {row["step"]: row["validation_loss"] for row in read_history(run) if "validation_loss" in row}


def trained(run):
    """Training loss by step."""
    return {row["step"]: row["train_loss"] for row in read_history(run) if "train_loss" in row}


@pytest.fixture(scope="module")
def alone(configure, tmp_path_factory):
    """The same global batches on one process: what the runs on two must agree with."""
    out = tmp_path_factory.mktemp("alone")
    pretrain(configure(out, **SMALL, train=TRAIN | {"accumulate": 2}))
    return out


@pytest.fixture(scope="module")
def killed(configure, tmp_path_factory):
    """A run under torchrun on two nodes, one of whose processes was killed: its folder, its file, what nodes said."""
    out = tmp_path_factory.mktemp("nodes") / "out"
    train = TRAIN | ZERO | {"devices": 1, "nodes": 2, "timeout_minutes": 0.5}
    file = written(configure(out, **SMALL, train=train), out.with_suffix(".yaml"))
    nodes = two_nodes(file)
    wait_for(out / ".run.partial" / "checkpoints" / "step=4.ckpt", nodes)
    children = psutil.Process(nodes[1].pid).children(recursive=True)
    next(child for child in children if "pretrain" in child.cmdline()).kill()
    return out, file, [output(node, code=1) for node in nodes]


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_in_one_line(killed):
    out, _, said = killed
    lines = [line for line in said[0].splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "another process of the run ended" in lines[0]
    assert not (out / "run").exists()
    for checkpoint in (out / ".run.partial" / "checkpoints").glob("step=*.ckpt"):
        export_checkpoint(checkpoint, out.parent / f"encoder-{checkpoint.stem}")


@pytest.mark.slow
def test_two_torchrun_nodes_go_on_and_agree_with_one_process(killed, alone):
    out, file, _ = killed
    shutil.copytree(out, out.with_name("copy"))
    said = [output(node) for node in two_nodes(file)]
    assert any("resuming at step" in text for text in said)
    assert validation(out / "run") == pytest.approx(validation(alone / "run"), rel=1e-4)
    assert sorted(validation(out / "run")) == [7, 14, 21, 28]


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "offload"), [(1, "none"), (2, "optimizer"), (3, "parameters")])
def test_zero_on_two_ranks_equals_one_process_and_another_number_goes_on(configure, alone, tmp_path, stage, offload):
    train = TRAIN | ZERO | {"zero_stage": stage, "checkpoint_every": 14, "offload": offload}
    file = written(configure(tmp_path / "two", **SMALL, train=train), tmp_path / "two.yaml")
    output(spawn(["logfm", "pretrain", file]))
    two = tmp_path / "two" / "run"
    assert trained(two) == pytest.approx(trained(alone / "run"), rel=1e-4) and sorted(trained(two)) == [10, 20]
    weights = [load_encoder(one / "encoder").model.state_dict() for one in (tmp_path / "two", alone)]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-3) for name in weights[1])
    assert len(list((two / "checkpoints" / "final.ckpt").rglob("*optim_states.pt"))) == 2
    assert validation(two) == pytest.approx(validation(alone / "run"), rel=1e-4)

    state = tmp_path / "state"
    assert main(["export", str(two / "checkpoints" / "step=14.ckpt"), "--out", str(state), "--world-size", "1"]) == 0
    assert not list(state.rglob("*.pkl"))
    go_on = yaml.safe_load((state / "pretrain.yaml").read_text())
    assert (go_on["train"]["devices"], go_on["train"]["accumulate"]) == (1, 2)
    # Without DeepSpeed, so that it fits into this process: what is in the folder serves any strategy.
    go_on["train"] |= {"strategy": "auto", "offload": "none"}
    at_once = go_on | {"out": tmp_path / "at-once", "train": go_on["train"] | {"steps": 14}}
    assert go_on["train"]["steps"] == 28
    metrics = pretrain(PretrainConfig.model_validate(at_once)).run.metrics
    assert (tmp_path / "at-once/tokens/train.parquet").samefile(tmp_path / "two/tokens/train.parquet")
    assert metrics["validation_loss"] == pytest.approx(validation(two)[14], rel=1e-5)
    pretrain(PretrainConfig.model_validate(go_on | {"out": tmp_path / "on"}))
    assert validation(tmp_path / "on" / "run") == pytest.approx(validation(two), rel=1e-4)


@pytest.mark.slow
def test_zero_in_bf16_learns_as_one_process_in_float32_does(configure, alone, tmp_path):
    """What the recipes for GPUs run: parameters and products in bfloat16, masters in float32."""
    train = TRAIN | ZERO | {"zero_stage": 2, "precision": "bf16-mixed"}
    file = written(configure(tmp_path / "out", **SMALL, train=train), tmp_path / "out.yaml")
    output(spawn(["logfm", "pretrain", file]))
    assert validation(tmp_path / "out" / "run") == pytest.approx(validation(alone / "run"), rel=0.03)
    weights = load_encoder(tmp_path / "out" / "encoder").model.state_dict()
    assert all(one.dtype == torch.float32 and torch.isfinite(one).all() for one in weights.values())


SRUN = """#!/bin/bash
# As many tasks as Slurm would start, on this machine.
while [[ $1 == -* ]]; do shift; done
for ((task = 0; task < SLURM_NTASKS; task++)); do
  SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 "$@" &
  tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit 1; done
"""


@pytest.mark.slow
def test_the_slurm_script_goes_on_from_one_process_with_two(configure, alone, tmp_path):
    checkpoint, state = alone / "run" / "checkpoints" / "step=26.ckpt", tmp_path / "state"
    assert main(["export", str(checkpoint), "--out", str(state), "--world-size", "2"]) == 0
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    job = {
        "SLURM_JOB_ID": str(free_port()), "SLURM_JOB_NAME": "logfm-pretrain", "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NUM_NODES": "1", "SLURM_NNODES": "1", "SLURM_NODELIST": "127.0.0.1",
        "SLURM_CPUS_PER_TASK": "1", "PATH": os.pathsep.join([str(srun.parent), PATH]),
    }  # fmt: skip
    script = scripts()["slurm/pretrain.sh"]
    zero = ["--set", "train.strategy=deepspeed", "--set", "train.zero_stage=3", "--set", f"out={tmp_path / 'out'}"]
    output(spawn(["bash", script, state / "pretrain.yaml", *zero], **job))
    assert validation(tmp_path / "out" / "run") == pytest.approx(validation(alone / "run"), rel=1e-4)


def test_every_batch_script_is_sound():
    for script in scripts().values():
        subprocess.run(["bash", "-n", script], check=True)


class Numbers:
    """Events that are their own numbers, and batches that show what they were made of."""

    lengths = np.full(107, 10)
    seed = 0
    config = MaskingConfig()

    def events(self, rows):
        return [int(row) for row in rows]

    def batch(self, events, turn, share, rows):
        return turn, tuple(events)


def batches(ranks, legs=(), start=0, count=40):
    """The batches that all ranks see, in their order."""
    parts = []
    for rank in range(ranks):
        data = TrainBatches(Numbers(), Numbers(), 50, rank, ranks)
        data.legs, data.start = legs, start
        parts.append(list(islice(data, count)))
    return [batch for together in zip(*parts, strict=True) for batch in together]


def test_other_ranks_go_on_where_the_data_was_left():
    whole = batches(1, count=20)
    seen = [event for _, events in whole for event in events]
    assert len(seen) == len(set(seen)) > 90
    assert batches(2, count=10) == whole
    assert batches(2, start=3, count=7) == whole[6:]
    assert batches(1, [Leg(3, 3, 2)], count=14) == whole[6:]
    assert batches(4, [Leg(3, 3, 2), Leg(5, 2, 1)], start=1, count=2) == whole[12:]
    # Also into the next pass, where the same number of ranks is none of a change.
    assert batches(2, [Leg(9, 9, 2)], count=9) == batches(2, start=9, count=9)


def test_a_full_disk_leaves_the_last_checkpoint(configure, tmp_path, monkeypatch):
    config = configure(tmp_path, train=TRAIN | {"steps": 8})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    save, saved = saving.torch.save, []

    def fill_up(document, stream):
        saved.append(stream)
        if len(saved) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        save(document, stream)

    monkeypatch.setattr(saving.torch, "save", fill_up)
    try:
        with pytest.raises(LogfmError, match=r"cannot write the checkpoint .*step=6.ckpt .File too large.") as error:
            pretrain(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    folder = tmp_path / ".run.partial" / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step=2.ckpt", "step=4.ckpt"]
    export_checkpoint(folder / "step=4.ckpt", tmp_path / "four")
    assert pretrain(config).run.metrics["step"] == 8


def test_a_state_goes_with_its_run_alone(configure, tokenizer_folder, alone, tmp_path):
    checkpoints, state = alone / "run" / "checkpoints", tmp_path / "state"
    with pytest.raises(UserError, match="weights and no optimizer"):
        reshape_checkpoint(checkpoints / "final.ckpt", state, 2)
    reshape_checkpoint(checkpoints / "step=26.ckpt", state, 3)
    reshape_checkpoint(checkpoints / "step=26.ckpt", state, 3)
    go_on = yaml.safe_load((state / "pretrain.yaml").read_text()) | {"out": tmp_path / "out"}
    # Two batches do not divide over three processes.
    assert go_on["train"]["accumulate"] == 1
    go_on["train"]["devices"] = 1
    other = write_corpus(tmp_path / "corpus", log_lines(900, seed=1))
    train(other, tmp_path / "tokenizer", TokenizerConfig(vocab_size="auto", vocab_size_limit=384))
    cases = [
        ({"seed": 1}, "seed differs"),
        ({"train": go_on["train"] | {"weight_decay": 0.5}}, "train.weight_decay differs"),
        ({"model": go_on["model"] | {"layers": 2}}, "model differs"),
        ({"start": {"encoder": alone / "encoder"}}, "start.replay_share differs"),
        ({"corpus": other.path}, "tokens: not what the run"),
        ({"tokenizer": tmp_path / "tokenizer"}, "tokenizer: not what the run"),
        ({"resume": alone / "encoder"}, "expected a folder of the stage training-state"),
    ]
    for number, (change, message) in enumerate(cases):
        with pytest.raises(UserError, match=message):
            pretrain(PretrainConfig.model_validate(go_on | change | {"out": tmp_path / f"out{number}"}))


def test_changed_data_stops_a_resumed_run(configure, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", log_lines(300))
    config = configure(tmp_path / "out", corpus=corpus.path, train=TRAIN | {"steps": 2})
    pretrain(config)
    shutil.rmtree(corpus.path)
    write_corpus(corpus.path, log_lines(300, seed=1))
    with pytest.raises(UserError, match="holds another tokens run: its input `corpus` was another one"):
        pretrain(config)
    # A run that was killed, whose shards somebody makes anew.
    (tmp_path / "out" / "run").rename(tmp_path / "out" / ".run.partial")
    manifest = json.loads((tmp_path / "out" / ".run.partial" / "manifest.json").read_text())
    kept = {name: manifest[name] for name in ("key", "config", "seed", "inputs")}
    (tmp_path / "out" / ".run.partial" / "key").write_text(json.dumps(kept))
    shutil.rmtree(tmp_path / "out" / "tokens")
    with pytest.raises(UserError, match="other inputs is in the way: its input `tokens` was another one"):
        pretrain(config)
    assert saved_steps(tmp_path / "out" / ".run.partial" / "checkpoints")


def test_what_goes_on_has_every_setting_of_the_run_that_it_goes_on_from(configure, tmp_path):
    config = configure(
        tmp_path / "out", data={"view": None}, train={"spike_factor": None, "spike_sigma": None, "patience": None}
    )
    document = yaml.safe_load(_recipe(config, tmp_path / "state", 2))
    found = PretrainConfig.model_validate(document)
    train = config.train.model_copy(update={"devices": 2})
    assert found == config.model_copy(
        update={"resume": tmp_path / "state", "out": Path(f"{config.out}-2"), "train": train}
    )


def test_ranks_are_those_of_what_started_the_processes(monkeypatch):
    for name in [*LAUNCHER, *(name for name in os.environ if name.startswith("SLURM"))]:
        monkeypatch.delenv(name, raising=False)
    assert global_rank() == 0
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert global_rank() == 1
    # The shell of an interactive allocation, in which Lightning starts two processes.
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}.items():
        monkeypatch.setenv(name, value)
    assert global_rank() == 1
    monkeypatch.setenv("SLURM_JOB_NAME", "logfm-pretrain")
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert global_rank() == 3


def test_another_number_of_processes_than_was_started_is_refused(configure, tmp_path, monkeypatch):
    config = configure(tmp_path).train
    with pytest.raises(UserError, match=r"train.nodes is 2. Start the run on each"):
        check_launch(config.model_copy(update={"nodes": 2}))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"torchrun started 2 processes, and train.devices times train.nodes is 1"):
        check_launch(config)
    check_launch(config.model_copy(update={"devices": 2}))


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"offload": "optimizer"}, "offload needs strategy deepspeed"),
        ({"offload": "parameters", "strategy": "deepspeed"}, "offload of parameters needs zero_stage 3"),
    ],
)
def test_offload_goes_with_zero(configure, tmp_path, train, message):
    with pytest.raises(ValidationError, match=message):
        configure(tmp_path, train=train)


def test_an_error_that_is_no_other_process_s_is_left_alone():
    with pytest.raises(RuntimeError, match=r"^shapes$"), saving.one_line(2, 1.0):
        raise RuntimeError("shapes")
    with pytest.raises(LogfmError, match="another process of the run ended"), saving.one_line(2, 1.0):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")
