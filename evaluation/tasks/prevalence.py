"""The prevalence sweep: test sets of one size, from no attack to nothing else (LogAtlas, Table 3).

Detectors keep the threshold that a natural mix gave them. A set with few attacks makes any of them look accurate; what
tells them apart are the counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import PrevalenceOptions
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.detectors import LOGBERT
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import Case, fewer, make_case
from logfm.evaluation.anomaly.heads import Judged, best, event_vectors, judge, transductive
from logfm.evaluation.anomaly.keeping import kept
from logfm.evaluation.anomaly.metrics import need_both, thresholds
from logfm.evaluation.anomaly.plain import CHOSEN, EVERYTHING, kept_by, plain, without_encoder
from logfm.evaluation.anomaly.reporting import (
    COPIES,
    PREFIX,
    Scored,
    best_of,
    chosen,
    copied,
    judged_by,
    noted,
    parts_of,
)
from logfm.evaluation.anomaly.trained import (
    LASTLAYER,
    LAYERED,
    LOGISTIC,
    WHOLE,
    Limits,
    cut_note,
    most_events,
    trained,
    whole_note,
)
from logfm.evaluation.anomaly.windows import Rows, Sequences
from logfm.evaluation.stats import Estimate, Floats, cluster_draws, estimate, ratio
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="prevalence",
    title="What becomes of a detector when attacks are rarer or commoner than it was told?",
    paper="LogAtlas, section 4, Table 3; `whole` is fine-tuned as its RoBERTa was, all layers on one text a sequence; "
    "`lastlayer` trains the encoder's last layer",
    split="Train, validation and test by whole entities or by time; test sets of one size come from the test part, "
    "each a superset of the attacks of the one before.",
    leakage="Classifiers learn from a train part thinned to 2 % attacks, without balancing, and alarm at even odds; "
    "unsupervised heads alarm above what 1 % of validation's normal sequences exceed. No threshold moves after that. "
    "Value-masked copies of train in the test are counted, and sets without them measured. All classifiers read the "
    "same events of a sequence; the other detectors read all of them. Validation chose "
    "the detector that leads.",
    main_score="f1",
    metrics={
        "attacks": "neither",
        "normal": "neither",
        "predicted_attack": "neither",
        "predicted_normal": "neither",
        "true_positive": "neither",
        "accuracy": "neither",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "collapse": "lower",
    }
    | COPIES,
    minutes=4,
    caps={
        "size": 500,
        "fit_events": 10_000,
        "logbert_steps": 150,
        "epochs": 3,
        "events": 16,
        "sequences": 120,
        "tokens": 64,
    },
    lead="20 %",
    version=3,
)
OPTIONS = PrevalenceOptions
_CLASSIFIERS = (LOGISTIC, *LAYERED)
_ALERT_RATE = 0.01


@dataclass(frozen=True, eq=False)
class _Alerts:
    """A detector's answers: bool (test sequences,)."""

    condition: str
    alerts: NDArray[np.bool_]
    note: str = ""


@dataclass(frozen=True, eq=False)
class _Set:
    """A test set: numbers of test sequences, with the part of the test that it was drawn from."""

    percent: int
    rows: Rows
    part: str = ""
    judged: str = ""


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure every detector on every set. `collapse` is 1 where all answers are one class and some should not be.

    Conditions "DETECTOR, N %" are followed by those of sets without copies of train, and without what any contestant
    was trained on. "N %" alone is the encoder's detector that validation chose.

    Raises:
        UserError: no labels, one class only in a part, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task prevalence")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    copies, rows = copied(case, data)
    yield from rows
    sets = list(_sets(case, copies, data, seed, config))
    train = thinned(case.train, config.train_percent, seed)
    vectors = event_vectors(contestant, data, case)
    needed = np.unique(np.concatenate([drawn.rows for drawn in sets]))
    # Layers of the encoder are passed both ways in each epoch: who trains them reads fewer sequences.
    few = fewer(case.validation, config.sequences, seed)
    parts = {LOGISTIC: (train, case.validation)}
    parts |= dict.fromkeys(LAYERED, (train.take(fewer(train, config.sequences, seed)), case.validation.take(few)))
    able: list[tuple[Scored, _Alerts]] = []
    for name in config.heads:
        if name == LOGBERT or (name in LAYERED and contestant.layered is None):
            continue
        if name in _CLASSIFIERS:
            scored, one = _classifier(name, case, needed, parts[name], vectors, data, contestant, seed, config)
        else:
            scored, one = _unsupervised(judge(name, case, vectors, data, contestant, seed, config), name, case, config)
        yield from _measured(one, case, sets, seed, config)
        if not transductive(name):
            # Heads that train layers have scores of these sequences alone, and all are chosen by the same.
            able.append((scored if name in LAYERED else replace(scored, validation=scored.validation[few]), one))
    if able:
        place, why = best_of([scored for scored, _ in able], case.validation.labels[few])
        leading = able[place][1]
        yield from _measured(replace(leading, condition="", note=noted(why, leading.note)), case, sets, seed, config)
    key = kept_by(("prevalence", config.model_dump_json()), data, seed, config.resamples)
    yield from kept(key, lambda: list(_without_encoder(case, sets, data, seed, config)))


def _classifier(
    name: str,
    case: Case,
    needed: Rows,
    parts: tuple[Sequences, Sequences],
    vectors: Any,
    data: Data,
    contestant: Contestant,
    seed: int,
    config: PrevalenceOptions,
) -> tuple[Scored, _Alerts]:
    limits, (train, validation) = _limits(config), parts
    judged = {"validation": validation, "test": case.test.take(needed)}
    scores = trained(name, train, validation, judged, data, contestant, vectors, seed, limits)
    alerts = np.zeros(len(case.test), dtype=bool)
    alerts[needed] = scores["test"] > (0.0 if name == LOGISTIC else 0.5)
    note = f"trained on {int(train.labels.sum())} attacks among {len(train)}"
    if name == WHOLE and config.tokens is not None:
        note = noted(note, f"of a sequence {config.tokens} tokens at most")
    note = noted(note, cut_note(case.test, limits.events))
    return Scored(name, scores["validation"], scores["test"]), _Alerts(name, alerts, note)


def _limits(config: PrevalenceOptions) -> Limits:
    """All classifiers read as many events of a sequence as `lastlayer` does."""
    most = most_events(LASTLAYER, Limits(events=config.events))
    return Limits(config.epochs, most, balanced=False, tokens=config.tokens)


def _whole(case: Case, config: PrevalenceOptions) -> str:
    """What to say of detectors that stand beside a classifier that cuts sequences, and cut none."""
    cuts = any(name in _CLASSIFIERS for name in config.heads)
    return whole_note(case.test, _limits(config).events) if cuts else ""


def _unsupervised(judged: Sequence[Judged], name: str, case: Case, config: PrevalenceOptions) -> tuple[Scored, _Alerts]:
    """Alerts above what 1 % of validation's normal sequences exceed."""
    found = best(judged, case.validation.labels)
    note = noted(found.note, _whole(case, config))
    alerts = _Alerts(name, _above(found.validation, found.test, case), note)
    return Scored(name, found.validation, found.test), alerts


def _above(validation: Floats, test: Floats, case: Case) -> NDArray[np.bool_]:
    return np.asarray(test > thresholds(validation, case.validation.labels).at_rate[_ALERT_RATE])


def _without_encoder(
    case: Case, sets: Sequence[_Set], data: Data, seed: int, config: PrevalenceOptions
) -> Iterator[Measurement]:
    """Rows of counting, of Sigma rules and of LogBERT, and of the one that validation chose: the same for every
    contestant.
    """
    found = list(without_encoder(case, data, config))
    if LOGBERT in config.heads:
        none = np.empty((0, 0), dtype=np.float32)
        judged = best(judge(LOGBERT, case, none, data, None, seed, config), case.validation.labels)
        found.append(plain(LOGBERT, judged.validation, judged.test, judged.note))
    if found:
        leading = chosen(found, case.validation.labels)
        found.append(replace(leading, condition=CHOSEN))
    for one in found:
        note = noted(one.note, _whole(case, config))
        alerts = _Alerts(one.condition, _above(one.validation, one.test, case), note)
        yield from _measured(alerts, case, sets, seed, config)
    if config.baselines:
        always = _Alerts(f"{PREFIX}{EVERYTHING}", np.ones(len(case.test), dtype=bool), "no encoder")
        yield from _measured(always, case, sets, seed, config)


def _sets(case: Case, copies: NDArray[np.bool_], data: Data, seed: int, config: PrevalenceOptions) -> Iterator[_Set]:
    """Every set of the whole test, then those of its parts: of these only what their size can tell apart."""
    for percent, rows in mixtures(case.test, config.percents, config.size, seed).items():
        yield _Set(percent, rows)
    for name, kept_in in parts_of(case, copies, data).items():
        left, numbers = case.test.take(kept_in), np.flatnonzero(kept_in)
        shares = _told_apart(left, config)
        for percent, rows in mixtures(left, shares, config.size, seed).items():
            yield _Set(percent, numbers[rows], name, judged_by(kept_in))


def _told_apart(test: Sequences, config: PrevalenceOptions) -> tuple[int, ...]:
    """The shares whose sets hold different numbers of attacks; of equal ones the first."""
    attacks = int((test.labels > 0).sum())
    total = min(config.size, attacks, len(test) - attacks)
    first: dict[int, int] = {}
    for percent in config.percents:
        first.setdefault(round(total * percent / 100), percent)
    return tuple(first.values())


def _measured(
    one: _Alerts, case: Case, sets: Sequence[_Set], seed: int, config: PrevalenceOptions
) -> Iterator[Measurement]:
    for drawn in sets:
        alerts, attacks = one.alerts[drawn.rows], case.test.labels[drawn.rows] > 0
        clusters = [case.test.clusters[row] for row in drawn.rows]
        intervals = _intervals(alerts, attacks, clusters, config.resamples, seed)
        condition = ", ".join(part for part in (one.condition, f"{drawn.percent} %", drawn.part) if part)
        for metric, value in counted(alerts, attacks).items():
            found = intervals.get(metric, Estimate(value, np.nan, np.nan, np.empty(0)))
            yield Measurement.of(
                metric, found, len(drawn.rows), condition=condition, note=one.note, judged=drawn.judged
            )


def thinned(train: Sequences, percent: float | None, seed: int) -> Sequences:
    """Train with at most `percent` attacks, at least two; the normal sequences stay."""
    attacks = np.flatnonzero(train.labels > 0)
    if percent is None:
        return train
    wanted = max(2, round((len(train) - len(attacks)) * percent / (100 - percent)))
    if len(attacks) <= wanted:
        return train
    dropped = np.random.default_rng(seed).permutation(attacks)[wanted:]
    return train.take(np.setdiff1d(np.arange(len(train)), dropped))


def mixtures(test: Sequences, percents: tuple[int, ...], size: int, seed: int) -> dict[int, Rows]:
    """Numbers of the test sequences of each set, all of one size, none twice.

    The size is that of the smaller pool where `size` is more, as one set is all attacks and one is all normal.

    Raises:
        UserError: a percentage outside 0 to 100, or too few sequences to tell two of them apart.
    """
    if any(not 0 <= percent <= 100 for percent in percents):
        raise UserError("a share of attacks lies between 0 and 100 percent", str(percents))
    rng = np.random.default_rng(seed)
    attacks = rng.permutation(np.flatnonzero(test.labels > 0))
    normal = rng.permutation(np.flatnonzero(test.labels == 0))
    total = min(size, len(attacks), len(normal))
    counts = {percent: round(total * percent / 100) for percent in percents}
    if len(set(counts.values())) < len(counts):
        raise UserError(
            f"{len(attacks)} attacks and {len(normal)} normal sequences in the test are too few for these shares",
            ", ".join(f"{percent} %" for percent in percents),
            "Take more data, or fewer shares.",
        )
    found = {}
    for percent, count in counts.items():
        found[percent] = np.concatenate((attacks[:count], normal[: total - count]))
    return found


def _intervals(alerts: Any, attacks: Any, clusters: list[str], resamples: int, seed: int) -> dict[str, Estimate]:
    """The ratios of one set with intervals from a bootstrap of whole clusters."""
    codes = np.unique(np.asarray(clusters, dtype=object), return_inverse=True)[1]
    weights = cluster_draws(int(codes.max()) + 1, resamples, seed)[:, codes].astype(np.float64)
    hits, found, real = (weights @ one.astype(np.float64) for one in (alerts & attacks, alerts, attacks))
    replicates = {"precision": ratio(hits, found), "recall": ratio(hits, real), "f1": ratio(2 * hits, found + real)}
    figures, confidence = counted(alerts, attacks), StatisticsConfig().confidence
    rests_on = min(len(np.unique(codes[attacks])), len(np.unique(codes[~attacks]))) or len(np.unique(codes))
    return {name: estimate(figures[name], column, confidence, rests_on) for name, column in replicates.items()}


def counted(alerts: Any, attacks: Any) -> dict[str, float]:
    """The table's columns for one set, from bool (n,) answers and truth; nan where a ratio has no meaning."""
    hits, found, total = int((alerts & attacks).sum()), int(alerts.sum()), len(attacks)
    real = int(attacks.sum())
    one_answer = found in (0, total)
    return {
        "attacks": float(real),
        "normal": float(total - real),
        "predicted_attack": float(found),
        "predicted_normal": float(total - found),
        "true_positive": float(hits),
        "accuracy": float((alerts == attacks).mean()),
        "precision": _share(hits, found),
        "recall": _share(hits, real),
        "f1": _share(2 * hits, found + real),
        "collapse": float(one_answer and bool((alerts != attacks).any())),
    }


def _share(part: Floats | float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
