"""Side concerns of training: the record of metrics, throughput, and lines for people."""

import ctypes
import time
from pathlib import Path
from typing import Any

import lightning
import orjson

from logfm.console import say
from logfm.pretrain.data import Batch

HISTORY = "history.jsonl"


class History(lightning.Callback):
    """Appends one JSON line an event to `history.jsonl`: step, tokens, seconds and the logged metrics.

    On resume, lines of steps that were done after the last checkpoint are dropped, so no step appears twice.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self._path, self._every = folder / HISTORY, every
        self._tokens = 0
        self._events = 0
        self._started = 0.0
        self._tokens_before = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Drop what a killed run wrote after its last checkpoint."""
        self._started, self._tokens_before = time.monotonic(), self._tokens
        if trainer.is_global_zero:
            kept = [row for row in read_history(self._path.parent) if row["step"] <= trainer.global_step]
            self._path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in kept))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count tokens; every so many steps write a line."""
        self._tokens += len(batch.packed.ids_T) * trainer.world_size
        self._events += len(batch.packed.lengths_B) * trainer.world_size
        if trainer.global_step % self._every == 0:
            self._write(trainer, pl_module, ("train_loss", "train_accuracy"))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the validation metrics and tell people."""
        if trainer.sanity_checking:
            return
        names = [name for name in trainer.callback_metrics if name.startswith("validation_")]
        row = self._write(trainer, pl_module, names)
        if row is not None:
            say(
                f"step {row['step']}: {row['tokens'] / 1e6:.2f}M tokens, {row['tokens_per_second']:.0f} tokens/s, "
                f"validation loss {row['validation_loss']:.3f}, masked accuracy {row['validation_accuracy']:.3f}, "
                f"{row['validation_bits_per_byte']:.3f} bits/byte"
            )

    def _write(self, trainer: lightning.Trainer, pl_module: Any, names: Any) -> dict[str, Any] | None:
        if not trainer.is_global_zero:
            return None
        seconds = max(time.monotonic() - self._started, 1e-9)
        row = {
            "step": trainer.global_step,
            "tokens": self._tokens,
            "events": self._events,
            "seconds": round(pl_module.elapsed, 3),
            "tokens_per_second": (self._tokens - self._tokens_before) / seconds,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
        } | {name: float(trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics}
        with self._path.open("ab") as stream:
            stream.write(orjson.dumps(row) + b"\n")
        return row

    def state_dict(self) -> dict[str, Any]:
        """Tokens and events seen so far."""
        return {"tokens": self._tokens, "events": self._events}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._tokens, self._events = int(state_dict["tokens"]), int(state_dict["events"])


class StopWhenDone(lightning.Callback):
    """Ends the run when its nearest limit is reached; all ranks stop at the same step."""

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Ask the trainer to stop once any rank's progress is complete."""
        if pl_module.train_config.minutes is not None:
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(pl_module.progress() >= 1.0, all=False)


class ReleaseMemory(lightning.Callback):
    """Hands freed memory back to the system now and then: batches vary in shape, and glibc's heap keeps the holes."""

    EVERY = 10
    """Batches between releases; one takes some 0.05 s."""

    def __init__(self) -> None:
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Release, on systems that can."""
        if self._trim is not None and batch_idx % self.EVERY == self.EVERY - 1:
            self._trim(0)


def read_history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's `history.jsonl`, oldest first; a line cut by a kill is left out."""
    path = folder / HISTORY
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            continue
    return rows
