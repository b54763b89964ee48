"""A model's layers, or some of them, over a prefix and the texts that follow on it: the prefix is computed once."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from transformers import DynamicCache

from logfm.finetune.decoder.adapters import decoder_of
from logfm.finetune.decoder.attending import causal


class Stack:
    """Layers from `first` to before `last` (all by default) of a language model, with gradients where there are any."""

    def __init__(self, model: Any, first: int = 0, last: int | None = None) -> None:
        self.model, self.decoder = model, decoder_of(model)
        count = len(self.decoder.layers)
        self.first, self.last = first, count if last is None else last

    def states(self, prefix_L: torch.Tensor, texts_BL: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States of the prefix, (P, width), and of the texts behind it, (B, L, width).

        Both are given as tokens (P,) and (B, L), or as states of the layers below (P, width) and (B, L, width). Texts
        are right-padded; what stands behind their end is of no use.
        """
        length, size = len(prefix_L), len(texts_BL)
        behind = length + texts_BL.shape[1]
        places = torch.arange(behind, device=prefix_L.device)[None]
        cache = DynamicCache(config=self.model.config)
        with causal(self.model, behind), self._part():
            before = self._run(prefix_L[None], cache, places[:, :length])
            spread = DynamicCache(config=self.model.config)
            for number, layer in enumerate(cache.layers):
                if layer.is_initialized:
                    keys, values = (one.expand(size, -1, -1, -1) for one in (layer.keys, layer.values))
                    spread.update(keys, values, number)
            after = self._run(texts_BL, spread, places[:, length:])
        return before[0], after

    def _run(self, given: torch.Tensor, cache: DynamicCache, places: torch.Tensor) -> torch.Tensor:
        name = "inputs_embeds" if given.is_floating_point() else "input_ids"
        found: torch.Tensor = self.decoder(
            **{name: given}, past_key_values=cache, position_ids=places, use_cache=True
        ).last_hidden_state
        return found

    @contextlib.contextmanager
    def _part(self) -> Iterator[None]:
        """The decoder with these layers only; without its last there is no norm."""
        layers, norm = self.decoder.layers, self.decoder.norm
        self.decoder.layers = layers[self.first : self.last]
        if self.last < len(layers):
            self.decoder.norm = torch.nn.Identity()
        try:
            yield
        finally:
            self.decoder.layers, self.decoder.norm = layers, norm
