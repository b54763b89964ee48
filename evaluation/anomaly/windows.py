"""Events -> sequences, inside one part of a split: by group, by time, by count, or each event alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from logfm.finetune.sequences import ends

Rows = NDArray[np.int64]
# Neighbouring windows are alike: the bootstrap draws runs of so many of them.
_RUN = 12
_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Sequences:
    """What is judged: sequences of event rows, with what only metrics may see."""

    rows: list[Rows]
    """int64 rows of each sequence, in order."""
    clusters: list[str]
    """What the bootstrap draws: the entity of a sequence, or a run of neighbouring windows."""
    labels: NDArray[np.int8]
    """1 where any of its events is."""
    classes: list[str]
    """The class of its first anomalous event; "" for a normal sequence, or where there are no classes."""
    days: float = float("nan")
    """Days that the events of its part span, longer pauses counted as one day; nan without times."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: NDArray[np.bool_] | Rows) -> "Sequences":
        """Some of them."""
        numbers = np.arange(len(self))[chosen]
        return Sequences(
            [self.rows[number] for number in numbers],
            [self.clusters[number] for number in numbers],
            self.labels[numbers],
            [self.classes[number] for number in numbers],
            self.days,
        )

    def trimmed(self, most: int | None) -> "Sequences":
        """Of sequences longer than `most` events the beginning and the end, as the heads of `logfm finetune` cut them.

        Labels stay: what a sequence is does not depend on how much of it is read.
        """
        return self if most is None else replace(self, rows=[ends(rows, most) for rows in self.rows])

    def longer(self, most: int | None) -> int:
        """How many of them `trimmed` cuts."""
        return 0 if most is None else sum(len(rows) > most for rows in self.rows)

    @property
    def events(self) -> Rows:
        """The rows of all sequences, int64."""
        return np.concatenate(self.rows) if self.rows else np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Columns:
    """Of all events of a data set: what sequences are made from."""

    labels: NDArray[np.int8]
    entities: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    times: NDArray[np.float64] | None = None
    classes: Sequence[str] | None = None


def by_group(rows: Rows, columns: Columns) -> Sequences:
    """One sequence a group, its events by time (those without one in file order), clustered by entity."""
    groups = columns.groups or [""] * len(columns.labels)
    members: dict[str, list[int]] = {}
    for row in _ordered(rows, columns.times):
        members.setdefault(groups[row], []).append(int(row))
    entities = columns.entities or groups
    clusters = [entities[found[0]] for found in members.values()]
    return _sequences([np.array(found) for found in members.values()], clusters, columns, rows)


def by_window(rows: Rows, columns: Columns, seconds: float, whole: bool = False) -> Sequences:
    """Windows of `seconds`, from the first event of each entity of the part; a window without events is none.

    The bootstrap draws runs of windows, or `whole` entities.
    """
    if columns.times is None:
        raise ValueError("windows of time need times")
    members: dict[tuple[str, int], list[int]] = {}
    first: dict[str, float] = {}
    for row in _ordered(rows, columns.times):
        entity = columns.entities[row] if columns.entities else ""
        start = first.setdefault(entity, float(columns.times[row]))
        members.setdefault((entity, int((columns.times[row] - start) // seconds)), []).append(int(row))
    clusters = [entity if whole else f"{entity}/{number // _RUN}" for entity, number in members]
    return _sequences([np.array(found) for found in members.values()], clusters, columns, rows)


def by_count(rows: Rows, columns: Columns, size: int, stride: int | None = None, whole: bool = False) -> Sequences:
    """Windows of `size` consecutive events of an entity; the last one may be shorter. They overlap if `stride` < size.

    A window starts every `stride` events (by default `size`) until one reaches the end. The bootstrap draws runs of
    windows, or `whole` entities, as it does where they overlap.
    """
    stride = stride or size
    members: dict[str, list[int]] = {}
    for row in _ordered(rows, columns.times):
        members.setdefault(columns.entities[row] if columns.entities else "", []).append(int(row))
    found, clusters = [], []
    for entity, held in members.items():
        for number, start in enumerate(range(0, len(held), stride)):
            if start and start - stride + size >= len(held):
                break
            found.append(np.array(held[start : start + size]))
            clusters.append(entity if whole or stride < size else f"{entity}/{number // _RUN}")
    return _sequences(found, clusters, columns, rows)


def by_event(rows: Rows, columns: Columns) -> Sequences:
    """Each event alone, clustered by entity or group where there are any."""
    owners = columns.entities or columns.groups
    clusters = [owners[row] if owners else str(row) for row in rows]
    return _sequences([np.array([row]) for row in rows], clusters, columns, rows)


def _ordered(rows: Rows, times: NDArray[np.float64] | None) -> Rows:
    if times is None or np.isnan(times[rows]).any():
        return rows
    return rows[np.argsort(times[rows], kind="stable")]


def _sequences(found: list[Rows], clusters: list[str], columns: Columns, rows: Rows) -> Sequences:
    labels = np.array([(columns.labels[one] > 0).any() for one in found], dtype=np.int8)
    classes = [""] * len(found)
    if columns.classes is not None:
        for number in np.flatnonzero(labels):
            one = found[number]
            classes[number] = columns.classes[int(one[(columns.labels[one] > 0).argmax()])]
    return Sequences(found, clusters, labels, classes, _days(rows, columns))


def _days(rows: Rows, columns: Columns) -> float:
    if columns.times is None or not len(rows) or np.isnan(columns.times[rows]).any():
        return float("nan")
    return float(np.minimum(np.diff(np.sort(columns.times[rows])), _DAY).sum()) / _DAY
