"""What every head gives: scores, higher is more abnormal, and a threshold that no label went into."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The outcome of a head."""

    scores: np.ndarray
    """float64 (events,), higher is more abnormal."""
    threshold: float
    """The score that at most the share `contamination` of the fitted events exceeds; a detector of PyOD has its own, an
    interpolated quantile, which one event more may exceed."""
    fitted: np.ndarray
    """float64 (baseline events,): the scores of the events that are normal, NaN where one was not judged; `scores`
    itself without a baseline."""


def against(scores: np.ndarray, fitted: np.ndarray | None, contamination: float) -> Scores:
    """Scores with the threshold of the events that count as normal: the lowest of their scores that at most the share
    `contamination` of them exceeds.

    `fitted` holds the scores of a baseline; None where the events are their own.
    """
    own = scores if fitted is None else fitted
    # Interpolated, as PyOD takes it, it would lie below the highest of a few: one of ten normal events would exceed it.
    threshold = float(np.percentile(own, 100 * (1 - contamination), method="inverted_cdf"))
    return Scores(scores.astype(np.float64), threshold, own.astype(np.float64))
