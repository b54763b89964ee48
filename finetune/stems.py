"""What lies below an encoder's last layer, which never changes, and how a copy of that layer, or of all, runs.

An encoder of ours runs packed, one of the transformers library padded, by its own code. Shape legend: T tokens of the
pieces of a batch, one behind the other without padding, D width.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.foreign import ForeignBackend
from logfm.embeddings.truncation import pieces
from logfm.errors import UserError
from logfm.finetune.sequences import Rows
from logfm.pretrain.forward import hidden_states, layer_states, one_layer
from logfm.pretrain.packing import Packed, pack

Ids = list[Rows]
_TOKENS = 4096
"""Tokens that go through a layer of the transformers library at once."""


class Stem(Protocol):
    """An encoder, opened below its last layer."""

    layer: nn.Module
    """A copy of the last layer, to be trained."""
    dim: int
    tokens_per_batch: int
    device: torch.device

    def tokens(self, texts: list[str]) -> tuple[Rows, Ids]:
        """The text of each piece, and its ids with the special ones; cut as the encoder cuts."""

    def below(self, ids: Ids) -> torch.Tensor:
        """What goes into the last layer, float32 (T, D)."""

    def last(self, states_TD: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """What comes out of `layer` for pieces of these lengths, float32 (T, D)."""

    def whole(self) -> tuple[nn.Module, Callable[[Ids], torch.Tensor]]:
        """A copy of all layers, to be trained, and how it makes ids to the last states, float (T, D)."""


def stem(encoder: LogEncoder) -> Stem:
    """The stem of an encoder.

    Raises:
        UserError: it has no layers that can be reached.
    """
    if isinstance(encoder.backend, ForeignBackend) and encoder.backend.model is not None:
        return ForeignStem(encoder.backend, encoder.name)
    return OwnStem(encoder)


class OwnStem:
    """An encoder that logfm trained."""

    def __init__(self, encoder: LogEncoder) -> None:
        self._pretrained, self._config = encoder.pretrained, encoder.config
        self._model = self._pretrained.model
        self.layer: nn.Module = deepcopy(self._model.deberta.encoder.layer[-1])
        self.dim, self.tokens_per_batch = self._pretrained.dim, self._pretrained.tokens_per_batch
        self.device = self._model.device

    def tokens(self, texts: list[str]) -> tuple[Rows, Ids]:
        """See `Stem.tokens`."""
        pretrained, config = self._pretrained, self._config
        limit = min(pretrained.max_tokens, config.max_tokens or pretrained.max_tokens)
        cls, sep = [pretrained.tokenizer.cls_id], [pretrained.tokenizer.sep_id]
        owners, parts = [], []
        for number, ids in enumerate(pretrained.tokenizer.encode_batch(texts)):
            for ranges in pieces(len(ids), limit, config.truncation):
                owners.append(number)
                parts.append(np.concatenate([cls, *(ids[start:stop] for start, stop in ranges), sep]).astype(np.int64))
        return np.array(owners, dtype=np.int64), parts

    def below(self, ids: Ids) -> torch.Tensor:
        """See `Stem.below`."""
        packed = pack(ids).to(self.device)
        count = int(self._model.config.num_hidden_layers) - 1
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._pretrained.bf16):
            found = next(islice(layer_states(self._model, packed), count, None)).float()
        return torch.empty_like(found).index_copy_(0, self._places([len(one) for one in ids]).ids_T, found)

    def last(self, states_TD: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """See `Stem.last`."""
        packed = self._places(lengths)
        found = one_layer(self._model, self.layer, states_TD[packed.ids_T], packed)
        return torch.zeros_like(found).index_copy(0, packed.ids_T, found)

    def whole(self) -> tuple[nn.Module, Callable[[Ids], torch.Tensor]]:
        """See `Stem.whole`."""
        model = deepcopy(self._model)

        def states(ids: Ids) -> torch.Tensor:
            found = hidden_states(model, pack(ids).to(self.device))
            places = self._places([len(one) for one in ids]).ids_T
            return torch.empty_like(found).index_copy(0, places, found)

        return model.deberta, states

    def _places(self, lengths: Sequence[int]) -> Packed:
        """Pieces of these lengths, packed, which sorts them; instead of ids, where each token stood before."""
        stops = np.cumsum(lengths)
        return pack([np.arange(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]).to(
            self.device
        )


class ForeignStem:
    """A model of the transformers library that keeps its layers in `encoder.layer`: BERT, RoBERTa, MPNet, DeBERTa."""

    def __init__(self, backend: ForeignBackend, name: str) -> None:
        self._backend, self._model = backend, backend.model
        layers = getattr(getattr(self._model, "encoder", None), "layer", None)
        if not isinstance(layers, nn.ModuleList) or len(layers) < 2 or not hasattr(self._model, "embeddings"):
            raise UserError("the last layer of this kind of model cannot be reached", name, "Take another encoder.")
        # The model with its last layer alone, which reads states instead of embeddings: masks and relative positions
        # stay the matter of its own code.
        self._tail = _shallow(self._model)
        self.layer: nn.Module = deepcopy(layers[-1])
        self._tail.encoder.layer = nn.ModuleList([self.layer])
        self._tail.embeddings = _Given()
        # Attention of these models holds a matrix a head for every text, and several for the backward pass.
        self.dim, self.tokens_per_batch = backend.dim, min(backend.config.tokens_per_batch, _TOKENS)
        self.device = next(self._model.parameters()).device

    def tokens(self, texts: list[str]) -> tuple[Rows, Ids]:
        """See `Stem.tokens`."""
        owners, ids = self._backend.ids(texts)
        return np.array(owners, dtype=np.int64), [np.array(one, dtype=np.int64) for one in ids]

    def below(self, ids: Ids) -> torch.Tensor:
        """See `Stem.below`."""
        padded, mask = self._padded(ids)
        with torch.inference_mode():
            found = self._model(input_ids=padded, attention_mask=mask.long(), output_hidden_states=True).hidden_states[
                -2
            ]
        return found[mask].float()

    def _padded(self, ids: Ids) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids, and what is no padding, (pieces, longest)."""
        mask = _mask([len(one) for one in ids])
        # Padding is masked, so that its id does not matter but for models that count positions by it.
        padded = torch.full(mask.shape, self._backend.tokenizer.pad_token_id or 0)
        padded[mask] = torch.from_numpy(np.concatenate(ids))
        return padded.to(self.device), mask.to(self.device)

    def last(self, states_TD: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """See `Stem.last`."""
        mask = _mask(lengths).to(self.device)
        padded = states_TD.new_zeros(*mask.shape, states_TD.shape[1]).masked_scatter(mask.unsqueeze(-1), states_TD)
        found: torch.Tensor = self._tail(inputs_embeds=padded, attention_mask=mask.long()).last_hidden_state
        return found[mask]

    def whole(self) -> tuple[nn.Module, Callable[[Ids], torch.Tensor]]:
        """See `Stem.whole`."""
        model: Any = deepcopy(self._model)

        def states(ids: Ids) -> torch.Tensor:
            padded, mask = self._padded(ids)
            found: torch.Tensor = model(input_ids=padded, attention_mask=mask.long()).last_hidden_state
            return found[mask]

        return model, states


class _Given(nn.Module):
    """Stands for a model's embeddings: hands on what it is given."""

    def forward(self, inputs_embeds: torch.Tensor, **_: Any) -> torch.Tensor:
        """The states, as they are."""
        return inputs_embeds


def _shallow(model: Any) -> Any:
    """A copy of a model whose embeddings and layers are the model's own, ready to be replaced, and frozen."""
    shared = {id(model.embeddings): model.embeddings, id(model.encoder.layer): model.encoder.layer}
    return deepcopy(model, shared).requires_grad_(False).eval()


def _mask(lengths: Sequence[int]) -> torch.Tensor:
    """What is no padding, bool (pieces, longest)."""
    counts = torch.as_tensor(np.asarray(lengths, dtype=np.int64))
    return torch.arange(int(counts.max())).unsqueeze(0) < counts.unsqueeze(1)
