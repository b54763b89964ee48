"""When a run ends: at its nearest limit, or when validations stop improving."""

from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping

from logfm.pretrain.data import Batch


class StopWhenDone(lightning.Callback):
    """Ends the run when its nearest limit is reached; all ranks stop at the same step."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """End a run at once that had stopped improving when its checkpoint was written."""
        trainer.should_stop = trainer.should_stop or stopped_early(trainer)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Ask the trainer to stop once the progress is complete, which is the same on all ranks."""
        if pl_module.train_config.minutes is not None:
            trainer.should_stop = trainer.should_stop or pl_module.progress() >= 1.0


def stop_without_improvement(patience: int) -> EarlyStopping:
    """A callback that ends the run after `patience` validations in a row without a lower loss, on all ranks alike."""
    # A validation that is not finite is one without improvement; what to do about it is for `Spikes`.
    return EarlyStopping("validation_loss", patience=patience, mode="min", check_finite=False)


def stopped_early(trainer: lightning.Trainer) -> bool:
    """Whether the run was ended by `stop_without_improvement`."""
    stopper = trainer.early_stopping_callback
    return stopper is not None and stopper.wait_count >= stopper.patience
