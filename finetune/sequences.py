"""Sequences of events as heads read them: vectors, times, and texts where a head reads those."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from logfm.errors import UserError

Vectors: TypeAlias = NDArray[np.float32]
Times: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.int64]
GAPS = 2
"""Features that tell the time before an event."""
_LONGEST = np.log1p(1e6)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sets of events in their order; every sequence holds at least one.

    Raises:
        UserError: an empty sequence, or columns that differ in shape.
    """

    vectors: Sequence[Vectors] | None
    """float32 (events, dim) a sequence; None only where a head reads texts."""
    times: Sequence[Times] | None = None
    """float64 (events,) a sequence: seconds, nan where unknown. None where all are."""
    texts: Sequence[Sequence[str]] | None = None
    """The events' raw texts, for the head that trains the encoder's last layer."""

    def __post_init__(self) -> None:
        lengths = self.lengths
        if len(lengths) and lengths.min() < 1:
            raise UserError("a sequence without events", f"number {int(lengths.argmin())}")
        for name, column in (("times", self.times), ("texts", self.texts)):
            if column is not None and not np.array_equal([len(one) for one in column], lengths):
                raise UserError(f"sequences and their {name} differ in length")
        if self.vectors and len({one.shape[1:] for one in self.vectors}) != 1:
            raise UserError("the vectors of the sequences differ in width", fix="Take one encoder.")

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def lengths(self) -> Rows:
        """Events of each sequence, int64 (sequences,)."""
        columns: Sequence[Any] | None = self.vectors if self.vectors is not None else self.texts
        if columns is None:
            raise UserError("sequences need vectors or texts")
        return np.array([len(one) for one in columns], dtype=np.int64)

    @property
    def dim(self) -> int:
        """Width of a vector; 0 where there are none."""
        return int(self.vectors[0].shape[1]) if self.vectors else 0

    def take(self, rows: Rows) -> "Sequences":
        """Some of the sequences, in the order of `rows`."""

        def taken(column: Any) -> Any:
            return None if column is None else [column[row] for row in rows]

        return Sequences(taken(self.vectors), taken(self.times), taken(self.texts))

    def trimmed(self, most: int) -> tuple["Sequences", int]:
        """With the beginning and the end of sequences longer than `most` events; and how many were longer."""
        longer = int((self.lengths > most).sum())
        if not longer:
            return self, 0

        def kept(column: Any) -> Any:
            return None if column is None else [ends(one, most) for one in column]

        return Sequences(kept(self.vectors), kept(self.times), kept(self.texts)), longer

    def gaps(self, number: int) -> Vectors:
        """How long before each event of a sequence the last one was: float32 (events, GAPS).

        The logarithm of one plus the seconds, from 0 to 1 (a million of them), and 1 where the time is known. The first
        event has none before it.
        """
        found = np.zeros((int(self.lengths[number]), GAPS), dtype=np.float32)
        if self.times is not None:
            away = np.diff(np.asarray(self.times[number], dtype=np.float64))
            known = np.isfinite(away)
            found[1:, 0] = np.where(known, np.log1p(np.clip(np.where(known, away, 0), 0, 1e6)) / _LONGEST, 0)
            found[1:, 1] = known
        return found


def ends(one: Any, most: int) -> Any:
    """The beginning and the end of an array or a list that is longer than `most`; a shorter one as it is."""
    if len(one) <= most:
        return one
    head, tail = (most + 1) // 2, most // 2
    last = one[len(one) - tail :]
    return np.concatenate((one[:head], last)) if isinstance(one, np.ndarray) else [*one[:head], *last]


def moments(vectors: Sequence[Vectors]) -> tuple[Vectors, Vectors]:
    """Mean and spread of the events' vectors, float32 (dim,) each; a dimension without spread has 1."""
    count = sum(len(one) for one in vectors)
    mean = np.sum([one.sum(axis=0, dtype=np.float64) for one in vectors], axis=0) / count
    square = np.sum([((one - mean) ** 2).sum(axis=0, dtype=np.float64) for one in vectors], axis=0) / count
    spread = np.sqrt(square)
    return mean.astype(np.float32), np.where(spread > 1e-6, spread, 1).astype(np.float32)
