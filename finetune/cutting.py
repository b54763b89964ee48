"""Events to sequences: by what they share, by pauses, and no longer than a limit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logfm.configs.schema.finetune import SequenceConfig
from logfm.embeddings.embed import KEYS
from logfm.errors import UserError
from logfm.finetune.sequences import Rows, Times

Names: TypeAlias = list[str | None]
_JOIN = " | "


@dataclass(frozen=True, eq=False)
class Cuts:
    """Sequences as rows of a table of events, in order of their first event."""

    rows: list[Rows]
    groups: list[str]
    """The group of each sequence; a long group has several."""


def group_names(events: pa.Table, config: SequenceConfig) -> Names:
    """The group of each event; None where the pattern does not match.

    Raises:
        UserError: an unknown column.
    """
    if config.pattern is not None:
        found = (re.search(config.pattern, text) for text in events["text"].to_pylist())
        return [None if one is None else one.group(1 if one.re.groups else 0) for one in found]
    return columns_joined(events, config.group)


def columns_joined(events: pa.Table, columns: Sequence[str]) -> Names:
    """The values of some columns of each event, as one name.

    Raises:
        UserError: an unknown column.
    """
    for name in columns:
        if name not in KEYS:
            raise UserError("no such column of an event", name, f"Choose of {', '.join(KEYS)}.")
    values = [events[name].to_pylist() for name in columns]
    if not values:
        return [""] * events.num_rows
    return [_JOIN.join("" if one is None else str(one) for one in row) for row in zip(*values, strict=True)]


def times_of(events: pa.Table) -> Times:
    """Seconds since the epoch (UTC), nan where unknown; float64 (events,)."""
    moments = events["timestamp"].cast(pa.int64()).to_pylist()
    return np.array([np.nan if one is None else one / 1e6 for one in moments], dtype=np.float64)


def cut(names: Names, times: Times, config: SequenceConfig, of: NDArray[np.bool_] | None = None) -> Cuts:
    """Cut events into sequences: by group, in order of time (events without one keep their place in the input), at
    pauses, and after so many events. `of` limits this to some events, so that a split comes first.
    """
    chosen = np.array([name is not None for name in names], dtype=bool)
    if of is not None:
        chosen &= of
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return Cuts([], [])
    labels = [names[row] or "" for row in rows]
    _, keys = np.unique(np.array(labels, dtype=object), return_inverse=True)
    within = _filled(times[rows], keys)
    order = np.lexsort((rows, within, keys))
    rows, keys, within = rows[order], keys[order], within[order]
    begins = np.ones(len(rows), dtype=bool)
    begins[1:] = keys[1:] != keys[:-1]
    if config.gap is not None:
        begins[1:] |= np.diff(within) >= config.gap
    starts = np.flatnonzero(begins)
    place = np.arange(len(rows)) - starts[np.cumsum(begins) - 1]
    starts = np.flatnonzero(place % config.events == 0)
    parts = np.split(rows, starts[1:])
    found = sorted(parts, key=lambda part: int(part.min()))
    return Cuts(found, [names[int(part[0])] or "" for part in found])


def _filled(times: Times, keys: Rows) -> Times:
    """Times with those unknown taken from the event before in the same group."""
    if np.isfinite(times).all():
        return times
    filled = np.array(times)
    last: dict[int, float] = {}
    for place, key in enumerate(keys.tolist()):
        if np.isfinite(filled[place]):
            last[key] = float(filled[place])
        else:
            filled[place] = last.get(key, -np.inf)
    return filled
