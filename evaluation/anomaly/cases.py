"""A data set as a case: three parts that share nothing, cut into sequences."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import SplitConfig, UnitConfig
from logfm.errors import UserError
from logfm.evaluation.anomaly.splits import Split, by_entity, by_first, by_time
from logfm.evaluation.anomaly.windows import Columns, Rows, Sequences, by_count, by_event, by_group, by_window
from logfm.evaluation.suite.task import Data

_FEWEST = 3


@dataclass(frozen=True, eq=False)
class Case:
    """Train, validation and test of one data set under one seed."""

    train: Sequences
    validation: Sequences
    test: Sequences
    rule: str
    """How the parts were told apart, and what a sequence is."""

    @property
    def normal(self) -> Sequences:
        """The normal sequences of train."""
        return self.train.take(self.train.labels == 0)


def make_case(data: Data, seed: int, config: SplitConfig | None = None, rows: Rows | None = None) -> Case:
    """Split, then cut: no window reaches over a border. `data.spec.options` say what a sequence is (UnitConfig).

    `rows` are the events to take; all of them by default. Where they hold fewer than three entities, they are split
    by time.

    Raises:
        UserError: no labels, or as `splits.by_time` and `splits.by_entity`.
    """
    unit = unit_of(data)
    columns = columns_of(data, unit)
    taken = np.arange(len(data.texts)) if rows is None else rows
    split = _split(data, unit, columns, seed, config, taken)
    cut = cutter(data, unit, columns)
    train, validation, test = (cut(taken[part]) for part in split.parts)
    return Case(train, validation, test, rule=f"split {split.rule}, sequences by {_named(unit, data)}")


def unit_of(data: Data) -> UnitConfig:
    """What the data set's options say about sequences; keys that readers want are left alone."""
    given = {key: value for key, value in data.spec.options.items() if key in UnitConfig.model_fields}
    return parse(UnitConfig, given, f"options of the data set {data.spec.name}")


def columns_of(data: Data, unit: UnitConfig) -> Columns:
    """What sequences are made from.

    Raises:
        UserError: the data set has no labels.
    """
    if data.labels is None:
        raise UserError("this task needs labels", data.spec.name, "Take a data set that has them.")
    times = data.times if data.times is not None and np.isfinite(data.times).all() else None
    return Columns(data.labels, _entities(data, unit), data.groups, times, data.classes)


def cutter(data: Data, unit: UnitConfig, columns: Columns) -> Callable[[Rows], Sequences]:
    """The function that cuts the rows of one part into sequences."""
    kind = _kind(unit, data)
    # Where other entities are judged than learnt from, what is new is an entity, not an hour of it.
    whole = unit.split_by == "entity"
    if kind == "group":
        return lambda rows: by_group(rows, columns)
    if kind == "window":
        if columns.times is None:
            raise UserError("windows of time need the time of every event", data.spec.name)
        return lambda rows: by_window(rows, columns, unit.window_seconds, whole)
    if kind == "count":
        return lambda rows: by_count(rows, columns, unit.window_events, whole=whole)
    return lambda rows: by_event(rows, columns)


def _split(data: Data, unit: UnitConfig, columns: Columns, seed: int, config: SplitConfig | None, rows: Rows) -> Split:
    """Parts as places in `rows`."""
    entities = None if columns.entities is None else [columns.entities[row] for row in rows]
    times = None if columns.times is None else columns.times[rows]
    few = entities is None or len(set(entities)) < _FEWEST
    by = unit.split_by
    if by == "auto" or (few and len(rows) < len(data.texts)):
        by = "time" if few else "entity"
    if by == "time":
        if times is None:
            raise UserError("a split by time needs the time of every event", data.spec.name)
        if _kind(unit, data) == "group":
            raise UserError("groups reach over a border in time", data.spec.name, "Split them by entity.")
        return by_time(times, config)
    if entities is None:
        raise UserError(f"a split by {by} needs what tells them apart", data.spec.name)
    if by == "first":
        return by_first(entities, times, config)
    return by_entity(entities, columns.labels[rows], seed, config)


def _entities(data: Data, unit: UnitConfig) -> list[str] | None:
    if unit.split_by == "source":
        return data.sources
    if unit.split_by == "time" or data.groups is None:
        return None
    if unit.entity == "slash":
        return [group.partition("/")[0] for group in data.groups]
    return data.groups


def _kind(unit: UnitConfig, data: Data) -> str:
    if unit.unit != "auto":
        return unit.unit
    return "group" if data.groups is not None and len(data.groups) >= 2 * len(set(data.groups)) else "event"


def _named(unit: UnitConfig, data: Data) -> str:
    kind = _kind(unit, data)
    return {"window": f"windows of {unit.window_seconds:g} s", "count": f"windows of {unit.window_events} events"}.get(
        kind, kind
    )


def limited(sequences: Sequences, most: int | None, seed: int) -> Sequences:
    """At most so many of them, as `fewer` draws them; in their order."""
    return sequences if most is None or len(sequences) <= most else sequences.take(fewer(sequences, most, seed))


def fewer(part: Sequences, most: int | None, seed: int) -> Rows:
    """Numbers of at most so many sequences, with the part's share of attacks; two of them stay if there are as many."""
    if most is None or len(part) <= most:
        return np.arange(len(part))
    attacks = np.flatnonzero(part.labels > 0)
    rng = np.random.default_rng(seed)
    wanted = min(len(attacks), max(2, round(most * len(attacks) / len(part))))
    kept = (rng.permutation(attacks)[:wanted], rng.permutation(np.flatnonzero(part.labels == 0))[: most - wanted])
    return np.sort(np.concatenate(kept))
