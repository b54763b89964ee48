"""Detectors without an encoder, as every task with labels shows them: counting, and Sigma rules where there are any.

They read the same parts as the heads and are the same for every contestant of a run, so they are measured once.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from logfm.artifacts import digest
from logfm.configs.schema.anomaly import BaselineOptions
from logfm.evaluation.anomaly.baselines import baselines
from logfm.evaluation.anomaly.cases import Case, unit_of
from logfm.evaluation.anomaly.keeping import kept
from logfm.evaluation.anomaly.reporting import PREFIX, Scored, best_of, measured, noted, renamed
from logfm.evaluation.suite.task import Data, Measurement

CHOSEN = f"{PREFIX}chosen on validation"
"""Condition of the one of them that validation chose, as it chooses an encoder's head: a table that stands the best of
them on the test beside encoders would have looked at the test for one side alone."""
EVERYTHING = "alerts on everything"
"""The answer that needs no detector. Its F1, 2p / (1 + p) at a prevalence p, is what one has to beat."""
Found: TypeAlias = tuple[Scored, list[Measurement]]
"""A detector's scores, and its rows."""


def without_encoder(case: Case, data: Data, config: BaselineOptions) -> Iterator[Scored]:
    """New templates, lengths, n-grams and count vectors, fitted on train's normal sequences; Sigma rules, on nothing.

    None where train holds no normal sequence; no rules where neither the options nor the data set name any, or where
    they are for none of its events.
    """
    if not config.baselines:
        return
    for one in baselines(case, data):
        yield plain(one.name, one.validation, one.test)
    rules = _rules(data, config)
    if rules is None:
        return
    from logfm.evaluation.anomaly.sigma import by_sequence, sigma_scores

    scores, covered = kept(("sigma", data.hash, str(rules)), lambda: sigma_scores(data, rules))
    if covered:
        yield plain("sigma", by_sequence(case.validation, scores), by_sequence(case.test, scores))


def plain(name: str, validation: NDArray[np.float64], test: NDArray[np.float64], note: str = "") -> Scored:
    """Scores of a detector that needs no encoder."""
    return Scored(f"{PREFIX}{name}", validation, test, noted("no encoder", note))


def everything(case: Case) -> Scored:
    """The same score for everything, which lies above the threshold of F1 where validation holds an anomaly."""
    return plain(EVERYTHING, np.zeros(len(case.validation)), np.zeros(len(case.test)))


def plain_rows(
    case: Case,
    data: Data,
    copies: NDArray[np.bool_],
    seed: int,
    config: BaselineOptions,
    said: str = "",
    also: Sequence[Found] = (),
) -> list[Measurement]:
    """Every metric of `without_encoder` on a case that `make_case` cut by the options' split, and of what is `also`
    without an encoder; those of the one that validation chose again, as `CHOSEN`. `said` ends the notes.
    """
    what = ("plain", config.split.model_dump_json(), config.rules, config.baselines)
    found = measured_once(what, lambda: without_encoder(case, data, config), case, data, copies, seed, config.resamples)
    found = [*found, *also]
    rows = [row for _, own in found for row in own]
    rows += chosen_rows(found, case, CHOSEN)
    return [replace(row, note=noted(row.note, said)) for row in rows]


def chosen_rows(found: Sequence[Found], case: Case, name: str, pair: str = "") -> list[Measurement]:
    """Rows of the one that validation chose, as those of `name`; `pair` follows a name in the conditions."""
    if not found:
        return []
    number, note = best_of([one for one, _ in found], case.validation.labels)
    one, rows = found[number]
    old, new = (", ".join(part for part in (name, pair) if part) for name in (one.condition, name))
    return renamed(rows, old, new, note)


def measured_once(
    what: Hashable,
    found: Callable[[], Iterable[Scored]],
    case: Case,
    data: Data,
    copies: NDArray[np.bool_],
    seed: int,
    resamples: int,
) -> list[Found]:
    """What `found` gives with every metric of it, which `what`, the data and the seed decide."""
    return kept(
        kept_by(what, data, seed, resamples),
        lambda: [(one, list(measured(one, case, copies, seed, resamples, data))) for one in found()],
    )


def kept_by(what: Hashable, data: Data, seed: int, resamples: int) -> Hashable:
    """What rows without an encoder depend on: not on the contestant, but on which templates any of them has seen."""
    masks = [one if one is None else np.packbits(one > 0).tobytes().hex() for one in (data.labels, data.seen)]
    return what, data.hash, seed, resamples, digest({"masks": masks})


def _rules(data: Data, config: BaselineOptions) -> Path | None:
    """Sigma rules: those of the options, else those that the data set names, where they lie in the data folder."""
    if config.rules is not None:
        return Path(config.rules)
    named = unit_of(data).rules
    found = None if named is None or data.folder is None else data.folder / named
    return found if found is not None and found.exists() else None
