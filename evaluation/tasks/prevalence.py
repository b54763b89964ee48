"""The prevalence sweep: test sets of one size, from no attack to nothing else (LogAtlas, Table 3).

Detectors keep the threshold that a natural mix gave them. A set with few attacks makes any of them look accurate; what
tells them apart are the counts.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import PrevalenceOptions
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.embeddings.detectors import LOGBERT
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import Case, make_case
from logfm.evaluation.anomaly.heads import best, event_vectors, judge
from logfm.evaluation.anomaly.keeping import kept
from logfm.evaluation.anomaly.metrics import need_both, thresholds
from logfm.evaluation.anomaly.trained import LASTLAYER, LOGISTIC, Limits, trained
from logfm.evaluation.anomaly.windows import Rows, Sequences
from logfm.evaluation.stats import Estimate, Floats, cluster_draws, estimate, ratio
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="prevalence",
    title="What becomes of a detector when attacks are rarer or commoner than it was told?",
    paper="LogAtlas, section 4, Table 3",
    split="Train, validation and test by whole entities or by time; test sets of one size come from the test part, "
    "each a superset of the attacks of the one before.",
    leakage="Classifiers learn from a train part thinned to 2 % attacks, without balancing, and alarm at even odds; "
    "unsupervised heads alarm above what 1 % of validation's normal sequences exceed. No threshold moves after that.",
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
    },
    minutes=3,
    caps={"size": 1_000, "fit_events": 10_000, "logbert_steps": 150, "epochs": 5, "events": 16},
    lead="nearest, 20 %",
)
OPTIONS = PrevalenceOptions
_CLASSIFIERS = (LOGISTIC, LASTLAYER)
_ALERT_RATE = 0.01


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure every detector on every set. `collapse` is 1 where all answers are one class and some should not be.

    Raises:
        UserError: no labels, one class only in a part, or what the split refuses.
    """
    config = parse(OPTIONS, dict(options), "options of the task prevalence")
    case = make_case(data, seed, config.split)
    need_both(case.test.labels, "the test")
    train = thinned(case.train, config.train_percent, seed)
    vectors = event_vectors(contestant, data, case)
    for name in config.heads:
        if name == LASTLAYER and contestant.layered is None:
            continue
        note = ""
        if name in _CLASSIFIERS:
            limits = Limits(config.epochs, config.events, balanced=False)
            judged = {"test": case.test}
            scores = trained(name, train, case.validation, judged, data, contestant, vectors, seed, limits)["test"]
            alerts = scores > (0.0 if name == LOGISTIC else 0.5)
            note = f"trained on {int(train.labels.sum())} attacks among {len(train)}"
        elif name == LOGBERT:
            key = ("prevalence", data.hash, seed, config.model_dump_json())
            alerts = kept(key, lambda: _unsupervised(LOGBERT, case, vectors, data, None, seed, config))
        else:
            alerts = _unsupervised(name, case, vectors, data, contestant, seed, config)
        condition = f"baseline {name}" if name == LOGBERT else name
        for percent, rows in mixtures(case.test, config.percents, config.size, seed).items():
            attacks, clusters = case.test.labels[rows] > 0, [case.test.clusters[row] for row in rows]
            intervals = _intervals(alerts[rows], attacks, clusters, config.resamples, seed)
            for metric, value in counted(alerts[rows], attacks).items():
                found = intervals.get(metric, Estimate(value, np.nan, np.nan, np.empty(0)))
                yield Measurement.of(metric, found, len(rows), condition=f"{condition}, {percent} %", note=note)


def _unsupervised(
    name: str,
    case: Case,
    vectors: Any,
    data: Data,
    contestant: Contestant | None,
    seed: int,
    config: PrevalenceOptions,
) -> Any:
    """Alerts on test sequences, bool, above what 1 % of validation's normal ones exceed."""
    found = best(judge(name, case, vectors, data, contestant, seed, config), case.validation.labels)
    return found.test > thresholds(found.validation, case.validation.labels).at_rate[_ALERT_RATE]


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
