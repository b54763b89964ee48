"""Intervals and tests that respect templates: lines of one template are copies of each other, not evidence.

Every bootstrap draws whole templates (a cluster bootstrap). Two encoders that are measured on the same lines with the
same draws give paired replicates, whose differences carry the comparison.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from logfm.extras import require

Floats = NDArray[np.float64]
Draws = NDArray[np.int64]
_NOISE = 1e-12


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure with its bootstrap interval. `replicates` is float64 (resamples,), nan where a draw was empty."""

    value: float
    low: float
    high: float
    replicates: Floats
    clusters: int = 0
    """Clusters that the draws were made of; 0 where nobody counted."""


@dataclass(frozen=True)
class Difference:
    """A paired difference, its bootstrap interval and two-sided p."""

    value: float
    low: float
    high: float
    p: float


def cluster_draws(clusters: int, resamples: int, seed: int) -> Draws:
    """How often each cluster is drawn: int64 (resamples, clusters), each row sums to `clusters`."""
    if clusters < 1:
        return np.zeros((resamples, 0), dtype=np.int64)
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)


def estimate(value: float, replicates: Floats, confidence: float, clusters: int = 0) -> Estimate:
    """The percentile interval around `value`; nan bounds where no replicate is finite.

    With the number of `clusters` it is widened as Student's t is beside the normal: a bootstrap of few clusters is too
    narrow. One cluster says nothing of how figures vary: it has no interval and no replicates.
    """
    if clusters == 1:
        return Estimate(value, np.nan, np.nan, np.empty(0), 1)
    low, high = _interval(value, replicates, confidence, clusters, _limits(replicates))
    return Estimate(value, low, high, replicates, clusters)


def few_clusters_p(value: float, parts: Sequence[tuple[Floats, int]]) -> float:
    """Two-sided p of a mean difference `value` over independent parts, each with its replicates and clusters.

    Student's t at the replicates' spread with the clusters' degrees of freedom (Welch and Satterthwaite over several
    parts), and at least what the clusters' signs alone could show, 2^(1 - clusters). A part whose clusters nobody
    counted (0) bounds nothing.
    """
    counted = [(replicates[np.isfinite(replicates)], clusters) for replicates, clusters in parts if clusters]
    if not counted:
        return 0.0
    if any(clusters < 2 or not replicates.size for replicates, clusters in counted):
        return 1.0
    least = float(2.0 ** (1 - sum(clusters for _, clusters in counted)))
    variance, freedom = _welch(counted)
    if not variance:
        return least
    spread = np.sqrt(variance) / len(counted)
    return max(least, float(2 * require("scipy.stats", "embed").t.sf(abs(value) / spread, freedom)))


def effective_clusters(parts: Sequence[tuple[Floats, int]]) -> int:
    """How many clusters the mean over independent parts, each with its replicates and clusters, is worth: one more than
    its degrees of freedom (Welch and Satterthwaite). A part of two clusters that varies most leaves two, however many
    the others have. 0 where nobody counted, 1 where a part says nothing of how it varies.
    """
    known = [(replicates[np.isfinite(replicates)], clusters) for replicates, clusters in parts]
    if not all(clusters for _, clusters in known):
        return 0
    if any(clusters < 2 or not replicates.size for replicates, clusters in known):
        return 1
    variance, freedom = _welch(known)
    return max(2, 1 + int(freedom)) if variance else sum(clusters for _, clusters in known)


def _welch(parts: Sequence[tuple[Floats, int]]) -> tuple[float, float]:
    """The variance of the sum over independent parts, and its degrees of freedom (0 where nothing varies)."""
    variances = np.array([replicates.var() * clusters / (clusters - 1) for replicates, clusters in parts])
    if not variances.any():
        return 0.0, 0.0
    shares = [variance**2 / (clusters - 1) for variance, (_, clusters) in zip(variances, parts, strict=True)]
    return float(variances.sum()), float(variances.sum() ** 2 / sum(shares))


def mean_estimate(values: ArrayLike, clusters: ArrayLike, draws: Draws, confidence: float) -> Estimate:
    """The mean of `values` (n,) with its cluster-bootstrap interval; `clusters` (n,) index the columns of `draws`."""
    column = np.asarray(values, dtype=np.float64)
    index = np.asarray(clusters, dtype=np.int64)
    if column.size == 0:
        return Estimate(np.nan, np.nan, np.nan, np.full(len(draws), np.nan))
    sums = np.bincount(index, weights=column, minlength=draws.shape[1])
    sizes = np.bincount(index, minlength=draws.shape[1])
    return estimate(float(column.mean()), ratio(draws @ sums, draws @ sizes), confidence, int((sizes > 0).sum()))


def side_by_side(parts: Sequence[Floats], sets: Sequence[Hashable] | None = None) -> Floats:
    """The mean of replicates of several data sets, float64 (resamples,).

    Sets of equally many clusters have the same draws from a seed; each goes on one further, so that they are drawn
    apart. `sets` names the set of each part, each its own by default: parts of one set keep the draws they share, as
    drawing them apart would take their figures for independent.
    """
    places: dict[Hashable, int] = {}
    of = [places.setdefault(one, len(places)) for one in (range(len(parts)) if sets is None else sets)]
    rolled = [np.roll(part, place) for place, part in zip(of, parts, strict=True)]
    return np.asarray(np.mean(rolled, axis=0), dtype=np.float64)


def paired_difference(ours: Estimate, theirs: Estimate, confidence: float) -> Difference:
    """Ours less theirs, from replicates that share their draws; the interval is widened as `estimate`'s is.

    p is twice the share of replicates on the other side of zero, zeros included: the level at which the percentile
    interval would just touch zero. One is added above and below, so that it is never zero (Davison and Hinkley, 1997,
    section 4.2).
    """
    value = ours.value - theirs.value
    replicates = ours.replicates - theirs.replicates
    finite = replicates[np.isfinite(replicates)]
    clusters = _clusters(ours, theirs)
    (least, most), (their_least, their_most) = _limits(ours.replicates), _limits(theirs.replicates)
    low, high = _interval(value, replicates, confidence, clusters, (least - their_most, most - their_least))
    # Differences of equal scores come out as rounding noise; noise must not look like evidence.
    beyond = min(np.count_nonzero(finite <= _NOISE), np.count_nonzero(finite >= -_NOISE))
    p = min(1.0, 2 * (beyond + 1) / (finite.size + 1))
    return Difference(value, low, high, max(p, few_clusters_p(value, [(replicates, clusters)])))


def paired_bootstrap(
    ours: ArrayLike,
    theirs: ArrayLike,
    clusters: Sequence[str] | ArrayLike,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """The mean difference of two scores of the same items, clustered by template.

    `ours`, `theirs` are (n,) and `clusters` names each item's template.

    Raises:
        ValueError: the lengths differ, or there are no items.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if not first.size or not first.shape == second.shape == index.shape:
        raise ValueError(f"paired scores of {first.shape}, {second.shape} for clusters {index.shape}")
    draws = cluster_draws(int(index.max()) + 1, resamples, seed)
    mine = mean_estimate(first, index, draws, confidence)
    return paired_difference(mine, mean_estimate(second, index, draws, confidence), confidence)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (1979) of p-values for the number of comparisons; order is kept."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Elementwise quotient, nan where the denominator is zero."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    quotient = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient


def _clusters(ours: Estimate, theirs: Estimate) -> int:
    """The fewer of both counts; 0 where one is unknown."""
    return min(ours.clusters, theirs.clusters)


def _interval(
    value: float, replicates: Floats, confidence: float, clusters: int, limits: tuple[float, float]
) -> tuple[float, float]:
    """The percentile interval, widened around `value` for few clusters (0: unknown) and kept within `limits`."""
    if clusters == 1:
        return np.nan, np.nan
    low, high = _percentiles(replicates, confidence)
    if not clusters or not np.isfinite([value, low, high]).all():
        return low, high
    tail = (1 + confidence) / 2
    distributions = require("scipy.stats", "embed")
    wider = float(distributions.t.ppf(tail, clusters - 1) / distributions.norm.ppf(tail))
    wider *= float(np.sqrt(clusters / (clusters - 1)))
    return max(limits[0], value - (value - low) * wider), min(limits[1], value + (high - value) * wider)


def _limits(replicates: Floats) -> tuple[float, float]:
    """A share stays one: the bounds that replicates keep within, widened ones keep within, too."""
    finite = replicates[np.isfinite(replicates)]
    least, most = (finite.min(), finite.max()) if finite.size else (-np.inf, np.inf)
    return (0.0 if least >= 0 else -np.inf), (1.0 if most <= 1 else np.inf)


def _percentiles(replicates: Floats, confidence: float) -> tuple[float, float]:
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0:
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return float(low), float(high)
