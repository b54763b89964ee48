"""Fine-tuning of the encoder's last layer (SecEncoder, 4.2.3 and Table 6).

Every event of a sequence goes through the encoder, which is frozen but for its last layer; the mean over its tokens is
taken, those of all events are concatenated in their order, and a classification layer reads them. What goes into the
last layer never changes, so it is computed once a text. Shape legend: T tokens, B texts, D width, S sequences.
"""

import tempfile
from typing import NamedTuple
from weakref import ref

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from logfm.configs.schema.finetune import LastLayerConfig
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.finetune.sequences import Rows, Sequences, Vectors
from logfm.finetune.stems import Stem, stem
from logfm.pretrain.packing import cut_by_tokens


class Place(NamedTuple):
    """Where the states of a piece are: rows `start` to `stop` of `block`, float32 (T, D)."""

    block: Vectors
    start: int
    stop: int


class Frozen(NamedTuple):
    """The states that go into the last layer, of the different texts of sequences.

    `places` are those of the pieces and `owners` their texts (a text is several pieces where it is longer than the
    encoder reads and is read in chunks), `numbers` the texts of each sequence.
    """

    places: list[Place]
    owners: Rows
    numbers: list[Rows]


class States:
    """What an encoder's frozen layers make of pieces of text: computed once each, also for several heads."""

    def __init__(self) -> None:
        self._places: dict[bytes, Place] = {}
        self._bytes = 0

    def of(self, stem: Stem, ids: list[Rows], memory_bytes: int) -> list[Place]:
        """The places of pieces; beyond `memory_bytes` in all, new ones are on disk, and old ones are forgotten."""
        keys = [one.tobytes() for one in ids]
        missing = {key: one for key, one in zip(keys, ids, strict=True) if key not in self._places}
        if missing:
            new = _computed(stem, list(missing.values()), memory_bytes)
            size = new[0].block.nbytes
            if self._bytes + size > memory_bytes:
                # Who still reads old ones has them; nobody else shall.
                self._places = {key: self._places[key] for key in set(keys) - missing.keys()}
                self._bytes = 0
            self._bytes += size
            self._places |= zip(missing, new, strict=True)
        return [self._places[key] for key in keys]


def _computed(stem: Stem, ids: list[Rows], memory_bytes: int) -> list[Place]:
    """The states of pieces in one block, in memory or in a file."""
    lengths = np.array([len(one) for one in ids])
    stops = np.cumsum(lengths)
    shape = (int(stops[-1]), stem.dim)
    block: Vectors
    if shape[0] * shape[1] * 4 <= memory_bytes:
        block = np.empty(shape, dtype=np.float32)
    else:
        # A file without a name: it is gone with the process, however that ends.
        with tempfile.TemporaryFile() as stream:
            block = np.memmap(stream, dtype=np.float32, mode="w+", shape=shape)
    places = [Place(block, int(stop - length), int(stop)) for stop, length in zip(stops, lengths, strict=True)]
    order = np.argsort(lengths, kind="stable")
    for rows in cut_by_tokens(order, lengths[order], stem.tokens_per_batch):
        found = stem.below([ids[row] for row in rows]).cpu().numpy()
        block[np.concatenate([np.arange(places[row].start, places[row].stop) for row in rows])] = found
    return places


_last: list[tuple[ref[LogEncoder], States]] = []


def states_of(encoder: LogEncoder) -> States:
    """The states of an encoder, which are kept until another encoder's are asked for."""
    if not _last or _last[0][0]() is not encoder:
        _last[:] = [(ref(encoder), States())]
    return _last[0][1]


class LastLayerNetwork(nn.Module):
    """A trained copy of the encoder's last layer, and a classification layer of a fixed number of events."""

    def __init__(self, config: LastLayerConfig, classes: int, encoder: LogEncoder) -> None:
        super().__init__()
        self.config = config
        self.stem = stem(encoder)
        self.states = states_of(encoder)
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
        return Frozen(self.states.of(self.stem, ids, self.config.memory_bytes), owners, numbers)

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
        lengths = np.array([prepared.places[row].stop - prepared.places[row].start for row in chosen])
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
        states = [place.block[place.start : place.stop] for place in map(prepared.places.__getitem__, pieces)]
        lengths = np.array([len(one) for one in states])
        x_TD = torch.from_numpy(np.concatenate(states)).to(self.stem.device)
        states_TD = self.stem.last(x_TD, lengths.tolist())
        piece_T = torch.from_numpy(np.repeat(np.arange(len(pieces)), lengths)).to(self.stem.device)
        return states_TD.new_zeros(len(pieces), states_TD.shape[1]).index_add(0, piece_T, states_TD)
