"""The training module: forward, loss, optimiser, metrics; everything else is a callback or the trainer's."""

import math
import time
from typing import Any

import lightning
import numpy as np
import torch
from transformers import DebertaV2ForMaskedLM

from logfm.configs.schema.pretrain import TrainConfig
from logfm.pretrain.data import Batch
from logfm.pretrain.decoder import MaskDecoder
from logfm.pretrain.forward import hidden_states, prediction_loss


def learning_rate_factor(progress: float, warmup: float, decay: float) -> float:
    """Warm-up, stable, decay: the factor on the peak rate at `progress` (0 to 1) of the run."""
    if progress < warmup:
        return max(progress, 1e-3 * warmup) / warmup
    if progress <= 1 - decay:
        return 1.0
    return max(0.0, (1 - progress) / decay)


class MaskedLanguageModel(lightning.LightningModule):
    """Masked language modelling on packed batches; the loss is taken at the masked positions only.

    `byte_lengths` (int, (vocabulary,)) are the UTF-8 bytes of each token, for bits per byte: the measure that
    compares models with different vocabularies.
    """

    byte_lengths: torch.Tensor

    def __init__(
        self,
        model: DebertaV2ForMaskedLM,
        decoder: MaskDecoder | None,
        train: TrainConfig,
        steps: int,
        byte_lengths: np.ndarray,
    ) -> None:
        super().__init__()
        self.model, self.decoder, self.train_config, self.steps = model, decoder, train, steps
        self.register_buffer("byte_lengths", torch.from_numpy(byte_lengths.astype(np.float32)), persistent=False)
        self.elapsed = 0.0
        self._resumed_at = 0.0
        self._started: float | None = None
        self._sums: dict[str, list[torch.Tensor]] = {}
        self._figures: list[dict[str, torch.Tensor]] = []

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean loss; without a graph, nats (float32 (M,)) and whether the best guess is right (bool (M,))."""
        states = hidden_states(self.model, batch.packed, recompute=self.train_config.activation_checkpointing)
        return prediction_loss(self.model, self.decoder, states, batch.packed, batch.positions_M, batch.targets_M)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Mean loss of one batch, noted with the masked accuracy."""
        loss, _, right = self.losses(batch)
        self.note(batch_idx, train_loss=loss, train_accuracy=right.float().mean().nan_to_num(0.0))
        return loss

    def note(self, batch_idx: int, **figures: torch.Tensor) -> None:
        """Keep a batch's figures with those of its step's other batches, on their device: nothing waits for them."""
        if batch_idx % self.train_config.accumulate == 0:
            self._figures.clear()
        self._figures.append({name: figure.detach() for name, figure in figures.items()})

    def step_figures(self) -> dict[str, float]:
        """What was noted of the last step, the means over its batches and all ranks; all ranks must ask."""
        names = list(self._figures[0])
        means = torch.stack([torch.stack([row[name] for name in names]).float() for row in self._figures]).mean(0)
        gathered = torch.as_tensor(self.all_gather(means)).view(-1, len(names))
        return dict(zip(names, gathered.mean(0).tolist(), strict=True))

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Accumulate sums: nats, right guesses, masked tokens, their bytes; old data has the second loader."""
        _, nll, right = self.losses(batch)
        size = self.byte_lengths[batch.targets_M].sum()
        count = torch.tensor(float(len(nll)), device=nll.device)
        sums = self._sums.setdefault(("validation_", "old_validation_")[dataloader_idx], [])
        sums.append(torch.stack([nll.sum(), right.float().sum(), count, size]).double())

    def on_validation_epoch_end(self) -> None:
        """Log what was measured."""
        self.log_dict(self.validation_metrics(), batch_size=1)

    def validation_metrics(self) -> dict[str, float]:
        """Loss (nats a token), perplexity, masked accuracy and bits per byte over each whole sample, of all ranks."""
        metrics: dict[str, float] = {}
        for prefix, parts in self._sums.items():
            gathered = torch.as_tensor(self.all_gather(torch.stack(parts).sum(0))).view(-1, 4)
            nats, right, count, size = gathered.sum(0).tolist()
            loss = nats / max(count, 1.0)
            metrics[f"{prefix}loss"] = loss
            metrics[f"{prefix}perplexity"] = math.exp(min(loss, 700.0))
            metrics[f"{prefix}accuracy"] = right / max(count, 1.0)
            metrics[f"{prefix}bits_per_byte"] = nats / math.log(2) / max(size, 1.0)
        self._sums.clear()
        return metrics

    def progress(self) -> float:
        """How much of the run is done, 0 to 1, by its nearest limit; follows the clock where minutes are given."""
        done = self.global_step / self.steps
        if self.train_config.minutes is not None:
            done = max(done, self.elapsed / (60 * self.train_config.minutes))
        return min(done, 1.0)

    def on_train_start(self) -> None:
        """Start the clock that `minutes` refers to; a resumed run goes on counting."""
        self._started, self._resumed_at = time.monotonic(), self.elapsed

    def read_clock(self) -> None:
        """Set `elapsed`, once a step. Where the schedule follows it all ranks take the first one's: by clocks of their
        own they would take steps of different size, and their weights would drift apart.
        """
        self.elapsed = self._resumed_at + time.monotonic() - (self._started or 0.0)
        if self.train_config.minutes is not None and self.trainer.world_size > 1:
            self.elapsed = float(self.trainer.strategy.broadcast(self.elapsed))

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Set the learning rate of the next step, by the clock as it is now."""
        self.read_clock()
        super().lr_scheduler_step(scheduler, metric)

    def configure_optimizers(self) -> Any:
        """AdamW without weight decay on norms and biases, and the warm-up/stable/decay schedule.

        One pass over the weights instead of a dozen, but for DeepSpeed, which takes its steps itself.
        """
        config = self.train_config
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        decayed = [p for name, p in named if p.ndim >= 2]
        plain = [p for name, p in named if p.ndim < 2]
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=config.betas, eps=1e-6, fused=config.strategy != "deepspeed"
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda _: learning_rate_factor(self.progress(), config.warmup_share, config.decay_share),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients; DeepSpeed does it itself."""
        # Lightning refuses to where a fused optimizer meets autocast, for float16's scaler, which nothing uses here.
        if self.train_config.strategy != "deepspeed" and gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a packed batch."""
        return batch.to(device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock."""
        checkpoint["elapsed_seconds"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the clock."""
        self.elapsed = float(checkpoint["elapsed_seconds"])
