"""Checkpoints: written at intervals and for the best validation, and read back into a run that goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import ModelCheckpoint

from logfm.errors import LogfmError
from logfm.pretrain.damage import damage
from logfm.pretrain.data import Batch

_BEST = "best"
_SUFFIX = ".ckpt"


class Checkpoints(ModelCheckpoint):
    """The last two checkpoints, `step=N.ckpt`; none while `unsure()`, so that a broken state replaces no good one.

    Where the step is validated too, the checkpoint is written behind that: a run that goes on from it would leave the
    validation out.
    """

    def __init__(self, folder: Path, every: int, unsure: Callable[[], bool]) -> None:
        super().__init__(
            folder,
            filename="{step}",
            monitor="step",
            mode="max",
            save_top_k=2,
            every_n_train_steps=every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self._unsure = unsure
        self._after_validation = False

    @property
    def state_key(self) -> str:
        """The same whatever the interval, so that a run can go on with another one."""
        return type(self).__name__

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take the checkpoint that a run goes on from for saved."""
        # Lightning does not keep this with the run. Where a step has several batches, the first would write that
        # checkpoint again, from which a run killed once more would go on between two steps.
        self._last_global_step_saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Save, where it is time and the state is good."""
        self._after_validation = False
        if self._unsure():
            return
        if (trainer.fit_loop.total_batch_idx + 1) % (trainer.val_check_batch or 1) == 0:
            self._after_validation = True
            return
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Save what waited for the validation."""
        if self._after_validation and not trainer.sanity_checking:
            self._after_validation = False
            super().on_train_batch_end(trainer, pl_module, None, None, 0)


def keep_best(folder: Path) -> ModelCheckpoint:
    """A callback that keeps the checkpoint with the lowest validation loss."""
    return ModelCheckpoint(
        folder,
        filename=_BEST,
        monitor="validation_loss",
        mode="min",
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def best_checkpoint(folder: Path) -> Path | None:
    """What `keep_best` left in the folder."""
    path = folder / f"{_BEST}{_SUFFIX}"
    return path if path.exists() else None


def saved_steps(folder: Path) -> dict[int, Path]:
    """The checkpoints in a folder by their step, ascending."""
    found = ((int(path.stem.partition("=")[2]), path) for path in folder.glob(f"step=*{_SUFFIX}"))
    return dict(sorted(found))


def checkpoint_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step={step}{_SUFFIX}"


def restore(trainer: lightning.Trainer, path: Path) -> int:
    """Set weights and optimizer to a checkpoint's, on every rank, and return its step; counters, schedule and data go
    on where they are. Under DeepSpeed the engine loads its own shards in place.

    Raises:
        LogfmError: the checkpoint is damaged.
    """
    found = damage(path)
    if found is not None:
        raise LogfmError(f"cannot read the checkpoint {path} ({found})")
    strategy = trainer.strategy
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    saved = strategy.load_checkpoint(path, weights_only=True)
    if strategy.lightning_restore_optimizer:
        strategy.load_model_state_dict(saved)
        strategy.load_optimizer_state_dict(saved)
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    return int(saved["global_step"])
