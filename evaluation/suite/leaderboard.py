"""The leaderboard: for each task the main score averaged over data sets, and ranks that significance supports."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logfm.configs.schema.suite import TaskMeta
from logfm.evaluation.stats import Estimate
from logfm.evaluation.suite.aggregate import Key, Score, average
from logfm.evaluation.suite.compare import Verdict, average_verdicts


@dataclass(frozen=True, eq=False)
class Standing:
    """One contestant in one task. `rank` is one more than the number of contestants that are better than it, so those
    that can't be told apart from each other share one; None where it misses a data set that others have, and for all
    where they were not measured on the same events by the same version of the task, or where chance has a say that
    could not be tested."""

    encoder: str
    estimate: Estimate
    data_sets: int
    rank: int | None


@dataclass(frozen=True, eq=False)
class Board:
    """One task's standings, best first. `role` tells whose data sets count: those for results where there are any."""

    task: str
    metric: str
    direction: str
    role: str
    data_sets: tuple[str, ...]
    standings: tuple[Standing, ...]
    verdicts: tuple[Verdict, ...]
    tested: bool
    """Whether differences could be tested; without any replicates ranks are the order of the values."""
    apart: str = ""
    """The data set that this board is about, where its events stand in others, too."""

    @property
    def name(self) -> str:
        """The task, and the data set where it is about one that stands apart."""
        return f"{self.task}: {self.apart}" if self.apart else self.task


def leaderboard(
    found: Mapping[Key, Mapping[str, Score]], metas: Mapping[str, TaskMeta], apart: Collection[str] = ()
) -> list[Board]:
    """A board for each task that has scores, in the tasks' order.

    Data sets named in `apart` have boards of their own and no part in a mean, which takes its data sets for
    independent, and is as uncertain as the one of the fewest clusters.
    """
    boards = []
    for name, meta in metas.items():
        units = main_units(found, meta)
        own = {key.data for key in units} & set(apart)
        alone = own == {key.data for key in units}
        rest = {key: column for key, column in units.items() if key.data not in own or alone}
        if rest:
            boards.append(_board(name, meta, rest))
        for data in () if alone else dict.fromkeys(key.data for key in units if key.data in own):
            boards.append(_board(name, meta, {key: column for key, column in units.items() if key.data == data}, data))
    return boards


def main_units(found: Mapping[Key, Mapping[str, Score]], meta: TaskMeta) -> dict[Key, dict[str, Score]]:
    """The main score of a task where it leads: its leading condition, else all of its conditions."""
    main = {
        key: dict(column) for key, column in found.items() if (key.task, key.metric) == (meta.name, meta.main_score)
    }
    leading = {key: column for key, column in main.items() if key.condition == meta.lead}
    return leading or main


def _board(name: str, meta: TaskMeta, units: Mapping[Key, Mapping[str, Score]], apart: str = "") -> Board:
    roles = {key: next(iter(column.values())).rows[0].data_role for key, column in units.items()}
    role = "results" if "results" in roles.values() else "choices"
    counted = {key: column for key, column in units.items() if roles[key] == role}
    direction = meta.metrics[meta.main_score]
    encoders = list(dict.fromkeys(encoder for column in counted.values() for encoder in column))
    scores = {one: [column[one] for column in counted.values() if one in column] for one in encoders}
    complete = {one: parts for one, parts in scores.items() if len(parts) == len(counted)}
    key = Key(name, "", "", meta.lead, meta.main_score)
    verdicts = average_verdicts(key, complete, direction)
    tested = bool(verdicts) and all(one.p is not None for one in verdicts)
    means = {one: average(parts) for one, parts in scores.items()}
    # Where chance has a say, the order of values that nobody tested would call ties wins. One cluster alone has no
    # replicates.
    rows = [row for column in counted.values() for one in column.values() for row in one.rows]
    random = any(row.replicates.size or row.clusters for row in rows)
    blind = random and not tested and len(complete) > 1
    ranks = {} if blind else _ranks(complete, means, verdicts, direction, tested)
    sign = 1 if direction == "lower" else -1
    order = sorted(scores, key=lambda one: (one not in complete, sign * _finite(means[one].value, sign)))
    standings = [Standing(one, means[one], len(scores[one]), ranks.get(one)) for one in order]
    return Board(
        name, meta.main_score, direction, role, tuple(dict.fromkeys(key.data for key in counted)),
        tuple(standings), tuple(verdicts), tested, apart,
    )  # fmt: skip


def _ranks(
    complete: Mapping[str, Sequence[Score]],
    means: Mapping[str, Estimate],
    verdicts: Sequence[Verdict],
    direction: str,
    tested: bool,
) -> dict[str, int]:
    if direction == "neither" or any(not np.isfinite(one.difference.value) for one in verdicts):
        # Measured on other events or by another version of the task: no order would mean anything.
        return {}
    if tested:
        lost = [{one.first, one.second} - {one.winner} for one in verdicts if one.winner]
        return {name: 1 + sum(name in losers for losers in lost) for name in complete}
    sign = -1 if direction == "lower" else 1
    values = {name: sign * means[name].value for name in complete}
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def _finite(value: float, sign: int) -> float:
    return value if np.isfinite(value) else sign * np.inf
