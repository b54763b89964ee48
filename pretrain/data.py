"""Batches for training: a deterministic endless plan over the token shards, each rank its own part."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import torch
from torch.utils.data import IterableDataset

from logfm.configs.schema.pretrain import MaskingConfig
from logfm.pretrain.masking import Masked, mask_events
from logfm.pretrain.packing import Packed, cut_by_tokens, pack, plan_batches


class Batch(NamedTuple):
    """A masked batch: packed corrupted events, the masked positions in packed order, and their original ids."""

    packed: Packed
    positions_M: torch.Tensor
    targets_M: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(self.packed.to(device), self.positions_M.to(device), self.targets_M.to(device))


@dataclass(frozen=True)
class Masker:
    """Turns events into masked batches; the draw depends on `seed` and the batch's number alone."""

    maskable: np.ndarray
    mask_id: int
    config: MaskingConfig
    seed: int

    def batch(self, events: list[np.ndarray], number: int, share: float) -> Batch:
        """Mask and pack one batch."""
        rng = np.random.default_rng([self.seed, number])
        return packed_batch(mask_events(events, self.maskable, self.mask_id, self.config, share, rng))


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


class TrainBatches(IterableDataset[Batch]):
    """Endless training batches. Batch `n` of rank `r` depends on seed, n, r and the number of ranks alone, so a
    resumed run sets `start` and sees what an unbroken one would have seen.
    """

    def __init__(self, shard: Shard, masker: Masker, tokens_per_batch: int, rank: int, ranks: int) -> None:
        self.shard, self.masker, self.tokens = shard, masker, tokens_per_batch
        self.rank, self.ranks = rank, ranks
        self.start = 0

    def per_epoch(self) -> int:
        """Batches of one rank in the first pass over the data."""
        return len(plan_batches(self.shard.lengths, self.tokens, self.masker.seed)) // self.ranks

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches from number `start` on."""
        first = 0
        for epoch in range(2**31):
            plan = plan_batches(self.shard.lengths, self.tokens, self.masker.seed + epoch)
            steps = len(plan) // self.ranks
            for step in range(max(self.start - first, 0), steps):
                number = (first + step) * self.ranks + self.rank
                events = self.shard.events(np.sort(plan[step * self.ranks + self.rank]))
                yield self.masker.batch(events, number, self.masker.config.share)
            first += steps


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
        """Yield this rank's batches; every rank gets as many (the first ones repeat where they don't divide)."""
        rounds = -(-len(self.batches) // self.ranks)
        for i in range(rounds):
            number = (i * self.ranks + self.rank) % len(self.batches)
            events = self.shard.events(self.batches[number])
            yield self.masker.batch(events, 2**40 + number, self.masker.config.validation_share)
