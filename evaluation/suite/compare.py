"""Encoders against each other: paired differences, adjusted for their number, and ties called ties.

What was not measured on the same events by the same task is not compared, and said.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from logfm.evaluation.stats import (
    Difference,
    Estimate,
    effective_clusters,
    few_clusters_p,
    holm,
    paired_difference,
    side_by_side,
)
from logfm.evaluation.suite.aggregate import CONFIDENCE, Key, Score, average, pooled
from logfm.evaluation.suite.results import OK, Row, read
from logfm.extras import require

BOOTSTRAP, MCNEMAR = "paired bootstrap", "McNemar"
_OTHER_EVENTS = "not the same events"
_OTHER_TASK = "another version or other options of the task"


@dataclass(frozen=True)
class Verdict:
    """Two encoders on one figure. `p` is adjusted by Holm over the table's verdicts; None where nothing was tested.

    `note` says why there was no test, or what limits it.
    """

    key: Key
    first: str
    second: str
    difference: Difference
    """The first less the second."""
    p: float | None
    winner: str | None
    """The better one; None for a tie, and where nothing was tested."""
    method: str = BOOTSTRAP
    note: str = ""

    @property
    def tie(self) -> bool:
        """Tested, and not told apart."""
        return self.p is not None and self.winner is None


def gather(folders: Sequence[Path]) -> list[Row]:
    """Rows of several results folders. An encoder that two runs measured differently has the run in its name.

    Raises:
        UserError: no results in one of them, or of a newer logfm.
    """
    runs = [(name, read(folder)) for name, folder in zip(_names(folders), folders, strict=True)]
    seen: dict[str, dict[tuple[str | int, ...], tuple[str, str, str]]] = defaultdict(dict)
    conflicting = set()
    for _, rows in runs:
        for row in rows:
            if row.status != OK:
                continue
            measured = (row.encoder_hash, row.data_hash, row.task_hash)
            # The events behind a figure can depend on the seed, and on the split and condition.
            key = (row.task, row.data, row.split, row.condition, row.metric, row.seed)
            if seen[row.encoder].setdefault(key, measured) != measured:
                conflicting.add(row.encoder)
    own = {name for name in conflicting if _in_two(name, runs)}
    return [
        replace(row, encoder=f"{row.encoder} ({run})") if row.encoder in own else row
        for run, rows in runs
        for row in rows
    ]


def verdicts(
    found: Mapping[Key, Mapping[str, Score]], focus: Collection[str] = (), confidence: float = CONFIDENCE
) -> list[Verdict]:
    """Each pair of encoders at each key, of which one is in `focus` (all pairs where it is empty); one Holm table.

    Keys whose metric has no better direction are left out.
    """
    drafts = []
    for key, column in found.items():
        if _direction(column.values()) == "neither":
            continue
        for first, second in combinations(column, 2):
            if not focus or first in focus or second in focus:
                drafts.append(_tested(key, column[first], column[second]))
    return _adjusted(drafts, {key: _direction(column.values()) for key, column in found.items()}, confidence)


def average_verdicts(
    key: Key, units: Mapping[str, Sequence[Score]], direction: str, confidence: float = CONFIDENCE
) -> list[Verdict]:
    """Each pair of contestants on the mean over the same data sets; `units` has each one's scores in one order."""
    drafts = []
    for first, second in combinations(units, 2):
        pairs = [_paired(mine, theirs) for mine, theirs in zip(units[first], units[second], strict=True)]
        reasons = [pair for pair in pairs if isinstance(pair, str)]
        whole = [pair for pair in pairs if not isinstance(pair, str)]
        value = average(units[first]).value - average(units[second]).value
        if reasons or not whole:
            drafts.append(_untested(key, first, second, value, reasons[0] if reasons else "nothing in common"))
            continue
        mine, theirs = (_mean([pair[side] for pair in whole]) for side in (0, 1))
        difference = tested(mine, theirs, confidence)
        parts = [(one.replicates - two.replicates, min(one.clusters, two.clusters)) for one, two in whole]
        p = max(difference.p, few_clusters_p(difference.value, parts))
        # What signs could show grows with every cluster; the interval is as wide as the parts that vary most need it.
        worth = effective_clusters(parts)
        wide = paired_difference(replace(mine, clusters=worth), replace(theirs, clusters=worth), confidence)
        drafts.append(Verdict(key, first, second, replace(difference, low=wide.low, high=wide.high, p=p), p, None))
    return _adjusted(drafts, {key: direction}, confidence)


def tested(mine: Estimate, theirs: Estimate, confidence: float) -> Difference:
    """The paired difference; p is not bounded by the number of replicates.

    Of R replicates the bootstrap's smallest p is 2 / (R + 1), which no table of R / 40 comparisons could survive. So
    where no replicate lies beyond zero, p is the normal distribution's at the replicates' spread, if that is smaller.
    Where clusters were counted, it is at least what so many of them can show.
    """
    difference = paired_difference(mine, theirs, confidence)
    replicates = mine.replicates - theirs.replicates
    finite = replicates[np.isfinite(replicates)]
    if not finite.size or difference.p > 2 / (finite.size + 1) + 1e-12:
        return difference
    spread = float(finite.std())
    tail = math.erfc(abs(difference.value) / spread / math.sqrt(2)) if spread > 0 else difference.p
    bound = few_clusters_p(difference.value, [(replicates, min(mine.clusters, theirs.clusters))])
    return replace(difference, p=max(bound, min(difference.p, tail)))


def mcnemar(mine: ArrayLike, theirs: ArrayLike) -> float:
    """Exact two-sided p of McNemar's test (1947) for hits of the same items."""
    binomtest = require("scipy.stats", "embed").binomtest
    first, second = np.asarray(mine, dtype=bool), np.asarray(theirs, dtype=bool)
    won, lost = int((first & ~second).sum()), int((~first & second).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _tested(key: Key, mine: Score, theirs: Score) -> Verdict:
    pair = _paired(mine, theirs)
    if not isinstance(pair, str):
        difference = tested(*pair, CONFIDENCE)
        return Verdict(key, mine.encoder, theirs.encoder, difference, difference.p, None)
    first, second = mine.rows[0], theirs.rows[0]
    if first.clusters == 1:
        return _untested(key, mine.encoder, theirs.encoder, mine.value - theirs.value, "of one block or scenario alone")
    same = (first.data_hash, first.task_hash, first.seed) == (second.data_hash, second.task_hash, second.seed)
    if same and first.hits.size and first.hits.size == second.hits.size:
        p = mcnemar(first.hits, second.hits)
        difference = Difference(mine.value - theirs.value, np.nan, np.nan, p)
        return Verdict(key, mine.encoder, theirs.encoder, difference, p, None, MCNEMAR, f"seed {first.seed}")
    return _untested(key, mine.encoder, theirs.encoder, mine.value - theirs.value, pair)


def _paired(mine: Score, theirs: Score) -> tuple[Estimate, Estimate] | str:
    """Both figures over the seeds that they share, or why they can't be compared."""
    ours = {row.seed: row for row in mine.rows}
    pairs = [(ours[row.seed], row) for row in theirs.rows if row.seed in ours]
    if not pairs:
        return "no seed in common"
    if any(first.data_hash != second.data_hash for first, second in pairs):
        return _OTHER_EVENTS
    if any((a.task_hash, a.task_version) != (b.task_hash, b.task_version) for a, b in pairs):
        return _OTHER_TASK
    if any(not a.replicates.size or a.replicates.size != b.replicates.size for a, b in pairs):
        return "no paired replicates"
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return _estimate(first), _estimate(second)


def _estimate(rows: Sequence[Row]) -> Estimate:
    value, clusters = float(np.mean([row.value for row in rows])), min(row.clusters for row in rows)
    return Estimate(value, np.nan, np.nan, pooled(rows), clusters)


def _mean(parts: Sequence[Estimate]) -> Estimate:
    size = min(part.replicates.size for part in parts)
    replicates = side_by_side([part.replicates[:size] for part in parts])
    counts = [part.clusters for part in parts]
    value = float(np.mean([part.value for part in parts]))
    return Estimate(value, np.nan, np.nan, replicates, sum(counts) if all(counts) else 0)


def _untested(key: Key, first: str, second: str, value: float, note: str) -> Verdict:
    comparable = note not in (_OTHER_EVENTS, _OTHER_TASK)
    difference = Difference(value if comparable else np.nan, np.nan, np.nan, np.nan)
    return Verdict(key, first, second, difference, None, None, "", note)


def _adjusted(drafts: Sequence[Verdict], directions: Mapping[Key, str], confidence: float) -> list[Verdict]:
    tested = [one for one in drafts if one.p is not None]
    adjusted = iter(holm([one.difference.p for one in tested]))
    final = []
    for one in drafts:
        if one.p is None:
            final.append(one)
            continue
        p = next(adjusted)
        sign = one.difference.value * (-1 if directions[one.key] == "lower" else 1)
        winner = None if p > 1 - confidence or sign == 0 else (one.first if sign > 0 else one.second)
        final.append(replace(one, p=p, winner=winner))
    return final


def _direction(column: Iterable[Score]) -> str:
    return next(iter(column)).rows[0].direction


def _in_two(name: str, runs: Sequence[tuple[str, list[Row]]]) -> bool:
    return sum(any(row.encoder == name for row in rows) for _, rows in runs) > 1


def _names(folders: Sequence[Path]) -> list[str]:
    """Of each run the shortest end of its path that no other run's path has; a folder given twice is one run."""
    paths = [(folder.parent if folder.is_file() else folder).resolve() for folder in folders]
    return [_shortest(path, paths) for path in paths]


def _shortest(path: Path, paths: Sequence[Path]) -> str:
    others = {other for other in paths if other != path}
    for size in range(1, len(path.parts)):
        end = path.parts[-size:]
        if all(other.parts[-size:] != end for other in others):
            return "/".join(end)
    return str(path)
