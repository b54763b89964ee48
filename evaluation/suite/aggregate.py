"""From rows to tables: means over seeds with intervals, and a leaderboard in which ties are ties.

A figure's replicates of all seeds are pooled, so that its interval holds both what the drawn templates or scenarios
vary and what the seed does; averaging them over seeds would claim that new seeds are new data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from logfm.evaluation.stats import Estimate, Floats, effective_clusters, estimate, side_by_side
from logfm.evaluation.suite.results import OK, Row

CONFIDENCE = 0.95
_BASELINE = "baseline "


class Key(NamedTuple):
    """What a figure is about; encoders are compared at equal keys."""

    task: str
    data: str
    split: str
    condition: str
    metric: str


@dataclass(frozen=True, eq=False)
class Score:
    """One encoder's figure over its seeds. `rows` are one a seed, by seed."""

    key: Key
    encoder: str
    estimate: Estimate
    count: int
    """Items behind the figure: the mean over seeds."""
    rows: tuple[Row, ...]

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return self.estimate.value


def scores(rows: Iterable[Row]) -> dict[Key, dict[str, Score]]:
    """The figures that were measured, by key and encoder, in the rows' order.

    Baselines that use no encoder (conditions "baseline NAME") become contestants of their own, once.
    """
    grouped: dict[tuple[Key, str], dict[int, Row]] = {}
    for row in map(_own_name, rows):
        if row.status == OK:
            key = Key(row.task, row.data, row.split, row.condition, row.metric)
            grouped.setdefault((key, row.encoder), {}).setdefault(row.seed, row)
    found: dict[Key, dict[str, Score]] = {}
    for (key, encoder), by_seed in grouped.items():
        found.setdefault(key, {})[encoder] = _score(key, encoder, [by_seed[seed] for seed in sorted(by_seed)])
    return found


def pooled(rows: Sequence[Row]) -> Floats:
    """The replicates of several seeds, one behind the other; empty where a seed has none."""
    parts = [np.asarray(row.replicates, dtype=np.float64) for row in rows]
    return np.concatenate(parts) if parts and all(part.size for part in parts) else np.empty(0)


def average(found: Sequence[Score]) -> Estimate:
    """The mean of figures of several data sets, with the interval of that mean.

    Data sets are drawn independently of each other, so their replicates are averaged one by one.
    """
    value = float(np.mean([one.value for one in found]))
    parts = [one.estimate.replicates for one in found]
    size = min(part.size for part in parts)
    replicates = side_by_side([part[:size] for part in parts]) if size else np.empty(0)
    clusters = effective_clusters([(one.estimate.replicates, one.estimate.clusters) for one in found])
    return estimate(value, replicates, CONFIDENCE, clusters)


def _score(key: Key, encoder: str, rows: list[Row]) -> Score:
    value = float(np.mean([row.value for row in rows]))
    replicates = pooled(rows)
    if replicates.size:
        whole = estimate(value, replicates, CONFIDENCE, min(row.clusters for row in rows))
    else:
        # Without replicates (nobody is compared on such a metric) the seeds' intervals stand for the whole.
        low, high = (float(np.mean([getattr(row, end) for row in rows])) for end in ("low", "high"))
        whole = Estimate(value, low, high, replicates)
    return Score(key, encoder, whole, round(float(np.mean([row.count for row in rows]))), tuple(rows))


def _own_name(row: Row) -> Row:
    if not row.condition.startswith(_BASELINE):
        return row
    name, _, rest = row.condition.removeprefix(_BASELINE).partition(", ")
    name = f"{name} (no encoder)"
    return replace(row, encoder=name, encoder_hash=f"baseline:{name}", condition=rest, role="baseline")


def by_task(found: Mapping[Key, dict[str, Score]]) -> dict[str, dict[Key, dict[str, Score]]]:
    """The figures of each task."""
    ordered = sorted(found.items(), key=lambda item: item[0].task)
    return {task: dict(items) for task, items in groupby(ordered, key=lambda item: item[0].task)}
