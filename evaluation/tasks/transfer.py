"""Transfer and drift: train on one source or period, test on another, with nothing fitted anew."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logfm.artifacts import digest
from logfm.configs.base import parse
from logfm.configs.schema.anomaly import SplitConfig, TransferOptions, UnitConfig
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import Case, columns_of, cutter, make_case, unit_of
from logfm.evaluation.anomaly.heads import Judged, best, event_vectors, judge, transductive
from logfm.evaluation.anomaly.keeping import kept
from logfm.evaluation.anomaly.metrics import METRICS
from logfm.evaluation.anomaly.plain import CHOSEN, Found, chosen_rows, kept_by, without_encoder
from logfm.evaluation.anomaly.reporting import COPIES, NO_COPIES, Scored, copied, measured, noted
from logfm.evaluation.anomaly.trained import LOGISTIC, Limits, trained
from logfm.evaluation.anomaly.windows import Columns, Rows
from logfm.evaluation.stats import estimate, side_by_side
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="transfer",
    title="Does what was learned on one source or period hold on another?",
    paper="LogAtlas, section 4: figures on one distribution hide what happens on another",
    split="Whole sources: one trains, a part of it that was held back gives the threshold, another is the test. In "
    "data of one source, periods of equally many events: the first trains, each later one is a test.",
    leakage="Nothing is fitted on the test's source or period, thresholds included. `within` is the same head on what "
    "was held back of the source that it was trained on. A pair's head is chosen on the train side's validation part. "
    "Value-masked copies of train in the test are counted, and scores without them given.",
    main_score="pr_auc",
    metrics=METRICS | COPIES,
    minutes=1,
    caps={"most_pairs": 4, "fit_events": 10_000},
    version=2,
)
OPTIONS = TransferOptions
_WITHIN = "within "
_FIRST_PERIOD = SplitConfig(train=0.7, validation=0.29)


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure each pair of sources or periods. A pair alone is the condition of the head that has the best PR-AUC on
    what was held back of its train side; condition "" is the mean over pairs, which weigh alike.

    Raises:
        UserError: no labels, an unknown source, or nothing that can be trained on and tested.
    """
    config = parse(OPTIONS, dict(options), "options of the task transfer")
    leading: dict[str, list[Measurement]] = {}
    for name, case in _cases(data, seed, config):
        if not 0 < case.test.labels.sum() < len(case.test):
            continue
        vectors = event_vectors(contestant, data, case)
        copies, rows = copied(case, data, name)
        yield from rows
        found: list[Found] = []
        for head in config.heads:
            judged = _judged(head, case, vectors, data, contestant, seed, config)
            if judged is not None:
                scored = Scored(head, judged.validation, judged.test, judged.note)
                found.append(_rows(scored, name, case, copies, data, seed, config))
                yield from found[-1][1]
        free = [one for one in found if not transductive(one[0].condition)]
        if free:
            rows = chosen_rows(free, case, "", name)
            yield from rows
            if not name.startswith(_WITHIN):
                leading[name] = rows
    if not leading:
        raise UserError("no pair of sources or periods can be trained on and tested", data.spec.name)
    yield from _means("", leading, config)
    what = ("transfer", config.model_dump_json())
    yield from _plain(
        kept(kept_by(what, data, seed, config.resamples), lambda: _baselines(data, seed, config)), list(leading), config
    )


def _rows(
    one: Scored, pair: str, case: Case, copies: NDArray[np.bool_], data: Data, seed: int, config: TransferOptions
) -> Found:
    """A head or detector with its rows on one pair."""
    scored = replace(one, condition=f"{one.condition}, {pair}")
    return one, list(measured(scored, case, copies, seed, config.resamples, data))


def _baselines(data: Data, seed: int, config: TransferOptions) -> dict[tuple[str, str], list[Measurement]]:
    """Rows of what needs no encoder, by its condition and the pair, those of the one that validation chose last."""
    rows: dict[tuple[str, str], list[Measurement]] = {}
    for name, case in _cases(data, seed, config):
        if 0 < case.test.labels.sum() < len(case.test):
            copies, _ = copied(case, data)
            detectors = without_encoder(case, data, config)
            found = [_rows(one, name, case, copies, data, seed, config) for one in detectors]
            rows |= {(one.condition, name): own for one, own in found}
            if found:
                rows[CHOSEN, name] = chosen_rows(found, case, CHOSEN, name)
    return rows


def _plain(
    found: Mapping[tuple[str, str], list[Measurement]], pairs: Sequence[str], config: TransferOptions
) -> Iterator[Measurement]:
    """Those rows, and each detector's mean over the pairs that the encoder's heads were measured on."""
    for rows in found.values():
        yield from rows
    for condition in dict.fromkeys(condition for condition, _ in found):
        if all((condition, name) in found for name in pairs):
            yield from _means(condition, {name: found[condition, name] for name in pairs}, config, "no encoder")


def _means(
    condition: str, parts: Mapping[str, list[Measurement]], config: TransferOptions, note: str = ""
) -> Iterator[Measurement]:
    """PR-AUC averaged over the rows of each pair: of all of the tests, and of what is left without copies."""
    for part in ("", NO_COPIES):
        areas = {pair: _area(rows, part) for pair, rows in parts.items()}
        rows = [one for one in areas.values() if one is not None]
        if not rows:
            continue
        # Sources are drawn apart, so their replicates are averaged one by one; pairs with one test share its draws.
        columns = [one.replicates for one in rows]
        tests = [pair.partition(">")[2] for pair, one in areas.items() if one is not None]
        together = side_by_side(columns, tests) if all(len(one) for one in columns) else np.empty(0)
        fewest = min(one.clusters for one in rows)
        confidence = StatisticsConfig(resamples=config.resamples).confidence
        mean = estimate(float(np.mean([one.value for one in rows])), together, confidence, fewest)
        of = f"{len(rows)} of {len(parts)} pairs" if len(rows) < len(parts) else f"{len(rows)} pairs"
        yield Measurement.of(
            "pr_auc",
            mean,
            sum(one.count for one in rows),
            condition=", ".join(name for name in (condition, part) if name),
            note=noted(f"the mean of {of}", note),
            judged=digest({"parts": sorted({one.judged for one in rows})}) if part else "",
        )


def _area(rows: Sequence[Measurement], part: str) -> Measurement | None:
    """PR-AUC of a pair's test, or of the part of it that is so named, where it has one."""
    areas = [one for one in rows if one.metric == "pr_auc"]
    if not part:
        return areas[0]
    return next((one for one in areas if one.condition.endswith(f", {part}")), None)


def _judged(
    head: str, case: Case, vectors: Any, data: Data, contestant: Contestant, seed: int, config: TransferOptions
) -> Judged | None:
    """Scores of a head; None where what it would be trained on has one class only, or no normal sequence."""
    try:
        if head == LOGISTIC:
            parts = {"validation": case.validation, "test": case.test}
            scores = trained(head, case.train, case.validation, parts, data, contestant, vectors, seed, Limits())
            return Judged("mean vector", scores["validation"], scores["test"])
        return best(judge(head, case, vectors, data, contestant, seed, config), case.validation.labels)
    except UserError:
        if not 0 < case.train.labels.sum() < len(case.train) or not case.validation.labels.sum() > 0:
            return None
        raise


def _cases(data: Data, seed: int, config: TransferOptions) -> Iterator[tuple[str, Case]]:
    unit = unit_of(data)
    columns = columns_of(data, unit)
    domains = data.sources if unit.domain == "sources" else data.groups
    names = sorted(set(domains or []))
    if len(names) > 1 and domains is not None:
        rows_of = {name: np.flatnonzero([one == name for one in domains]) for name in names}
        yield from _between(data, unit, columns, rows_of, seed, config)
    elif columns.times is not None:
        yield from _drift(data, unit, columns, seed, config)
    else:
        raise UserError("transfer needs two sources, or times", data.spec.name)


def _between(
    data: Data, unit: UnitConfig, columns: Columns, rows_of: Mapping[str, Rows], seed: int, config: TransferOptions
) -> Iterator[tuple[str, Case]]:
    """Each pair; and, once a training source, its own held-back part."""
    cut = cutter(data, unit, columns)
    done: dict[str, Case] = {}
    for train, test in _pairs(rows_of, columns, config):
        if train not in done:
            try:
                done[train] = make_case(data, seed, config.split, rows_of[train])
            except UserError:
                if config.pairs:
                    raise
                continue
            yield f"{_WITHIN}{train}", done[train]
        yield f"{train}>{test}", replace(done[train], test=cut(rows_of[test]))


def _pairs(rows_of: Mapping[str, Rows], columns: Columns, config: TransferOptions) -> list[tuple[str, str]]:
    """The pairs named, else those of sources that hold both classes; each trains once before one trains again.

    Raises:
        UserError: an unknown source.
    """
    if config.pairs:
        pairs = [(train.strip(), test.strip()) for train, _, test in (pair.partition(">") for pair in config.pairs)]
        for name in {name for pair in pairs for name in pair}:
            if name not in rows_of:
                raise UserError("no such source in this data", name, f"There are: {', '.join(rows_of)}.")
        return pairs
    usable = [name for name, rows in rows_of.items() if 0 < columns.labels[rows].sum() < len(rows)]
    place = {name: number for number, name in enumerate(usable)}
    pairs = list(permutations(usable, 2))
    pairs.sort(key=lambda pair: ((place[pair[1]] - place[pair[0]]) % len(usable), place[pair[0]]))
    return pairs[: config.most_pairs]


def _drift(
    data: Data, unit: UnitConfig, columns: Columns, seed: int, config: TransferOptions
) -> Iterator[tuple[str, Case]]:
    """The first period against each later one; a group belongs to the period of its first event."""
    if columns.times is None:
        return
    moments = columns.times.copy()
    if columns.groups is not None and columns.entities is not None:
        first: dict[str, float] = {}
        for row in np.argsort(columns.times, kind="stable"):
            moments[row] = first.setdefault(columns.entities[row], float(columns.times[row]))
    borders = np.quantile(moments, np.arange(1, config.periods) / config.periods)
    period = np.searchsorted(borders, moments, side="right")
    cut = cutter(data, unit, columns)
    base = make_case(data, seed, _FIRST_PERIOD, np.flatnonzero(period == 0))
    for number in range(1, config.periods):
        rows = np.flatnonzero(period == number)
        if len(rows):
            yield f"period 1>{number + 1}", replace(base, test=cut(rows))
