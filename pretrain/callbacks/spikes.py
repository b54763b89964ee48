"""Loss spikes: the batch is skipped, and a state that was damaged before it showed goes back to a checkpoint.

A step whose loss or gradient norm is not finite, or far above the running median of the healthy steps before it, is
never applied: weights and optimizer stay as they were before the batch, and training goes on with the next one. If
that one is a spike too, the damage was done by an earlier step, and weights and optimizer return to the last
checkpoint, or to the one before it where that does not help. The number of steps, the schedule and the order of the
data go on (Chowdhery et al., PaLM, 2022, section 5.1). All ranks judge the same figures.

DeepSpeed tells the gradient norm only after its engine has taken the step, so there every spike returns to the last
checkpoint; before the first one is written it can only be recorded.
"""

import math
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import lightning
import torch

from logfm.configs.schema.pretrain import TrainConfig
from logfm.console import say
from logfm.errors import LogfmError
from logfm.pretrain.callbacks.checkpoints import checkpoint_of, restore, saved_steps
from logfm.pretrain.callbacks.history import History
from logfm.pretrain.data import Batch

WINDOW = 128
"""Healthy steps that a step is compared with."""
ENOUGH = 64
"""Healthy steps before any comparison; until then only what is not finite is a spike."""
_IN_A_ROW = 2
# A normal distribution's standard deviation from its median absolute deviation; losses that hardly vary are held to a
# share of their median instead.
_DEVIATION, _SHARE = 1.4826, 0.05


class Spike(NamedTuple):
    """What was seen: `what` is `loss` or `gradient norm`, `usual` its running median."""

    what: str
    value: float
    usual: float | None


class Spikes(lightning.Callback):
    """Skips spikes, rolls back, and ends the run after `train.max_spikes` of them; each gets a line in the history."""

    def __init__(self, train: TrainConfig, checkpoints: Path, history: History) -> None:
        self._train, self._folder, self._history = train, checkpoints, history
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._norms: deque[float] = deque(maxlen=WINDOW)
        self._count = self._in_a_row = self._step = 0
        self._restored: int | None = None
        self._damaged = False
        self._loss: torch.Tensor | float = 0.0
        self._spike: Spike | None = None

    def unsure(self) -> bool:
        """Whether no step has been healthy since the last spike."""
        return self._in_a_row > 0

    def damaged(self) -> bool:
        """Whether the last steps were spikes, no step since was healthy, and there was no checkpoint to return to."""
        return self._damaged

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Begin with the step that a resumed run has reached."""
        self._step = trainer.global_step

    def on_before_backward(self, trainer: lightning.Trainer, pl_module: Any, loss: torch.Tensor) -> None:
        """Add up the losses of a step's batches, each already divided by their number."""
        self._loss = self._loss + loss.detach()

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Judge the step before it is taken; a spike leaves no gradients to take it with."""
        if not trainer.strategy.lightning_restore_optimizer:
            return
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self._spike = self._judge(trainer, torch.nn.utils.get_total_norm(gradients))
        if self._spike is not None:
            for parameter in pl_module.parameters():
                parameter.grad = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Roll back where it is needed, and record the spike.

        Raises:
            LogfmError: the spike is one too many.
        """
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        skipped = trainer.strategy.lightning_restore_optimizer
        if not skipped:
            norm = trainer.model.get_global_grad_norm()  # type: ignore[union-attr, operator]
            self._spike = self._judge(trainer, torch.as_tensor(0.0 if norm is None else norm))
        if self._spike is None:
            self._in_a_row, self._restored, self._damaged = 0, None, False
            return
        self._count += 1
        self._in_a_row += 1
        if self._count > self._train.max_spikes:
            raise LogfmError(self._last_words(self._spike))
        done = "skipped" if skipped else "kept, for want of a checkpoint"
        if not skipped or self._in_a_row >= _IN_A_ROW:
            back = self._roll_back(trainer)
            self._damaged = back is None
            done = back or done
        seen = self._spike
        facts = {"spike": seen.what, "value": seen.value, "median": seen.usual, "done": done}
        self._history.record(trainer, pl_module, facts=facts)
        if trainer.is_global_zero:
            usual = "" if seen.usual is None else f", usually {seen.usual:.3g}"
            say(f"step {self._step}: a spike, the {seen.what} is {seen.value:.3g}{usual}: {done}")

    def _judge(self, trainer: lightning.Trainer, norm: torch.Tensor) -> Spike | None:
        """The spike that this step is, if any; a healthy one is remembered."""
        loss = torch.as_tensor(self._loss, dtype=torch.float64)
        figures = torch.stack([loss, norm.to(loss)])
        self._loss = 0.0
        if trainer.world_size > 1:
            figures = torch.as_tensor(trainer.strategy.reduce(figures, reduce_op="mean"))
        value, size = figures.tolist()
        spike = self._loss_spike(value) or self._norm_spike(size)
        if spike is None:
            self._losses.append(value)
            self._norms.append(size)
        return spike

    def _loss_spike(self, loss: float) -> Spike | None:
        usual = median(self._losses) if len(self._losses) >= ENOUGH else None
        if not math.isfinite(loss):
            return Spike("loss", loss, usual)
        if usual is None or self._train.spike_sigma is None:
            return None
        deviation = max(_DEVIATION * median(abs(old - usual) for old in self._losses), _SHARE * usual)
        return Spike("loss", loss, usual) if loss > usual + self._train.spike_sigma * deviation else None

    def _norm_spike(self, norm: float) -> Spike | None:
        usual = median(self._norms) if len(self._norms) >= ENOUGH else None
        if not math.isfinite(norm):
            return Spike("gradient norm", norm, usual)
        if usual is None or self._train.spike_factor is None:
            return None
        return Spike("gradient norm", norm, usual) if norm > self._train.spike_factor * usual else None

    def _roll_back(self, trainer: lightning.Trainer) -> str | None:
        """Return to the newest checkpoint, or to one older than that returned to before; None where there is none."""
        # The first rank decides for all: others may see an older listing of a shared folder.
        saved = saved_steps(self._folder)
        older = [step for step in saved if self._restored is None or step < self._restored]
        step = trainer.strategy.broadcast(max(older, default=min(saved)) if saved else None)
        if step is None:
            return None
        self._restored = restore(trainer, checkpoint_of(self._folder, step))
        return f"rolled back to step {self._restored}"

    def _last_words(self, spike: Spike) -> str:
        saved = saved_steps(self._folder)
        lower = "to begin again give a lower train.learning_rate and another out"
        if saved:
            last = saved[max(saved)]
            lower = (
                f"the last good checkpoint is {last}; to go on from it: logfm export {last} --out FOLDER --world-size "
                f"{self._train.devices * self._train.nodes}, then FOLDER/pretrain.yaml with a lower "
                f"train.learning_rate; {lower}"
            )
        return (
            f"the {spike.what} is {spike.value:.4g} at step {self._step}, spike number {self._count} of "
            f"train.max_spikes={self._train.max_spikes}; {lower}"
        )

    def state_dict(self) -> dict[str, Any]:
        """What later steps are compared with, and the spikes so far."""
        return {"losses": list(self._losses), "norms": list(self._norms), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing."""
        self._losses.extend(state_dict["losses"])
        self._norms.extend(state_dict["norms"])
        self._count = int(state_dict["count"])
