"""What every head gives: scores, higher is more abnormal, and a threshold that no label went into."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scores:
    """The outcome of a head."""

    scores: np.ndarray
    """float64 (events,), higher is more abnormal."""
    threshold: float
    """The score that at most the share `contamination` of the fitted events exceeds."""
    fitted: np.ndarray
    """float64 (baseline events,): the scores of the events that are normal, NaN where one was not judged; `scores`
    itself without a baseline."""


def against(scores: np.ndarray, fitted: np.ndarray | None, contamination: float) -> Scores:
    """Scores with the threshold of the events that count as normal, as PyOD takes it: their quantile.

    `fitted` holds the scores of a baseline; None where the events are their own.
    """
    own = scores if fitted is None else fitted
    threshold = float(np.percentile(own, 100 * (1 - contamination)))
    return Scores(scores.astype(np.float64), threshold, own.astype(np.float64))
