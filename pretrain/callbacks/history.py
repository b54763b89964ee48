"""The record of a run: one JSON line an event, and lines for people."""

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning
import orjson

from logfm.console import say
from logfm.pretrain.callbacks.throughput import LOGGED, Throughput
from logfm.pretrain.data import Batch

HISTORY = "history.jsonl"


class History(lightning.Callback):
    """Appends one JSON line an event to `history.jsonl`: step, tokens, seconds and the logged metrics.

    On resume, lines of steps that were done after the last checkpoint are dropped, so no step appears twice.
    """

    def __init__(self, folder: Path, every: int, throughput: Throughput | None = None) -> None:
        self._path, self._every, self._throughput = folder / HISTORY, every, throughput
        self._tokens = 0
        self._events = 0
        self._started = 0.0
        self._tokens_before = 0
        self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Drop what a killed run wrote after its last checkpoint."""
        self._started, self._tokens_before, self._step = time.monotonic(), self._tokens, trainer.global_step
        if trainer.is_global_zero:
            kept = [row for row in read_history(self._path.parent) if row["step"] <= trainer.global_step]
            self._path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in kept))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Count tokens; every so many steps write a line."""
        self._tokens += len(batch.packed.ids_T) * trainer.world_size
        self._events += len(batch.packed.lengths_B) * trainer.world_size
        # Of the batches that make up a step, the last one takes it.
        if trainer.global_step > self._step and trainer.global_step % self._every == 0:
            step = pl_module.step_figures()
            figures = {} if self._throughput is None else self._throughput.figures()
            pl_module.log_dict(step | {name: figures[name] for name in LOGGED if name in figures}, batch_size=1)
            self.record(trainer, pl_module, facts=step | figures)
        self._step = trainer.global_step

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Write the validation metrics and tell people."""
        if trainer.sanity_checking:
            return
        names = [name for name in trainer.callback_metrics if name.startswith(("validation_", "old_validation_"))]
        row = self.record(trainer, pl_module, names)
        if row is not None:
            say(
                f"step {row['step']}: {row['tokens'] / 1e6:.2f}M tokens, {row['tokens_per_second']:.0f} tokens/s, "
                f"validation loss {row['validation_loss']:.3f}, masked accuracy {row['validation_accuracy']:.3f}, "
                f"{row['validation_bits_per_byte']:.3f} bits/byte"
                + (f", on old data {row['old_validation_bits_per_byte']:.3f}" if "old_validation_loss" in row else "")
            )

    def record(
        self,
        trainer: lightning.Trainer,
        pl_module: Any,
        names: Iterable[str] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Write a line with the named metrics and further facts, on the first rank; returns it."""
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
        }
        values = {name: float(trainer.callback_metrics[name]) for name in names if name in trainer.callback_metrics}
        row |= values | dict(facts or {})
        # JSON has no NaN.
        finite = {name: value for name, value in row.items() if not isinstance(value, float) or math.isfinite(value)}
        with self._path.open("ab") as stream:
            stream.write(orjson.dumps(finite) + b"\n")
        return row

    def state_dict(self) -> dict[str, Any]:
        """Tokens and events seen so far."""
        return {"tokens": self._tokens, "events": self._events}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._tokens, self._events = int(state_dict["tokens"]), int(state_dict["events"])


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
