"""Batches for training: a deterministic endless plan over the token shards, each rank its own part."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset

from logfm.configs.schema.pretrain import MaskingConfig
from logfm.pretrain.masking import Masked, event_seeds, leading_spaces, mask_events, maskable_ids
from logfm.pretrain.packing import Packed, cut_by_tokens, pack, plan_batches, plan_parts, to_device
from logfm.tokenizer import LogTokenizer

# Passes of other data than the new: their masks are none of those that new events have in any pass.
_HELD_OUT, _OLD = 2**40, 2**41


class Batch(NamedTuple):
    """A masked batch: packed corrupted events, the masked positions in packed order, and their original ids."""

    packed: Packed
    positions_M: torch.Tensor
    targets_M: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        positions_M, targets_M = to_device(self.positions_M, device), to_device(self.targets_M, device)
        return Batch(self.packed.to(device), positions_M, targets_M)


@dataclass(frozen=True)
class Masker:
    """Turns events into masked batches; an event's draw depends on `seed`, the pass and its row alone."""

    maskable: np.ndarray
    mask_id: int
    config: MaskingConfig
    seed: int
    spaced: np.ndarray | None = None
    """Ids with a leading space, bool (vocabulary,); whole words need them."""

    @classmethod
    def of(cls, tokenizer: LogTokenizer, config: MaskingConfig, seed: int) -> "Masker":
        """A masker for a tokenizer's ids."""
        specials = np.flatnonzero(tokenizer.byte_lengths == 0)
        maskable = maskable_ids(tokenizer.delimiter_mask, specials, config.delimiters)
        spaced = leading_spaces(tokenizer.tokens(range(tokenizer.vocab_size)))
        return cls(maskable, tokenizer.mask_id, config, seed, spaced)

    def batch(
        self, events: list[np.ndarray], turn: int | np.ndarray, share: float, rows: np.ndarray | None = None
    ) -> Batch:
        """Mask and pack one batch: events of the pass `turn` (an int, or one of each), from these rows of the data; by
        default they are numbered as they come.
        """
        seeds = event_seeds(self.seed, turn, np.arange(len(events)) if rows is None else rows)
        return packed_batch(mask_events(events, self.maskable, self.mask_id, self.config, share, seeds, self.spaced))


def packed_batch(masked: Masked) -> Batch:
    """Pack masked events; packing sorts them by length, and the positions go along."""
    packed = pack(masked.events)
    lengths = packed.lengths_B.numpy()
    order = np.argsort(lengths, kind="stable")
    new_start = np.empty(len(lengths), dtype=np.int64)
    new_start[order] = np.cumsum(lengths[order]) - lengths[order]
    old_start = np.cumsum(lengths) - lengths
    event = np.searchsorted(old_start, masked.positions, side="right") - 1
    positions = masked.positions - old_start[event] + new_start[event]
    return Batch(packed, torch.from_numpy(positions), torch.from_numpy(masked.targets))


class Shard:
    """Token ids of one split, memory-mapped by HF `datasets`."""

    def __init__(self, folder: Path, split: str) -> None:
        import datasets

        datasets.disable_progress_bars()
        cache = folder.parent / ".cache"
        self._data = datasets.Dataset.from_parquet(
            str(folder / f"{split}.parquet"), cache_dir=str(cache), keep_in_memory=False
        )
        column = self._data.data.column("input_ids")
        self.lengths: np.ndarray = np.concatenate(
            [np.diff(chunk.offsets.to_numpy()) for chunk in column.chunks] or [np.zeros(0)]
        ).astype(np.int64)
        self._rows = self._data.with_format("numpy", columns=["input_ids"])

    def events(self, rows: np.ndarray) -> list[np.ndarray]:
        """The ids (int) of the given rows, [CLS] and [SEP] included."""
        return [np.asarray(ids) for ids in self._rows[rows.tolist()]["input_ids"]]


class Part(NamedTuple):
    """Events of a batch: their ids, their rows in the shard, and the pass over it."""

    events: list[np.ndarray]
    rows: np.ndarray
    turn: int


@dataclass(frozen=True)
class Replay:
    """Old data of which every batch carries `share` of its tokens (Ibrahim et al., 2024, on continued pretraining).

    It runs through passes of its own, however long a pass over the new data is.
    """

    shard: Shard
    share: float
    seed: int

    def plan(self, turn: int, tokens_per_batch: int) -> list[np.ndarray]:
        """The parts of one pass, rows of the shard each; as many in every pass."""
        return plan_parts(self.shard.lengths, self.share * tokens_per_batch, self.seed + turn)

    def parts(self, tokens_per_batch: int, first: int, stride: int) -> Iterator[Part]:
        """The old events of batches `first`, `first + stride`, ..., numbered over all ranks."""
        turn, plan = 0, self.plan(0, tokens_per_batch)
        for number in count(first, stride):
            if number // len(plan) != turn:
                turn = number // len(plan)
                plan = self.plan(turn, tokens_per_batch)
            rows = np.sort(plan[number % len(plan)])
            yield Part(self.shard.events(rows) if len(rows) else [], rows, _OLD + turn)


class Leg(NamedTuple):
    """A stretch of a run with one number of ranks: the step at its end, the batches that each rank took, the ranks."""

    step: int
    batches: int
    ranks: int


class TrainBatches(IterableDataset[Batch]):
    """Endless training batches. Batch `n` of rank `r` depends on seed, n, r and the number of ranks alone, so a
    resumed run sets `start` and sees what an unbroken one would have seen.

    With `replay`, a batch has that share of old events; it exceeds `tokens_per_batch` by at most one of them.

    A run that went on with another number of ranks has `legs`: it takes up the plan where the last one left it. No
    batch comes twice; left out are only those at the end of a pass that do not go round all ranks.
    """

    def __init__(
        self,
        shard: Shard,
        masker: Masker,
        tokens_per_batch: int,
        rank: int,
        ranks: int,
        replay: Replay | None = None,
    ) -> None:
        self.shard, self.masker, self.replay = shard, masker, replay
        self.rank, self.ranks = rank, ranks
        self.tokens_per_batch = tokens_per_batch
        self.tokens = tokens_per_batch if replay is None else max(1, round(tokens_per_batch * (1 - replay.share)))
        self.start = 0
        self.legs: Sequence[Leg] = ()

    def per_epoch(self) -> int:
        """Batches of one rank in the first pass over the (new) data."""
        return len(self._plan(0)) // self.ranks

    def replay_share(self) -> float:
        """Share of the tokens of a pass that is old data, as the plan has it."""
        if self.replay is None:
            return 0.0
        old = self.replay.shard.lengths.sum() / len(self.replay.plan(0, self.tokens_per_batch))
        new = self.shard.lengths.sum() / len(self._plan(0))
        return float(old / (old + new))

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from number `start` on."""
        epoch, used, number = self._place()
        old: Iterator[Part | None] = repeat(None)
        if self.replay is not None:
            old = self.replay.parts(self.tokens_per_batch, number + self.rank, self.ranks)
        for turn in count(epoch):
            plan = self._plan(turn)[used:]
            used = 0
            for first in range(0, len(plan) - self.ranks + 1, self.ranks):
                rows = np.sort(plan[first + self.rank])
                yield self._masked(Part(self.shard.events(rows), rows, turn), next(old))

    def epochs_done(self) -> float:
        """Passes over the (new) data that `legs` and `start` amount to."""
        epoch, used, _ = self._place()
        return epoch + used / len(self._plan(epoch))

    def _place(self) -> tuple[int, int, int]:
        """Where to begin: the pass, the batches of its plan that are used up, and all batches that ranks have taken."""
        epoch = used = number = 0
        for batches, ranks in [*((leg.batches, leg.ranks) for leg in self.legs), (self.start, self.ranks)]:
            left = batches
            while left > 0:
                room = (len(self._plan(epoch)) - used) // ranks
                taken = min(left, room)
                used, number, left = used + taken * ranks, number + taken * ranks, left - taken
                if left > 0:
                    epoch, used = epoch + 1, 0
        return epoch, used, number

    def _plan(self, epoch: int) -> list[np.ndarray]:
        return plan_batches(self.shard.lengths, self.tokens, self.masker.seed + epoch)

    def _masked(self, new: Part, old: Part | None) -> Batch:
        share = self.masker.config.share
        if old is None:
            return self.masker.batch(new.events, new.turn, share, new.rows)
        turns = np.repeat([new.turn, old.turn], [len(new.rows), len(old.rows)])
        return self.masker.batch(new.events + old.events, turns, share, np.concatenate([new.rows, old.rows]))


class Ahead(IterableDataset[Any]):
    """The same batches in the same order, made by a thread of its own while a GPU works on those before.

    A resumed run knows its place from the steps done, so what was made ahead is lost with the process and made again.
    """

    DEPTH = 2
    """Batches that are kept ready."""

    def __init__(self, batches: IterableDataset[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches; what fails in the thread is raised here."""
        made = iter(self._batches)
        with ThreadPoolExecutor(1) as thread:
            coming = deque(thread.submit(next, made, None) for _ in range(self.DEPTH))
            while (batch := coming.popleft().result()) is not None:
                coming.append(thread.submit(next, made, None))
                yield batch


class ValidationBatches(IterableDataset[Batch]):
    """A fixed validation sample with fixed masks: evenly spaced events, at most so many tokens."""

    def __init__(self, shard: Shard, masker: Masker, tokens_per_batch: int, limit: int, rank: int, ranks: int) -> None:
        self.shard, self.masker = shard, masker
        wanted = min(1.0, limit / max(1, int(shard.lengths.sum())))
        rows = np.unique(np.linspace(0, len(shard.lengths) - 1, max(1, int(len(shard.lengths) * wanted)), dtype=int))
        by_length = rows[np.argsort(shard.lengths[rows], kind="stable")]
        self.batches = cut_by_tokens(by_length, shard.lengths[by_length], tokens_per_batch)
        self.rank, self.ranks = rank, ranks

    def __iter__(self) -> Iterator[Batch]:
        """Yield this rank's batches. Every rank gets as many: where they don't divide, the first ones come again with
        nothing masked, which counts for nothing.
        """
        rounds = -(-len(self.batches) // self.ranks)
        for place in range(self.rank, rounds * self.ranks, self.ranks):
            number = place % len(self.batches)
            share = self.masker.config.validation_share if place == number else 0.0
            rows = self.batches[number]
            yield self.masker.batch(self.shard.events(rows), _HELD_OUT, share, rows)
