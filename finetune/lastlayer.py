"""Fine-tuning of the encoder's last layer (SecEncoder, 4.2.3 and Table 6).

Every event of a sequence goes through the encoder, which is frozen but for its last layer; the mean over its tokens is
taken, those of all events are concatenated in their order, and a classification layer reads them. What goes into the
last layer never changes, so it is computed once a text. Shape legend: T tokens, B texts, D width, S sequences.
"""

import tempfile
from copy import deepcopy
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from logfm.configs.schema.finetune import LastLayerConfig
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.truncation import pieces
from logfm.errors import UserError
from logfm.finetune.sequences import Rows, Sequences, Vectors
from logfm.pretrain.forward import layer_states, one_layer
from logfm.pretrain.packing import cut_by_tokens, pack


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
        self.encoder = encoder
        model = encoder.pretrained.model
        self.layer = deepcopy(model.deberta.encoder.layer[-1]).requires_grad_(config.encoder_rate > 0)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(config.most_events * encoder.pretrained.dim, classes)
        self.to(model.device)

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
        owners, ids = self._tokens(list(known))
        stops = np.cumsum([len(one) for one in ids])
        starts = stops - np.array([len(one) for one in ids])
        return Frozen(self._states(ids, starts, int(stops[-1])), starts, stops, owners, numbers)

    def _tokens(self, texts: list[str]) -> tuple[Rows, list[Rows]]:
        """The text of each piece, and its ids with [CLS] and [SEP]; cut as the encoder cuts."""
        pretrained, config = self.encoder.pretrained, self.encoder.config
        limit = min(pretrained.max_tokens, config.max_tokens or pretrained.max_tokens)
        cls, sep = [pretrained.tokenizer.cls_id], [pretrained.tokenizer.sep_id]
        owners, parts = [], []
        for number, ids in enumerate(pretrained.tokenizer.encode_batch(texts)):
            for ranges in pieces(len(ids), limit, config.truncation):
                owners.append(number)
                parts.append(np.concatenate([cls, *(ids[start:stop] for start, stop in ranges), sep]).astype(np.int64))
        return np.array(owners, dtype=np.int64), parts

    def _states(self, ids: list[Rows], starts: Rows, total: int) -> Vectors:
        pretrained = self.encoder.pretrained
        model, shape = pretrained.model, (total, pretrained.dim)
        states: Vectors
        if total * pretrained.dim * 4 <= self.config.memory_bytes:
            states = np.empty(shape, dtype=np.float32)
        else:
            # A file without a name: it is gone with the process, however that ends.
            with tempfile.TemporaryFile() as stream:
                states = np.memmap(stream, dtype=np.float32, mode="w+", shape=shape)
        lengths = np.array([len(one) for one in ids])
        order = np.argsort(lengths, kind="stable")
        below = int(model.config.num_hidden_layers) - 1
        for rows in cut_by_tokens(order, lengths[order], pretrained.tokens_per_batch):
            packed = pack([ids[row] for row in rows]).to(model.device)
            places = pack([np.arange(starts[row], starts[row] + lengths[row]) for row in rows]).ids_T
            with torch.inference_mode(), torch.autocast(model.device.type, torch.bfloat16, enabled=pretrained.bf16):
                found = next(islice(layer_states(model, packed), below, None))
            states[places.numpy()] = found.float().cpu().numpy()
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
        model = self.encoder.pretrained.model
        chosen = np.flatnonzero(np.isin(prepared.owners, texts))
        # Instead of ids, the places of the tokens' states go through the packing.
        packed = pack([np.arange(prepared.starts[one], prepared.stops[one]) for one in chosen])
        x_TD = torch.from_numpy(np.asarray(prepared.states[packed.ids_T.numpy()])).to(model.device)
        packed = packed.to(model.device)
        states_TD = one_layer(model, self.layer, x_TD, packed)
        piece_text = torch.from_numpy(np.searchsorted(texts, prepared.owners[chosen])).to(model.device)
        text_T = piece_text[packed.event_T]
        sums_BD = states_TD.new_zeros(len(texts), states_TD.shape[1]).index_add(0, text_T, states_TD)
        return sums_BD / torch.bincount(text_T, minlength=len(texts)).unsqueeze(1)
