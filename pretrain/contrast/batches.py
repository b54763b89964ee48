"""Batches of pairs: a deterministic endless plan, each rank its own part."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.utils.data import IterableDataset

from logfm.configs.schema.contrast import ContrastConfig
from logfm.pretrain.contrast.texts import TEXTS
from logfm.pretrain.contrast.views import Line, Material, said, view
from logfm.pretrain.data import Leg, Masker, Shard, packed_batch
from logfm.pretrain.masking import Masked, mask_events
from logfm.pretrain.packing import Packed, to_device
from logfm.tokenizer import LogTokenizer


class PairBatch(NamedTuple):
    """Views of N events, packed: the first views, then the second ones, of which some tokens may be masked."""

    packed: Packed
    positions_M: torch.Tensor
    targets_M: torch.Tensor
    templates_N: torch.Tensor

    def to(self, device: torch.device) -> "PairBatch":
        """The same batch on another device."""
        rest = (to_device(one, device) for one in (self.positions_M, self.targets_M, self.templates_N))
        return PairBatch(self.packed.to(device), *rest)


class PairBatches(IterableDataset[PairBatch]):
    """Endless batches of pairs. Batch `n` depends on seed and n alone, whatever the number of ranks."""

    legs: Sequence[Leg] = ()
    """What other numbers of ranks did before `start`."""

    def __init__(
        self,
        folder: Path,
        tokenizer: LogTokenizer,
        masker: Masker,
        config: ContrastConfig,
        shard: Shard,
        rank: int,
        ranks: int,
    ) -> None:
        table = pq.read_table(folder / TEXTS)
        self._texts, self._users, self._hosts = (table[name].combine_chunks() for name in ("text", "user", "host"))
        self._templates = table["template"].to_numpy()
        order = np.argsort(self._templates, kind="stable")
        ordered = self._templates[order]
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        self._members = dict(zip(ordered[begins].tolist(), np.split(order, begins[1:]), strict=True))
        self._of_source = _by_source(table["source"].to_numpy(), self._templates)
        # By the root of their sizes: else many small sources take most batches, or a large one does.
        sizes = np.sqrt([len(known) for known in self._of_source])
        self._shares = sizes / sizes.sum()
        self._tokenizer, self._masker, self._config = tokenizer, masker, config
        self.shard, self.rank, self.ranks, self.start = shard, rank, ranks, 0

    def per_epoch(self) -> int:
        """Batches of one rank in which as many events are drawn as there are."""
        return len(self._texts) // self._config.events // self.ranks

    def epochs_done(self) -> float:
        """Such rounds until now."""
        done = self._before() + self.start * self.ranks
        return done / max(1, len(self._texts) // self._config.events)

    def replay_share(self) -> float:
        """None is old data."""
        return 0.0

    def __iter__(self) -> Iterator[PairBatch]:
        """Yield batches from number `start` on."""
        before = self._before()
        for number in count(self.start):
            yield self.batch(before + number * self.ranks + self.rank)

    def _before(self) -> int:
        """Batches that all ranks of the legs have taken."""
        return sum(leg.batches * leg.ranks for leg in self.legs)

    def sample(self, most: int) -> list[np.ndarray]:
        """Ids of evenly spaced events as they are, without [CLS] and [SEP]."""
        rows = np.unique(np.linspace(0, len(self._texts) - 1, min(most, len(self._texts)), dtype=np.int64))
        encoded = self._tokenizer.encode_batch([self._texts[row].as_py() for row in rows.tolist()])
        return [ids[: self._config.max_tokens - 2] for ids in encoded]

    def batch(self, number: int) -> PairBatch:
        """One batch by its number over all ranks."""
        rng = np.random.default_rng([self._masker.seed, 2, number])
        first, second = self._rows(rng)
        lines = self._said([self._line(row) for row in (*first, *second)], rng)
        material = Material.of(lines)
        views = [view(line, material, self._config, rng) for line in lines]
        ids = [self._framed(one) for one in self._tokenizer.encode_batch(views)]
        pairs = len(first)
        masked = Masked(ids, np.empty(0, np.int64), np.empty(0, np.int64))
        if self._config.masked_weight:
            masker = self._masker
            hidden = mask_events(
                ids[pairs:], masker.maskable, masker.mask_id, masker.config, masker.config.share, rng, masker.spaced
            )
            before = sum(map(len, ids[:pairs]))
            masked = Masked([*ids[:pairs], *hidden.events], hidden.positions + before, hidden.targets)
        return PairBatch(*packed_batch(masked), torch.from_numpy(self._templates[first].astype(np.int64)))

    def _rows(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the first and of the second views: templates of a few sources, each at most once if there are
        enough of them.
        """
        config = self._config
        number = min(config.sources, len(self._of_source))
        sources = rng.choice(len(self._of_source), number, replace=False, p=self._shares)
        shares = np.array_split(np.arange(config.events), len(sources))
        templates: list[int] = []
        for source, share in zip(sources, shares, strict=True):
            known = self._of_source[source]
            templates += rng.choice(known, len(share), replace=len(known) < len(share)).tolist()
        first, second = np.empty(len(templates), np.int64), np.empty(len(templates), np.int64)
        for place, template in enumerate(templates):
            members = self._members[template]
            first[place] = second[place] = members[int(rng.integers(len(members)))]
            if rng.random() < config.other_event:
                second[place] = members[int(rng.integers(len(members)))]
        return first, second

    def _line(self, row: int) -> Line:
        return Line(self._texts[row].as_py(), self._users[row].as_py(), self._hosts[row].as_py())

    def _said(self, lines: list[Line], rng: np.random.Generator) -> list[Line]:
        """The lines, of some pairs the first as its plain words and the second without any."""
        if not self._config.said:
            return lines
        half = len(lines) // 2
        for number in np.flatnonzero(rng.random(half) < self._config.said).tolist():
            words = said(lines[number].text)
            if words is not None:
                lines[number] = replace(lines[number], text=words[0])
                other = said(lines[half + number].text)
                lines[half + number] = replace(lines[half + number], text=(other or words)[1])
        return lines

    def _framed(self, ids: np.ndarray) -> np.ndarray:
        content = ids[: self._config.max_tokens - 2]
        return np.concatenate(([self._tokenizer.cls_id], content, [self._tokenizer.sep_id])).astype(np.int64)


def _by_source(sources: np.ndarray, templates: np.ndarray) -> list[np.ndarray]:
    return [np.unique(templates[sources == source]) for source in np.unique(sources)]
