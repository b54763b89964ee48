"""A run goes on from what another number of ranks left: weights, moments, schedule, counters, the place in the data."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import orjson
import torch
from safetensors import safe_open

from logfm.artifacts import Manifest, read_manifest
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.errors import UserError
from logfm.pretrain.callbacks import HISTORY
from logfm.pretrain.data import Leg
from logfm.pretrain.filling import fill, make_room
from logfm.pretrain.reshape import FACTS, PARTS, STAGE, TENSORS, TRAINING

# What a changed value of would make another run of it.
_SAME = ("seed", "model", "masking", "data", "contrast")
# The learning rate's height may change: a lower one is how a run that came to nothing goes on.
_SAME_TRAIN = ("warmup_share", "decay_share", "betas", "weight_decay", "gradient_clip")


@dataclass(frozen=True)
class State:
    """A folder that `logfm export --world-size` made, opened."""

    folder: Path
    manifest: Manifest
    legs: tuple[Leg, ...]
    training: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.legs[-1].step


def older_run(config: PretrainConfig, folder: Path) -> Path:
    """The `out` of the run that left the state in `folder`, from which a run with this configuration can go on.

    Raises:
        UserError: no such state, or one of a run with another model, objective or optimizer.
    """
    read_manifest(folder, STAGE)
    facts = orjson.loads((folder / FACTS).read_bytes())
    ours = config.model_dump(mode="json")
    pairs = [(name, ours[name], facts[name]) for name in _SAME]
    pairs += [(f"train.{name}", ours["train"][name], facts["train"][name]) for name in _SAME_TRAIN]
    shares = [(one["start"] or {}).get("replay_share") for one in (ours, facts)]
    pairs.append(("start.replay_share", shares[0], shares[1]))
    for name, wanted, known in pairs:
        if wanted != known:
            raise UserError(f"{name} differs from the run's that left this state", folder, f"See its {FACTS}.")
    return Path(facts["out"])


def open_state(folder: Path, data_keys: Mapping[str, str]) -> State:
    """Open the state in `folder`, for a run on the data with these keys.

    Raises:
        UserError: no such state, or one of a run on another tokenizer or other data.
    """
    manifest = read_manifest(folder, STAGE)
    facts = orjson.loads((folder / FACTS).read_bytes())
    for name, key in facts["data_keys"].items():
        if data_keys.get(name) != key:
            raise UserError(
                f"{name}: not what the run that left this state was trained on", folder, "Give the same data."
            )
    try:
        training = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"cannot read the state ({type(error).__name__})", folder / TRAINING) from error
    return State(folder, manifest, tuple(Leg(*leg) for leg in facts["legs"]), training)


class TakeUp(lightning.Callback):
    """Sets a fresh run to the state: counters before it fits, tensors when they are in their places."""

    def __init__(self, state: State, accumulate: int, folder: Path) -> None:
        self._state, self._accumulate, self._folder = state, accumulate, folder

    def counters(self, trainer: Any, module: lightning.LightningModule) -> None:
        """Set the counters of a trainer and of its callbacks, and the module's clock.

        Progress is counted in batches too: they become what so many steps of `accumulate` batches are.
        """
        training = self._state.training
        loops = dict(training["loops"]["fit_loop"])
        progress = loops["epoch_loop.batch_progress"]
        batches = self._state.step * self._accumulate
        counted = {
            kind: {name: batches + progress[kind][name] - progress[kind]["processed"] for name in progress[kind]}
            for kind in ("total", "current")
        }
        loops["epoch_loop.batch_progress"] = progress | counted
        trainer.fit_loop.load_state_dict(loops)
        for callback in trainer.callbacks:
            if callback.state_key in training["callbacks"]:
                callback.load_state_dict(training["callbacks"][callback.state_key])
        module.on_load_checkpoint(dict(training))

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Fill in weights, Adam's moments and the schedule; every rank takes its part of each tensor."""
        state = self._state
        history = state.folder / HISTORY
        if trainer.is_global_zero and history.exists() and not (self._folder / HISTORY).exists():
            shutil.copyfile(history, self._folder / HISTORY)
        optimizer = trainer.optimizers[0]
        parameters = dict(pl_module.named_parameters())
        with safe_open(state.folder / TENSORS, framework="pt") as tensors:
            if {f"{part}:{name}" for name in parameters for part in PARTS} != set(tensors.keys()):
                raise UserError("the state has other parameters than the model", state.folder)
            make_room(optimizer, int(state.training["adam_step"]))
            for name, parameter in parameters.items():
                fill(optimizer, parameter, {part: tensors.get_tensor(f"{part}:{name}") for part in PARTS})
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler
        schedule.load_state_dict(state.training["lr_schedulers"][0])
        # At its place in the schedule, below a peak that may be another one.
        peak, before = float(pl_module.train_config.learning_rate), schedule.base_lrs
        schedule.base_lrs = [peak] * len(before)
        for group, rate, old in zip(optimizer.param_groups, schedule.get_last_lr(), before, strict=True):
            group["lr"] = rate * (peak / old)
