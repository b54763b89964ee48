"""From scores to rows, the same way for every task: all of the test, what is left without copies of train, and what is
left without templates that an encoder was trained on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from logfm.artifacts import digest
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import Direction
from logfm.evaluation.anomaly.cases import Case
from logfm.evaluation.anomaly.duplicates import copies, masked
from logfm.evaluation.anomaly.metrics import average_precision, measure, thresholds
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import UNSEEN, Data, Measurement

COPIES: dict[str, Direction] = {"copies": "neither", "known_events": "neither"}
"""Metrics of `copied`."""
_IN_PARTS = ("pr_auc", "roc_auc", "f1", "accuracy", "prevalence")
NO_COPIES = "no copies"
"""Condition of what is left without sequences that have a value-masked copy in train."""
PREFIX = "baseline "
"""Begins the condition of what needs no encoder: such rows become contestants of their own."""
FEWEST = 5
"""Sequences of each class that must be left in a part of the test for figures of its own."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Validation and test scores of one head or baseline, higher is more abnormal."""

    condition: str
    validation: Floats
    test: Floats
    note: str = ""


def noted(*parts: str) -> str:
    """One note of several, the empty ones left out."""
    return "; ".join(part for part in parts if part)


def copied(case: Case, data: Data, condition: str = "") -> tuple[NDArray[np.bool_], list[Measurement]]:
    """Which test sequences have a value-masked copy in train, and the rows that say how many."""
    found = copies(case.train, case.test, masked(data.texts))
    shares = {"copies": (float(found.sequences.mean()), len(case.test))}
    shares["known_events"] = (found.events, len(case.test.events))
    return found.sequences, [
        Measurement(name, share, count=count, condition=condition, note=case.rule)
        for name, (share, count) in shares.items()
    ]


def best_of(found: Sequence[Scored], labels: NDArray[np.int8]) -> tuple[int, str]:
    """The place of the one with the best PR-AUC on validation, of which `labels` are, and a note that names it.

    The first at equality, and where validation holds no anomaly to choose by.
    """
    figures = [average_precision(one.validation, labels) for one in found]
    place = int(np.argmax(np.nan_to_num(figures, nan=-1.0)))
    told = "chosen on validation" if (labels > 0).any() else "no anomaly in validation to choose by, so the first"
    return place, f"{told}: {found[place].condition.removeprefix(PREFIX)}"


def chosen(found: Sequence[Scored], labels: NDArray[np.int8]) -> Scored:
    """The best of `best_of` as condition ""."""
    place, note = best_of(found, labels)
    return replace(found[place], condition="", note=noted(note, found[place].note))


def renamed(rows: Sequence[Measurement], old: str, new: str, note: str) -> list[Measurement]:
    """Rows of the condition `old` and of its parts, as those of `new`; `note` begins their notes."""
    found = []
    for row in rows:
        part = row.condition.removeprefix(old).removeprefix(", ")
        condition = ", ".join(name for name in (new, part) if name)
        found.append(replace(row, condition=condition, note=noted(note, row.note)))
    return found


def measured(
    scored: Scored, case: Case, copies_of_train: NDArray[np.bool_], seed: int, resamples: int, data: Data
) -> Iterator[Measurement]:
    """Every metric on the test; the leading ones again without copies of train, and without the sequences of which
    an event has a template that any contestant was trained on, where enough is left.
    """
    limits = thresholds(scored.validation, case.validation.labels)
    statistics = StatisticsConfig(resamples=resamples)
    for one in measure(
        scored.test,
        case.test.labels,
        case.test.clusters,
        limits,
        days=case.test.days,
        statistics=statistics,
        seed=seed,
        condition=scored.condition,
        note=scored.note,
    ):
        yield replace(one, note=noted(one.note, _alerts_of(case, data))) if one.metric == "alerts_a_day" else one
    for name, kept in parts_of(case, copies_of_train, data).items():
        left = case.test.take(kept)
        again = measure(
            scored.test[kept],
            left.labels,
            left.clusters,
            limits,
            statistics=statistics,
            seed=seed,
            condition=", ".join(part for part in (scored.condition, name) if part),
            note=scored.note,
            judged=judged_by(kept),
        )
        yield from (one for one in again if one.metric in _IN_PARTS)


def _alerts_of(case: Case, data: Data) -> str:
    """What alerts a day are of. A split by entity leaves the test some of the entities over most of the time: no day of
    a site raises so few.
    """
    judged = len(np.unique(case.test.events))
    drawn = any(reason.startswith("above the cap") for reason in data.left_out)
    of = f"{len(data.texts)} events" + (" that were drawn of more" if drawn else "")
    return f"alerts of the test's entities and time alone, {judged} of the {of}, over the days that these span"


def parts_of(case: Case, copies_of_train: NDArray[np.bool_], data: Data) -> dict[str, NDArray[np.bool_]]:
    """Parts of the test that have figures of their own, bool (test sequences,), by the condition that names them:
    without copies of train, and without what any contestant was trained on, where that leaves enough and not all.
    """
    parts = {NO_COPIES: ~copies_of_train}
    if data.seen is not None:
        parts[UNSEEN] = np.array([not data.seen[rows].any() for rows in case.test.rows], dtype=bool)
    found = {}
    for name, kept in parts.items():
        anomalies = int(case.test.labels[kept].sum())
        if not kept.all() and min(anomalies, int(kept.sum()) - anomalies) >= FEWEST:
            found[name] = kept
    return found


def judged_by(kept: NDArray[np.bool_]) -> str:
    """Hash of a part of the test, for `Measurement.judged`."""
    return digest({"kept": np.packbits(kept).tobytes().hex()})
