"""Metrics of anomaly scores. A threshold comes from validation, never from the labels it is judged on.

A sequence raises an alert where its score lies above the threshold. PR-AUC leads. The oracle F1, the best that any
threshold reaches on the test itself, is kept apart and named so: it is no result.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import Direction
from logfm.errors import UserError
from logfm.evaluation.similarity import weighted_auc
from logfm.evaluation.stats import Draws, Floats, cluster_draws, estimate, ratio
from logfm.evaluation.suite.task import Measurement
from logfm.extras import require

Labels = NDArray[np.int8]
FALSE_POSITIVE_RATES = (0.001, 0.01)
METRICS: dict[str, Direction] = {
    "pr_auc": "higher",
    "roc_auc": "higher",
    "f1": "higher",
    "accuracy": "higher",
    "precision": "higher",
    "recall": "higher",
    "recall@0.1%fpr": "higher",
    "fpr@0.1%fpr": "neither",
    "recall@1%fpr": "higher",
    "fpr@1%fpr": "neither",
    "alerts_a_day": "neither",
    "oracle_f1": "neither",
    "prevalence": "neither",
}
"""Every metric of `measure`, and which way is better. `fpr@...` is the rate that the threshold has on the test;
`alerts_a_day` counts those of the test's events, which a note tells the share of."""

_REPLICATES_AT_ONCE = 128
_CONTAMINATION = 0.01


@dataclass(frozen=True)
class Thresholds:
    """What validation says; a score above it is an alert."""

    f1: float
    """The best F1 on validation; where that holds no anomaly, its normal ones' quantile at 1 %."""
    at_rate: Mapping[float, float]
    """By false positive rate: the lowest threshold with at most so many validation negatives above; nan without."""
    note: str = ""


def average_precision(scores: Floats, labels: Labels) -> float:
    """PR-AUC as scikit-learn's average precision, nan without an anomaly."""
    if not (labels > 0).any():
        return float("nan")
    return float(require("sklearn.metrics", "embed").average_precision_score(labels > 0, scores))


def thresholds(scores: Floats, labels: Labels) -> Thresholds:
    """Thresholds from validation scores and labels, both (n,)."""
    normal = np.sort(scores[labels == 0])[::-1]
    at_rate = {rate: float("nan") for rate in FALSE_POSITIVE_RATES}
    notes = []
    if len(normal):
        at_rate = {rate: float(normal[int(rate * len(normal))]) for rate in FALSE_POSITIVE_RATES}
        if len(normal) < 1 / FALSE_POSITIVE_RATES[0]:
            notes.append(f"{len(normal)} normal in validation: the 0.1 % threshold is their highest score")
    if (labels > 0).any() and len(normal):
        return Thresholds(_best_f1(scores, labels)[1], at_rate, "; ".join(notes))
    if not len(normal):
        notes.append("no normal sequence in validation: no threshold")
        return Thresholds(float("nan"), at_rate, "; ".join(notes))
    notes.append("no anomaly in validation: the threshold is the 1 % quantile of its normal sequences")
    return Thresholds(float(normal[int(_CONTAMINATION * len(normal))]), at_rate, "; ".join(notes))


def _best_f1(scores: Floats, labels: Labels) -> tuple[float, float]:
    """The highest F1 that a threshold reaches, and the threshold, midway between two scores; of equal ones the highest.

    An alert for everything is allowed: its threshold lies below all scores.
    """
    distinct, place = np.unique(scores, return_inverse=True)
    positives = np.bincount(place, weights=labels > 0, minlength=len(distinct))[::-1].cumsum()
    alerts = np.bincount(place, minlength=len(distinct))[::-1].cumsum()
    f1 = ratio(2 * positives, alerts + positives[-1])
    best = int(f1.argmax())
    lower = len(distinct) - 2 - best
    threshold = (distinct[lower] + distinct[lower + 1]) / 2 if lower >= 0 else np.nextafter(distinct[0], -np.inf)
    return float(f1[best]), float(threshold)


def measure(
    scores: Floats,
    labels: Labels,
    clusters: Sequence[str],
    limits: Thresholds,
    *,
    days: float = float("nan"),
    statistics: StatisticsConfig | None = None,
    seed: int = 0,
    condition: str = "",
    note: str = "",
    judged: str = "",
) -> Iterator[Measurement]:
    """Every metric of test scores (n,), with intervals from a bootstrap of whole clusters.

    `days` turns alerts into alerts a day (left out where it is nan or 0). Nothing here moves a threshold. `accuracy`
    comes with each sequence's hit or miss, too. `judged` names the sequences, if they are not all.

    Raises:
        UserError: only one class in the test.
    """
    need_both(labels, "the test")
    statistics = statistics or StatisticsConfig()
    codes = np.unique(np.asarray(clusters, dtype=object), return_inverse=True)[1]
    draws = cluster_draws(int(codes.max()) + 1, statistics.resamples, seed)
    found = _point(scores, labels, limits)
    if not np.isfinite(limits.f1):
        del found["accuracy"]
    if days > 0:
        found["alerts_a_day"] = float((scores > limits.f1).sum() / days)
    replicates = _replicates(scores, labels, codes, draws, limits)
    # What holds the rarer class is what a figure varies with.
    rests_on = min(len(np.unique(codes[labels > 0])), len(np.unique(codes[labels == 0])))
    notes = "; ".join(part for part in (note, limits.note) if part)
    for name, value in found.items():
        known = name in replicates
        one = estimate(
            value, replicates[name] if known else np.empty(0), statistics.confidence, rests_on if known else 0
        )
        hits = (scores > limits.f1) == (labels > 0) if name == "accuracy" else None
        yield Measurement.of(name, one, len(scores), condition=condition, note=notes, judged=judged, hits=hits)


def need_both(labels: Labels, where: str) -> None:
    """Refuse a part with one class only: most metrics are undefined there.

    Raises:
        UserError: there are no anomalies, or nothing else.
    """
    anomalies = int((labels > 0).sum())
    if anomalies in (0, len(labels)):
        kind = "no anomaly" if not anomalies else "nothing but anomalies"
        raise UserError(f"{where} holds {kind}", f"{len(labels)} sequences", "Take more data, or another split.")


def _point(scores: Floats, labels: Labels, limits: Thresholds) -> dict[str, float]:
    positive = labels > 0
    ones = np.ones((1, len(scores)))
    found = {
        "pr_auc": average_precision(scores, labels),
        "roc_auc": float(weighted_auc(scores[positive], scores[~positive], ones[:, positive], ones[:, ~positive])[0]),
    }
    found |= {name: float(value[0]) for name, value in _at_thresholds(scores, labels, ones, limits).items()}
    return found | {"oracle_f1": _best_f1(scores, labels)[0], "prevalence": float(positive.mean())}


def _replicates(
    scores: Floats, labels: Labels, codes: NDArray[np.int64], draws: Draws, limits: Thresholds
) -> dict[str, Floats]:
    positive = labels > 0
    parts: list[dict[str, Floats]] = []
    for start in range(0, len(draws), _REPLICATES_AT_ONCE):
        weights = draws[start : start + _REPLICATES_AT_ONCE][:, codes].astype(np.float64)
        found = _at_thresholds(scores, labels, weights, limits)
        found["pr_auc"] = weighted_average_precision(scores, labels, weights)
        found["roc_auc"] = weighted_auc(
            scores[positive], scores[~positive], weights[:, positive], weights[:, ~positive]
        )
        parts.append(found)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def weighted_average_precision(scores: Floats, labels: Labels, weights: Floats) -> Floats:
    """Average precision under weights (resamples, n), float64 (resamples,); nan where no anomaly has weight.

    Equals scikit-learn's with `sample_weight`: sequences of equal score count at once.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    ordered = weights[:, order]
    hits = np.cumsum(ordered * (labels[order] > 0), axis=1)[:, last]
    alerts = np.cumsum(ordered, axis=1)[:, last]
    precision = np.divide(hits, alerts, out=np.zeros_like(hits), where=alerts > 0)
    gained = np.diff(hits, axis=1, prepend=0.0)
    return ratio((precision * gained).sum(axis=1), hits[:, -1])


def _at_thresholds(scores: Floats, labels: Labels, weights: Floats, limits: Thresholds) -> dict[str, Floats]:
    """Figures at the thresholds under weights (resamples, n); nan where there is no threshold."""
    positive = (labels > 0).astype(np.float64)

    def counts(threshold: float) -> tuple[Floats, Floats]:
        alert = (scores > threshold).astype(np.float64)
        hits, alerts = weights @ (alert * positive), weights @ alert
        return (hits, alerts) if np.isfinite(threshold) else (hits * np.nan, alerts * np.nan)

    positives = weights @ positive
    negatives = weights.sum(axis=1) - positives
    hits, alerts = counts(limits.f1)
    found = {
        "f1": ratio(2 * hits, alerts + positives),
        "precision": ratio(hits, alerts),
        "recall": ratio(hits, positives),
        "accuracy": ratio(2 * hits - alerts + negatives, weights.sum(axis=1)),
    }
    for rate, threshold in limits.at_rate.items():
        hits, alerts = counts(threshold)
        found[f"recall@{rate:.1%}fpr".replace(".0%", "%")] = ratio(hits, positives)
        found[f"fpr@{rate:.1%}fpr".replace(".0%", "%")] = ratio(alerts - hits, negatives)
    return found
