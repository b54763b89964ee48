"""What is new against a baseline: the distance of each event to the nearest normal one."""

from dataclasses import dataclass

import numpy as np

from logfm.embeddings.heads.pairs import nearest
from logfm.embeddings.heads.scores import Scores, against
from logfm.embeddings.segments import normalised


@dataclass(frozen=True, eq=False)
class Baseline:
    """Normal events, fitted once for any number of calls; safe to use from several threads."""

    directions: np.ndarray
    """Their different vectors, of length 1, float32 (n, dim + 1)."""
    fitted: np.ndarray
    """float64 (events,): distance of each to the nearest other one; a text that occurs twice is not new."""
    contamination: float

    @classmethod
    def of(cls, vectors: np.ndarray, contamination: float) -> "Baseline":
        """Fit on float32 (events, dim). Time O(n² · dim) over different vectors, memory one block."""
        different, places, times = np.unique(_directions(vectors), axis=0, return_inverse=True, return_counts=True)
        own = np.zeros(len(different))
        if len(different) > 1:
            own = np.where(times > 1, 0.0, nearest(different, different, skip_self=True))
        return cls(different, own[places.reshape(-1)], contamination)

    def score(self, vectors: np.ndarray) -> Scores:
        """Euclidean distance, between vectors of length 1, of float32 (events, dim) to the nearest event; exact.

        The threshold comes from the baseline alone. Time O(events · n · dim) over different vectors.
        """
        different, places = np.unique(_directions(vectors), axis=0, return_inverse=True)
        return against(nearest(different, self.directions)[places.reshape(-1)], self.fitted, self.contamination)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; one of zeros (tfidf: no known word) is a direction of its own, as far from all as can be."""
    found = normalised(vectors)
    return np.hstack((found, (~found.any(axis=1, keepdims=True)).astype(np.float32)))
