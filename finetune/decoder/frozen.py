"""What the frozen layers below the adapted ones make of the training cases: computed once, held for all epochs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from logfm.console import progress
from logfm.finetune.decoder.packing import Batch, Example, collate, parts
from logfm.finetune.decoder.stack import Stack

_IN_MEMORY = 1 << 30


class FrozenStates:
    """States below the first adapted layer, in bfloat16: in memory, or in a file where they are many."""

    def __init__(
        self, model: Any, frozen: int, prefix: torch.Tensor, given: Sequence[Example], tokens: int, pad: int, file: Path
    ) -> None:
        self.lengths = [len(one.tokens) for one in given]
        self.starts = [0]
        for length in self.lengths:
            self.starts.append(self.starts[-1] + length)
        shape = (self.starts[-1], int(model.config.hidden_size))
        if shape[0] * shape[1] * 2 > _IN_MEMORY:
            kept = torch.from_file(str(file), shared=True, size=shape[0] * shape[1], dtype=torch.bfloat16)
            self.states = kept.view(shape)
        else:
            self.states = torch.empty(shape, dtype=torch.bfloat16)
        self.prefix = torch.empty(0)
        self._fill(Stack(model, 0, frozen), prefix, given, tokens, pad)

    def take(self, batch: Batch) -> torch.Tensor:
        """States of a batch's examples, right-padded, (B, L, width)."""
        b, length = batch.tokens_BL.shape
        found = torch.zeros(b, length, self.states.shape[1], dtype=self.states.dtype)
        for place, row in enumerate(batch.rows):
            found[place, : self.lengths[row]] = self.states[self.starts[row] : self.starts[row + 1]]
        return found

    def _fill(self, stack: Stack, prefix: torch.Tensor, given: Sequence[Example], tokens: int, pad: int) -> None:
        place_of = stack.model.device
        with torch.no_grad(), progress("frozen layers", len(given)) as advance:
            for rows in parts(range(len(given)), self.lengths, tokens):
                batch = collate(rows, given, pad)
                before, states = stack.states(prefix.to(place_of), batch.tokens_BL.to(place_of))
                self.prefix = before.to("cpu", torch.bfloat16)
                for place, row in enumerate(rows):
                    self.states[self.starts[row] : self.starts[row + 1]] = states[place, : self.lengths[row]].cpu()
                advance(len(rows))
