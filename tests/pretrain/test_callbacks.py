"""What accompanies training: spikes, throughput, early stopping, activation checkpointing."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from logfm.configs.schema.pretrain import ModelConfig, TrainConfig
from logfm.errors import LogfmError
from logfm.pretrain import export_checkpoint, load_encoder, pretrain
from logfm.pretrain.callbacks import Throughput, read_history, saved_steps, spikes, throughput
from logfm.pretrain.data import Batch
from logfm.pretrain.flops import train_flops
from logfm.pretrain.module import MaskedLanguageModel
from logfm.pretrain.packing import pack
from logfm.pretrain.peak import measured, peak_flops


class Killed(Exception):
    """What ends a run in these tests as a kill would."""


@pytest.fixture
def meddle(monkeypatch):
    """Meddle with training steps, before (with the module) and after (with the loss), numbered from 0; what is
    returned lists the state that each batch met.
    """
    monkeypatch.setattr(spikes, "ENOUGH", 8)
    original = MaskedLanguageModel.training_step

    def start(before=lambda module, step: None, after=lambda loss, step: loss):
        seen = []

        def step(self, batch, batch_idx):
            state = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            (optimizer,) = self.trainer.optimizers
            moments = [entry["exp_avg"].clone() for entry in optimizer.state_dict()["state"].values()]
            seen.append(SimpleNamespace(step=self.global_step, ids=batch.packed.ids_T, state=state, moments=moments))
            before(self, self.global_step)
            return after(original(self, batch, batch_idx), self.global_step)

        monkeypatch.setattr(MaskedLanguageModel, "training_step", step)
        return seen

    return start


def equal(one, other):
    """Whether two batches met the same weights and optimizer."""
    same = all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    return same and all(torch.equal(a, b) for a, b in zip(one.moments, other.moments, strict=True))


def spike_rows(run):
    return [row for row in read_history(run) if "spike" in row]


def losses(run):
    return {row["step"]: row["train_loss"] for row in read_history(run) if "train_loss" in row}


def steep(loss, step):
    """The same loss with a gradient that is a million times as large."""
    return loss + 1e6 * (loss - loss.detach()) if step == 15 else loss


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (lambda loss, step: loss * (100 if step == 15 else 1), "loss"),
        (lambda loss, step: loss * (math.nan if step == 15 else 1), "loss"),
        (steep, "gradient norm"),
    ],
)
def test_a_spike_is_not_applied_and_the_next_batch_follows(configure, tmp_path, meddle, after, what):
    seen = meddle(after=after)
    pretrain(configure(tmp_path, train={"steps": 20}))
    assert [batch.step for batch in seen] == list(range(20))
    assert equal(seen[15], seen[16]) and not equal(seen[14], seen[15]) and not equal(seen[16], seen[17])
    (row,) = spike_rows(tmp_path / "run")
    assert (row["step"], row["spike"], row["done"]) == (16, what, "skipped")
    assert row["median"] < row.get("value", math.inf)
    assert not torch.equal(seen[15].ids, seen[16].ids)


def test_a_step_of_several_batches_is_skipped_whole(configure, tmp_path, meddle):
    calls = iter(range(10**6))
    seen = meddle(after=lambda loss, step: loss * (math.nan if next(calls) == 24 else 1))
    pretrain(configure(tmp_path, data={"tokens_per_batch": 512}, train={"steps": 16, "accumulate": 2}))
    assert len(seen) == 32 and equal(seen[24], seen[26]) and not equal(seen[26], seen[28])
    (row,) = spike_rows(tmp_path / "run")
    assert row["step"] == 13 and sorted(losses(tmp_path / "run")) == [10]


def test_the_recorded_figures_are_the_means_over_the_batches_of_a_step(configure, tmp_path, meddle):
    taken = []

    def after(loss, step):
        taken.append((step, loss.item()))
        return loss

    meddle(after=after)
    train = {"steps": 20, "accumulate": 2, "validate_every": 7}
    pretrain(configure(tmp_path, data={"tokens_per_batch": 512}, train=train))
    expected = {step: [loss for before, loss in taken if before == step - 1] for step in (10, 20)}
    assert all(len(parts) == 2 and parts[0] != parts[1] for parts in expected.values())
    assert losses(tmp_path / "run") == pytest.approx({step: sum(parts) / 2 for step, parts in expected.items()})


def test_damage_that_shows_late_is_undone_from_older_and_older_checkpoints(configure, tmp_path, meddle):
    def before(module, step):
        if step in (25, 27):
            with torch.no_grad():
                for parameter in module.model.parameters():
                    parameter.mul_(30)

    seen = meddle(before)
    pretrain(configure(tmp_path, train={"steps": 33}))
    rows = [(row["step"], row["done"]) for row in spike_rows(tmp_path / "run")]
    assert rows == [(26, "skipped"), (27, "rolled back to step 20"), (28, "rolled back to step 10")]
    assert equal(seen[27], seen[20]) and equal(seen[28], seen[10]) and not equal(seen[29], seen[28])
    assert not torch.equal(seen[27].ids, seen[20].ids)
    assert sorted(saved_steps(tmp_path / "run" / "checkpoints")) == [20, 30]
    rates = {row["step"]: row["learning_rate"] for row in read_history(tmp_path / "run")}
    assert rates[28] < rates[20]


def test_too_many_spikes_end_the_run_with_its_last_good_checkpoint_intact(configure, tmp_path, meddle):
    seen = meddle(after=lambda loss, step: loss * (math.nan if step >= 18 else 1))
    with pytest.raises(
        LogfmError, match=r"the loss is nan at step 22, spike number 4 of train.max_spikes=3; .*step=10"
    ):
        pretrain(configure(tmp_path, train={"max_spikes": 3}))
    assert not (tmp_path / "run").exists()
    (checkpoint,) = saved_steps(tmp_path / ".run.partial" / "checkpoints").values()
    export_checkpoint(checkpoint, tmp_path / "ten")
    kept = load_encoder(tmp_path / "ten").model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[10].state.items())


def test_a_run_killed_among_spikes_resumes_with_the_same_losses(configure, tmp_path, meddle):
    def after(loss, step):
        return loss * (100 if step in (14, 25) else 1)

    meddle(after=after)
    pretrain(configure(tmp_path / "whole"))

    def kill(module, step):
        if step == 23:
            raise Killed

    meddle(kill, after)
    with pytest.raises(Killed):
        pretrain(configure(tmp_path / "killed"))
    meddle(after=after)
    pretrain(configure(tmp_path / "killed"))
    whole, resumed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    assert losses(whole) == losses(resumed) and len(losses(whole)) == 3
    facts = [[(row["step"], row["value"], row["median"]) for row in spike_rows(run)] for run in (whole, resumed)]
    assert facts[0] == facts[1] and [fact[0] for fact in facts[0]] == [15, 26]


def test_a_healthy_run_is_the_same_without_the_watch(configure, tmp_path, meddle):
    one, other = tmp_path / "watched", tmp_path / "unwatched"
    meddle()
    pretrain(configure(one))
    pretrain(configure(other, train={"spike_factor": None, "spike_sigma": None}))
    assert losses(one / "run") == losses(other / "run") and not spike_rows(one / "run")


def batch_of(*lengths):
    packed = pack([np.arange(length) for length in lengths])
    return Batch(packed, torch.arange(sum(lengths) // 4), torch.arange(sum(lengths) // 4))


def test_utilisation_is_counted_over_training_alone(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(throughput.time, "monotonic", lambda: now[0])
    model, train = ModelConfig(hidden_size=32, heads=2), TrainConfig(steps=1, peak_flops=1e9)
    meter = Throughput(model, 500, train)
    trainer, module = SimpleNamespace(is_global_zero=True), SimpleNamespace(device=torch.device("cpu"))
    batches = [batch_of(8, 40), batch_of(64)]
    for passed in (0.0, 50.0):
        now[0] += passed
        meter.on_train_start(trainer, module)
    for batch in batches:
        now[0] += 1.5
        meter.on_train_batch_end(trainer, module, None, batch, 0)
    now[0] += 1.0
    meter.on_validation_start(trainer, module)
    now[0] += 1000.0
    meter.on_validation_end(trainer, module)
    figures = meter.figures()
    flops = train_flops(model, 500, np.array([8, 40]), 12) + train_flops(model, 500, np.array([64]), 16)
    assert figures["device_tokens_per_second"] == pytest.approx(112 / 4)
    assert figures["model_flops_per_second"] == pytest.approx(flops / 4)
    assert figures["model_flop_utilisation"] == pytest.approx(flops / 4 / 1e9)
    assert figures["peak_flops_from"] == "train.peak_flops"
    now[0] += 1.0
    assert meter.figures()["model_flops_per_second"] == 0


def test_the_peak_is_given_or_known_or_measured(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    train = TrainConfig(steps=1)
    assert peak_flops(TrainConfig(steps=1, peak_flops=5.0), gpu).flops == 5.0
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert peak_flops(train, gpu).flops == 989e12
    assert "NVIDIA H200" in peak_flops(train, gpu).source
    assert peak_flops(TrainConfig(steps=1, precision="32-true"), gpu) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Another 9000")
    assert peak_flops(train, gpu) is None
    found = peak_flops(train, cpu)
    assert 1e8 < found.flops < 1e15 and "bfloat16" in found.source and "float32" in measured(torch.float32).source


def test_the_record_and_the_logger_have_the_utilisation(configure, tmp_path):
    pretrain(configure(tmp_path, train={"steps": 20, "peak_flops": 1e12}))
    rows = [row for row in read_history(tmp_path / "run") if "train_loss" in row]
    assert [row["step"] for row in rows] == [10, 20]
    for row in rows:
        assert 0 < row["model_flop_utilisation"] == pytest.approx(row["model_flops_per_second"] / 1e12)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("model_flop_utilisation")] == pytest.approx(
        [row["model_flop_utilisation"] for row in rows], rel=1e-6
    )


def test_a_run_that_stops_improving_ends_and_exports_its_best_weights(configure, tmp_path, meddle, monkeypatch):
    scores = iter([5.0, 4.0, 4.5, 4.0, 9.0])
    original = MaskedLanguageModel.validation_metrics
    monkeypatch.setattr(
        MaskedLanguageModel, "validation_metrics", lambda self: original(self) | {"validation_loss": next(scores)}
    )
    seen = meddle()
    outcome = pretrain(configure(tmp_path, train={"steps": 100, "validate_every": 5, "patience": 2}))
    assert len(seen) == 20 and outcome.run.metrics["exported_step"] == 10
    exported = load_encoder(tmp_path / "encoder").model.state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in seen[10].state.items())


def test_a_run_that_reaches_its_limit_exports_its_last_weights(configure, tmp_path):
    outcome = pretrain(configure(tmp_path, train={"steps": 12, "validate_every": 5, "patience": 2}))
    assert outcome.run.metrics["exported_step"] == 12
    pretrain(configure(tmp_path / "plain", train={"steps": 12, "validate_every": 5}))
    one, other = (load_encoder(path / "encoder").model.state_dict() for path in (tmp_path, tmp_path / "plain"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_activation_checkpointing_changes_no_loss(configure, tmp_path):
    for name, on in (("kept", False), ("recomputed", True)):
        pretrain(configure(tmp_path / name, train={"steps": 20, "activation_checkpointing": on}))
    assert losses(tmp_path / "kept" / "run") == losses(tmp_path / "recomputed" / "run")


ON_TWO_RANKS = """
import json, sys
import torch
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain import pretrain
from logfm.pretrain.callbacks import spikes
from logfm.pretrain.module import MaskedLanguageModel

spikes.ENOUGH = 8
original = MaskedLanguageModel.training_step
def step(self, batch, batch_idx):
    loss = original(self, batch, batch_idx)
    factor = {15: 300.0, 16: float("nan")}.get(self.global_step, 1.0)
    return loss * (factor if self.global_rank == 1 else 1.0)
MaskedLanguageModel.training_step = step
score = MaskedLanguageModel.validation_metrics
def rising(self):
    return score(self) | {"validation_loss": 5.0 + self.global_step}
MaskedLanguageModel.validation_metrics = rising
pretrain(PretrainConfig.model_validate_json(CONFIG))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "done"),
    [
        ({"strategy": "ddp"}, ["skipped", "rolled back to step 15"]),
        (
            {"strategy": "deepspeed", "zero_stage": 3, "activation_checkpointing": True},
            ["rolled back to step 15", "rolled back to step 10"],
        ),
    ],
)
def test_two_ranks_judge_alike_roll_back_and_stop_alike(configure, tmp_path, strategy, done):
    train = {"devices": 2, "steps": 60, "checkpoint_every": 5, "validate_every": 10, "patience": 1} | strategy
    config = configure(tmp_path / "two", data={"tokens_per_batch": 512}, train=train)
    script = tmp_path / "train.py"
    script.write_text(ON_TWO_RANKS.replace("CONFIG", repr(config.model_dump_json())))
    process = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    run = tmp_path / "two" / "run"
    assert [(row["step"], row["done"]) for row in spike_rows(run)] == list(zip((16, 17), done, strict=True))
    manifest = json.loads((run / "manifest.json").read_text())
    # Each validation was worse than the first, and one without improvement ends the run.
    assert manifest["metrics"]["step"] == 20 and manifest["metrics"]["exported_step"] == 10
    weights = load_encoder(tmp_path / "two" / "encoder").model.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


CLOCKS_APART = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain import module, pretrain

seconds = 0.0
def monotonic():
    # The second rank's clock runs three times as fast.
    global seconds
    seconds += 3.0 if os.environ.get("LOCAL_RANK") == "1" else 1.0
    return seconds
module.time = SimpleNamespace(monotonic=monotonic)
def end(self):
    weights = {name: tensor.tolist() for name, tensor in self.model.named_parameters()}
    Path(FOLDER, f"rank{self.global_rank}.json").write_text(json.dumps([self.global_step, weights]))
module.MaskedLanguageModel.on_train_end = end
pretrain(PretrainConfig.model_validate_json(CONFIG))
"""


@pytest.mark.slow
def test_two_ranks_follow_one_clock_and_keep_the_same_weights(configure, tmp_path):
    train = {"devices": 2, "strategy": "ddp", "steps": 10_000, "minutes": 0.25, "validate_every": 10_000}
    config = configure(tmp_path / "two", data={"tokens_per_batch": 512}, train=train)
    script = tmp_path / "train.py"
    text = CLOCKS_APART.replace("CONFIG", repr(config.model_dump_json())).replace("FOLDER", repr(str(tmp_path)))
    script.write_text(text)
    process = subprocess.run(
        [sys.executable, str(script)], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-4000:]
    (steps, weights), (other_steps, other) = (
        json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)
    )
    # Fifteen seconds by the first rank's clock.
    assert steps == other_steps == 15 and weights == other


def test_a_rank_takes_the_first_ones_time_where_the_schedule_follows_it():
    told = []

    def broadcast(value):
        told.append(value)
        return 30.0

    module = MaskedLanguageModel(torch.nn.Linear(1, 1), None, TrainConfig(minutes=1), 2**31, np.ones(3))
    module._trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(broadcast=broadcast), global_step=0)
    module.on_train_start()
    module.read_clock()
    assert len(told) == 1 and module.elapsed == 30.0 and module.progress() == pytest.approx(0.5)
