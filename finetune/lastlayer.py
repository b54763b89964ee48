"""Fine-tuning of the encoder's last layer (SecEncoder, 4.2.3 and Table 6).

Every event of a sequence goes through the encoder, which is frozen but for its last layer; the mean over its tokens is
taken, those of all events are concatenated in their order, and a classification layer reads them. What goes into the
last layer never changes, so it is computed once a text. Shape legend: T tokens, B texts, D width, S sequences.
"""

import tempfile
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from logfm.configs.schema.finetune import LastLayerConfig
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.finetune.sequences import Rows, Sequences, Vectors
from logfm.finetune.stems import stem
from logfm.pretrain.packing import cut_by_tokens


class Frozen(NamedTuple):
    """The states (float32 (T, D)) that go into the last layer, of the different texts of sequences.

    `starts` and `stops` are the tokens of each piece, `owners` its text (a text is several pieces where it is longer
    than the encoder reads and is read in chunks), `numbers` the texts of each sequence.
    """

    states: Vectors
    starts: Rows
    stops: Rows
    owners: Rows
    numbers: list[Rows]


class LastLayerNetwork(nn.Module):
    """A trained copy of the encoder's last layer, and a classification layer of a fixed number of events."""

    def __init__(self, config: LastLayerConfig, classes: int, encoder: LogEncoder) -> None:
        super().__init__()
        self.config = config
        self.stem = stem(encoder)
        self.layer = self.stem.layer.requires_grad_(config.encoder_rate > 0)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.most_events * self.stem.dim, classes)
        self.to(self.stem.device)

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """There is nothing to fit: an encoder's states are normalised."""

    def parameter_groups(self, rate: float) -> list[dict[str, object]]:
        """Parameters with their learning rates."""
        groups: list[dict[str, object]] = [{"params": list(self.classify.parameters()), "lr": rate}]
        if self.config.encoder_rate:
            groups.append({"params": list(self.layer.parameters()), "lr": rate * self.config.encoder_rate})
        return groups

    def prepare(self, sequences: Sequences) -> Frozen:
        """Compute what goes into the last layer, once a text.

        Raises:
            UserError: the sequences carry no texts.
        """
        if sequences.texts is None:
            raise UserError("this head reads texts, and the sequences carry none")
        known: dict[str, int] = {}
        numbers = [
            np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)
            for texts in sequences.texts
        ]
        owners, ids = self.stem.tokens(list(known))
        stops = np.cumsum([len(one) for one in ids])
        starts = stops - np.array([len(one) for one in ids])
        return Frozen(self._states(ids, starts, int(stops[-1])), starts, stops, owners, numbers)

    def _states(self, ids: list[Rows], starts: Rows, total: int) -> Vectors:
        shape = (total, self.stem.dim)
        states: Vectors
        if total * self.stem.dim * 4 <= self.config.memory_bytes:
            states = np.empty(shape, dtype=np.float32)
        else:
            # A file without a name: it is gone with the process, however that ends.
            with tempfile.TemporaryFile() as stream:
                states = np.memmap(stream, dtype=np.float32, mode="w+", shape=shape)
        lengths = np.array([len(one) for one in ids])
        order = np.argsort(lengths, kind="stable")
        for rows in cut_by_tokens(order, lengths[order], self.stem.tokens_per_batch):
            places = np.concatenate([np.arange(starts[row], starts[row] + lengths[row]) for row in rows])
            states[places] = self.stem.below([ids[row] for row in rows]).cpu().numpy()
        return states

    def forward(self, prepared: Frozen, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""
        texts, places = np.unique(np.concatenate([prepared.numbers[row] for row in rows]), return_inverse=True)
        vectors_BD = self.vectors(prepared, texts)
        lengths = np.array([len(prepared.numbers[row]) for row in rows])
        sequence_E = np.repeat(np.arange(len(rows)), lengths)
        within_E = np.arange(len(sequence_E)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        filled = vectors_BD.new_zeros(len(rows) * self.config.most_events, vectors_BD.shape[1])
        where = torch.from_numpy(sequence_E * self.config.most_events + within_E).to(filled.device)
        filled = filled.index_copy(0, where, vectors_BD[torch.from_numpy(places.reshape(-1)).to(filled.device)])
        return self.classify(self.dropout(filled.view(len(rows), -1)))

    def vectors(self, prepared: Frozen, texts: Rows) -> torch.Tensor:
        """The mean over the tokens of some texts (numbers in ascending order) behind the last layer, float32 (B, D)."""
        chosen = np.flatnonzero(np.isin(prepared.owners, texts))
        lengths = (prepared.stops - prepared.starts)[chosen]
        order = np.argsort(lengths, kind="stable")
        parts = list(cut_by_tokens(order, lengths[order], self.stem.tokens_per_batch))
        sums = []
        for rows in parts:
            # One part's states at a time, in the backward pass too, where they are computed again: a step on long
            # texts would take many gigabytes.
            recompute = len(parts) > 1 and torch.is_grad_enabled()
            one = chosen[rows]
            sums.append(
                checkpoint(self._sums, prepared, one, use_reentrant=False) if recompute else self._sums(prepared, one)
            )
        piece_text = np.searchsorted(texts, prepared.owners[chosen[np.concatenate(parts)]])
        text_P = torch.from_numpy(piece_text).to(self.stem.device)
        sums_PD = torch.cat(sums)
        sums_BD = sums_PD.new_zeros(len(texts), sums_PD.shape[1]).index_add(0, text_P, sums_PD)
        tokens = np.bincount(np.searchsorted(texts, prepared.owners[chosen]), weights=lengths, minlength=len(texts))
        return sums_BD / torch.from_numpy(tokens).to(sums_BD).unsqueeze(1)

    def _sums(self, prepared: Frozen, pieces: Rows) -> torch.Tensor:
        """Sums over the tokens of pieces behind the last layer, float32 (pieces, D)."""
        starts, lengths = prepared.starts[pieces], (prepared.stops - prepared.starts)[pieces]
        places = np.concatenate([np.arange(start, start + size) for start, size in zip(starts, lengths, strict=True)])
        x_TD = torch.from_numpy(np.asarray(prepared.states[places])).to(self.stem.device)
        states_TD = self.stem.last(x_TD, lengths.tolist())
        piece_T = torch.from_numpy(np.repeat(np.arange(len(pieces)), lengths)).to(self.stem.device)
        return states_TD.new_zeros(len(pieces), states_TD.shape[1]).index_add(0, piece_T, states_TD)
