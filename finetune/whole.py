"""A classifier that is fine-tuned whole, as RoBERTa is (Liu et al., 2019): one text in, every layer learns.

The events of a sequence are one text, a line each; the mean over its tokens behind the last layer goes into a
classification layer. The encoder that is given stays as it is. Shape legend: T tokens, B sequences, D width.
"""

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from logfm.configs.schema.finetune import WholeConfig
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.finetune.sequences import Rows, Sequences
from logfm.finetune.stems import Ids, stem
from logfm.pretrain.packing import cut_by_tokens

_TOKENS = 4096
"""Tokens that are computed at once: of more, each part is computed again in the backward pass, which bounds memory."""


class WholeNetwork(nn.Module):
    """A trained copy of the encoder, and a classification layer."""

    def __init__(self, config: WholeConfig, classes: int, encoder: LogEncoder) -> None:
        super().__init__()
        self.config = config
        self.stem = stem(encoder)
        self.encoder, self._states = self.stem.whole()
        self.encoder.requires_grad_(True)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(self.stem.dim, classes)
        self.to(self.stem.device)

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """There is nothing to fit: an encoder's states are normalised."""

    def parameter_groups(self, rate: float) -> list[dict[str, object]]:
        """Parameters with their learning rates."""
        return [
            {"params": list(self.classify.parameters()), "lr": rate},
            {"params": list(self.encoder.parameters()), "lr": rate * self.config.encoder_rate},
        ]

    def prepare(self, sequences: Sequences) -> Ids:
        """Token ids of each sequence.

        Raises:
            UserError: the sequences carry no texts.
        """
        if sequences.texts is None:
            raise UserError("this head reads texts, and the sequences carry none")
        owners, pieces = self.stem.tokens(["\n".join(texts) for texts in sequences.texts])
        firsts = np.searchsorted(owners, np.arange(len(sequences)))
        return [self._cut(pieces[first]) for first in firsts]

    def _cut(self, ids_T: Rows) -> Rows:
        """At most so many tokens, the last of which is what ends every text."""
        most = self.config.most_tokens
        return ids_T if len(ids_T) <= most else np.concatenate((ids_T[: most - 1], ids_T[-1:]))

    def forward(self, prepared: Ids, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""
        ids = [prepared[row] for row in rows]
        lengths = np.array([len(one) for one in ids])
        order = np.argsort(lengths, kind="stable")
        parts = [[ids[row] for row in part] for part in cut_by_tokens(order, lengths[order], _TOKENS)]
        recompute = len(parts) > 1 and torch.is_grad_enabled()
        means = [checkpoint(self._means, one, use_reentrant=False) if recompute else self._means(one) for one in parts]
        means_BD = torch.cat(means)
        places = torch.from_numpy(order).to(means_BD.device)
        return self.classify(self.dropout(torch.empty_like(means_BD).index_copy(0, places, means_BD)))

    def _means(self, ids: Ids) -> torch.Tensor:
        """The mean over the tokens of each text, float32 (B, D)."""
        lengths = torch.tensor([len(one) for one in ids], device=self.stem.device)
        states_TD = self._states(ids).float()
        text_T = torch.repeat_interleave(torch.arange(len(ids), device=lengths.device), lengths)
        sums_BD = states_TD.new_zeros(len(ids), states_TD.shape[1]).index_add(0, text_T, states_TD)
        return sums_BD / lengths.unsqueeze(1)
