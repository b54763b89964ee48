"""Throughput and model FLOP utilisation (Chowdhery et al., PaLM, 2022, appendix B) of one device."""

import time
from typing import Any

import lightning
import torch

from logfm.configs.schema.pretrain import ModelConfig, TrainConfig
from logfm.pretrain.data import Batch
from logfm.pretrain.flops import train_flops
from logfm.pretrain.peak import Peak, peak_flops

LOGGED = ("device_tokens_per_second", "model_flop_utilisation")
"""Figures for the logger; the others are facts about them."""


class Throughput(lightning.Callback):
    """Counts this rank's FLOPs by formula over the seconds of training: waiting for data and writing checkpoints
    included, validation not.
    """

    def __init__(self, model: ModelConfig, vocab_size: int, train: TrainConfig) -> None:
        self._model, self._vocab_size, self._train = model, vocab_size, train
        self._peak: Peak | None = None
        # Lengths stay where the batch is until a line is written: reading them waits for a GPU.
        self._batches: list[tuple[torch.Tensor, int]] = []
        self._tokens = 0
        self._since = self._paused = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Find the device's peak, and start the clock."""
        if trainer.is_global_zero:
            self._peak = peak_flops(self._train, pl_module.device)
        self._start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Note the batch."""
        self._tokens += len(batch.packed.ids_T)
        self._batches.append((batch.packed.lengths_B, len(batch.positions_M)))

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Stop the clock."""
        self._paused = time.monotonic()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Let the clock go on."""
        self._since += time.monotonic() - self._paused

    def figures(self) -> dict[str, float | str]:
        """Figures of one device since the last call: tokens a second, model FLOPs a second, their share of the
        device's peak, that peak and where it is from; without the last three where no peak is known.
        """
        flops = sum(
            train_flops(self._model, self._vocab_size, lengths.cpu().numpy(), masked)
            for lengths, masked in self._batches
        )
        seconds = max(time.monotonic() - self._since, 1e-9)
        found: dict[str, float | str] = {
            "device_tokens_per_second": self._tokens / seconds,
            "model_flops_per_second": flops / seconds,
        }
        if self._peak is not None:
            found["model_flop_utilisation"] = flops / seconds / self._peak.flops
            found["peak_flops"] = self._peak.flops
            found["peak_flops_from"] = self._peak.source
        self._start()
        return found

    def _start(self) -> None:
        self._batches.clear()
        self._tokens, self._since = 0, time.monotonic()
