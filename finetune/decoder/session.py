"""Several cases read side by side: what all prompts begin with is read once, the rest left-padded, keys are kept."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from logfm.errors import LogfmError
from logfm.finetune.decoder.adapters import decoder_of

Tokens = list[int]


class Session:
    """A batch of B growing texts, and for each the logits of what comes next.

    Texts may grow by different numbers of tokens at a time: shorter ones are padded on the left, and no text ever
    looks at padding.
    """

    def __init__(self, model: Any, prefix: "Prefix", size: int) -> None:
        self.model, self.decoder = model, decoder_of(model)
        self.cache = prefix.spread(size)
        length = len(prefix.tokens)
        self.seen_BT = torch.ones(size, length, dtype=torch.long, device=model.device)
        self.length_B = torch.full((size,), length, dtype=torch.long, device=model.device)
        self.logits_BV: torch.Tensor | None = None

    @torch.no_grad()
    def feed(self, rows: Sequence[Tokens]) -> None:
        """Let each text grow by these tokens, none for some; their logits are then those behind their last token."""
        width = max(map(len, rows), default=0)
        if width == 0:
            return
        b, device = len(rows), self.model.device
        tokens_BL = torch.zeros(b, width, dtype=torch.long)
        seen_BL = torch.zeros(b, width, dtype=torch.long)
        for place, row in enumerate(rows):
            if row:
                tokens_BL[place, width - len(row) :] = torch.tensor(row)
                seen_BL[place, width - len(row) :] = 1
        seen_BL = seen_BL.to(device)
        positions_BL = (self.length_B[:, None] + seen_BL.cumsum(1) - 1).clamp_min(0)
        self.seen_BT = torch.cat([self.seen_BT, seen_BL], 1)
        states = self.decoder(
            input_ids=tokens_BL.to(device),
            attention_mask=self.seen_BT,
            position_ids=positions_BL,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        self.length_B = self.length_B + seen_BL.sum(1)
        found = self.following(states)
        fed = torch.tensor([bool(row) for row in rows], device=device)[:, None]
        self.logits_BV = found if self.logits_BV is None else torch.where(fed, found, self.logits_BV)

    @property
    def size(self) -> int:
        """How many texts there are."""
        return len(self.length_B)

    @property
    def logits(self) -> torch.Tensor:
        """Of what comes next, float32 (B, V).

        Raises:
            LogfmError: nothing was fed yet.
        """
        if self.logits_BV is None:
            raise LogfmError("a session without text has no logits")
        return self.logits_BV

    def following(self, states_BD: torch.Tensor) -> torch.Tensor:
        """Logits of what comes behind these states, float32 (B, V)."""
        found: torch.Tensor = self.model.get_output_embeddings()(states_BD)
        return found.float()

    @torch.no_grad()
    def branches(self, tokens: Tokens, parents: Sequence[int], rows: Sequence[int] | None = None) -> torch.Tensor:
        """States behind the nodes of a tree of continuations, (B, N, width); B are these texts, and nothing grows.

        Node i holds `tokens[i]` and follows on node `parents[i]` < i, or directly on the text (-1).
        """
        rows = list(range(self.size) if rows is None else rows)
        some = len(rows) < self.size
        b, length = len(rows), self.seen_BT.shape[1]
        device, count = self.model.device, len(tokens)
        see_NN = torch.eye(count, dtype=torch.bool)
        depths: list[int] = []
        for node, parent in enumerate(parents):
            depths.append(0 if parent < 0 else depths[parent] + 1)
            if parent >= 0:
                see_NN[node] |= see_NN[parent]
        see = torch.cat(
            [
                self.seen_BT[rows].bool()[:, None, None, :].expand(b, 1, count, length),
                see_NN.to(device)[None, None].expand(b, 1, count, count),
            ],
            3,
        )
        kind = self.model.dtype
        mask = torch.zeros(see.shape, dtype=kind, device=device).masked_fill_(~see, torch.finfo(kind).min)
        states: torch.Tensor = self.decoder(
            input_ids=torch.tensor([tokens] * b, device=device),
            attention_mask=mask,
            position_ids=self.length_B[rows][:, None] + torch.tensor(depths, device=device)[None],
            past_key_values=self._cache_of(rows) if some else self.cache,
            use_cache=True,
        ).last_hidden_state
        if not some:
            self.cache.crop(-count)
        return states

    def _cache_of(self, rows: list[int]) -> DynamicCache:
        """A copy of what some texts have left behind."""
        cache = DynamicCache(config=self.model.config)
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[rows], layer.values[rows], number)
        return cache


class Prefix:
    """What all prompts begin with, read once."""

    def __init__(self, model: Any, tokens: Tokens) -> None:
        self.tokens = tokens
        cache = DynamicCache(config=model.config)
        with torch.no_grad():
            ids = torch.tensor([tokens], device=model.device)
            decoder_of(model)(input_ids=ids, past_key_values=cache, use_cache=True)
        self._keys = [(layer.keys, layer.values) for layer in cache.layers]
        self._config = model.config

    def spread(self, size: int) -> DynamicCache:
        """A cache with the prefix for so many texts."""
        cache = DynamicCache(config=self._config)
        for number, (keys, values) in enumerate(self._keys):
            cache.update(keys.expand(size, -1, -1, -1), values.expand(size, -1, -1, -1), number)
        return cache
