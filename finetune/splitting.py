"""Training, validation and test that share no event, no group, and where asked no time, host, ..."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logfm.configs.schema.finetune import SequenceConfig, SplitConfig
from logfm.errors import UserError
from logfm.finetune.cutting import Cuts, Names, columns_joined, cut
from logfm.finetune.sequences import Times

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The sequences of each part, cut after the split."""

    parts: dict[str, Cuts]
    left_out: int
    """Events in none of them."""


def split(
    events: pa.Table,
    names: Names,
    times: Times,
    sequence: SequenceConfig,
    config: SplitConfig,
    parts: Sequence[str],
    seed: int,
    whole: bool = False,
    of: NDArray[np.bool_] | None = None,
) -> Split:
    """Divide events among `parts` (of SPLITS) by the shares of `config`, then cut each part into sequences.

    `of` limits this to some events. By time, a group may reach over a border and is cut there; with `whole`, where a
    group is one thing with one label, it is left out.

    Raises:
        UserError: fewer groups than parts, an empty part, or events without times where the split goes by them.
    """
    shares = np.array([config.shares[SPLITS.index(name)] for name in parts])
    shares = shares / shares.sum()
    if of is not None:
        names = [name if mine else None for name, mine in zip(names, of.tolist(), strict=True)]
    if config.by == "time":
        place = _by_time(names, times, whole, shares)
        keys: Names = list(names)
    else:
        keys = names if config.by == "group" else columns_joined(events, [config.by])
        keys = [None if name is None else key for key, name in zip(keys, names, strict=True)]
        place = _by_key(keys, shares, seed, config.by)
    found = {name: cut(names, times, sequence, place == number) for number, name in enumerate(parts)}
    for name, one in found.items():
        if not one.rows:
            raise UserError(f"the {name} part of the split by {config.by} is empty", fix="Try another data.split.by.")
    _assert_disjoint(found, keys, times, config.by)
    return Split(found, int((place < 0).sum()) - (0 if of is None else int((~of).sum())))


def _by_time(names: Names, times: Times, whole: bool, shares: np.ndarray) -> NDArray[np.int64]:
    known = np.isfinite(times) & np.array([name is not None for name in names], dtype=bool)
    if not known.any():
        raise UserError("no event has a time", fix="Set data.split.by to group or to a column.")
    ordered = np.sort(times[known])
    borders = [ordered[min(len(ordered) - 1, round(len(ordered) * share))] for share in np.cumsum(shares)[:-1]]
    place = np.where(known, np.searchsorted(borders, times, side="right"), -1).astype(np.int64)
    if whole:
        first: dict[str, int] = {}
        crossing = set()
        for name, part in zip(names, place.tolist(), strict=True):
            if name is not None and part >= 0 and first.setdefault(name, part) != part:
                crossing.add(name)
        place[[name in crossing for name in names]] = -1
    return place


def _by_key(keys: Names, shares: np.ndarray, seed: int, by: str) -> NDArray[np.int64]:
    """Whole keys to parts, drawn by seed so that each part gets its share of them."""
    different = sorted({key for key in keys if key is not None})
    if len(different) < max(2, len(shares)):
        raise UserError(
            f"a split by {by} needs at least {max(2, len(shares))} different values", f"found {len(different)}"
        )
    order = np.random.default_rng(seed).permutation(len(different))
    ends = np.maximum(np.round(np.cumsum(shares) * len(different)).astype(int), np.arange(1, len(shares) + 1))
    ends = np.minimum(ends, len(different) - np.arange(len(shares))[::-1])
    part_of = {different[row]: int(np.searchsorted(ends, rank, side="right")) for rank, row in enumerate(order)}
    return np.array([-1 if key is None else part_of[key] for key in keys], dtype=np.int64)


def _assert_disjoint(found: dict[str, Cuts], keys: Names, times: Times, by: str) -> None:
    """Assert that no two parts share an event, a key, or by time a moment."""
    rows = {name: np.concatenate(one.rows) for name, one in found.items()}
    parts = list(rows)
    for first, second in combinations(parts, 2):
        assert not set(rows[first].tolist()) & set(rows[second].tolist())
        if by == "time":
            assert times[rows[first]].max() < times[rows[second]].min()
    if by != "time":
        sets = [{keys[row] for row in rows[name].tolist()} for name in parts]
        assert sum(map(len, sets)) == len(set().union(*sets))
