"""The training module of the contrastive stage."""

import torch

from logfm.configs.schema.contrast import ContrastConfig
from logfm.pretrain.contrast.batches import PairBatch
from logfm.pretrain.contrast.loss import contrastive_loss, pooled
from logfm.pretrain.data import Batch
from logfm.pretrain.forward import hidden_states, prediction_loss
from logfm.pretrain.module import MaskedLanguageModel


class ContrastiveModel(MaskedLanguageModel):
    """Trains on pairs; validates, as before, on masked tokens, which shows what is lost."""

    contrast: ContrastConfig

    def losses(self, batch: Batch | PairBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Mean loss; without a graph, nats (float32 (M,)) and whether the best guess is right (bool (M,))."""
        return self._losses(batch)[:3] if isinstance(batch, PairBatch) else super().losses(batch)

    def training_step(self, batch: Batch | PairBatch, batch_idx: int) -> torch.Tensor:
        """Mean loss of one batch, noted with both of its parts and the share of views that find their partner."""
        if not isinstance(batch, PairBatch):
            return super().training_step(batch, batch_idx)
        loss, nats, right, apart, found = self._losses(batch)
        self.note(
            batch_idx,
            train_loss=loss,
            train_accuracy=right.float().mean().nan_to_num(0.0),
            train_masked_loss=nats.mean().nan_to_num(0.0),
            train_contrastive_loss=apart,
            train_found=found.float().mean(),
        )
        return loss

    def _losses(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        config = self.contrast
        states = hidden_states(self.model, batch.packed, recompute=self.train_config.activation_checkpointing)
        apart, found = contrastive_loss(pooled(states, batch.packed), batch.templates_N, config.temperature)
        masked, nats, right = prediction_loss(
            self.model, self.decoder, states, batch.packed, batch.positions_M, batch.targets_M
        )
        return apart + config.masked_weight * masked, nats, right, apart.detach(), found
