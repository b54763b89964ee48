"""What is new against a baseline: the distance of each event to the nearest normal one."""

from dataclasses import dataclass, replace

import numpy as np

from logfm.console import say
from logfm.embeddings.copies import nodes_of
from logfm.embeddings.heads.pairs import nearest
from logfm.embeddings.heads.scores import Scores, against
from logfm.embeddings.segments import normalised

# Events that the threshold comes from at most: the quantile of so many is off by a tenth of its share.
_SAMPLE = 10_000
# Pairs that take about a minute on two cores.
_MANY = 1 << 34


@dataclass(frozen=True, eq=False)
class Baseline:
    """Normal events, fitted once for any number of calls; safe to use from several threads."""

    directions: np.ndarray
    """Their different vectors, of length 1, float32 (n, dim + 1)."""
    fitted: np.ndarray
    """float64 (events,): distance of each to the nearest other one; a text that occurs twice is not new. Of more than
    10,000 events a random sample tells it, and it is NaN for the others."""
    contamination: float

    @classmethod
    def of(cls, vectors: np.ndarray, contamination: float, seed: int = 0) -> "Baseline":
        """Fit on float32 (events, dim). Time O(n · dim) a sampled event, over different vectors; memory one block."""
        directions = _directions(vectors)
        nodes, firsts = nodes_of(directions)
        different = directions[firsts]
        sampled = np.arange(len(vectors))
        if len(vectors) > _SAMPLE:
            sampled = np.sort(np.random.default_rng(seed).choice(len(vectors), _SAMPLE, replace=False))
        own = np.zeros(len(sampled))
        once = np.flatnonzero(np.bincount(nodes)[nodes[sampled]] == 1)
        if len(different) > 1 and len(once):
            rows = nodes[sampled[once]]
            own[once] = nearest(different[rows], different, rows)
        fitted = np.full(len(vectors), np.nan)
        fitted[sampled] = own
        return cls(different, fitted, contamination)

    def score(self, vectors: np.ndarray) -> Scores:
        """Euclidean distance, between vectors of length 1, of float32 (events, dim) to the nearest event; exact.

        The threshold comes from the baseline alone. Time O(events · n · dim) over different vectors.
        """
        directions = _directions(vectors)
        nodes, firsts = nodes_of(directions)
        if len(firsts) * len(self.directions) > _MANY:
            sizes = f"{len(firsts)} different events against {len(self.directions)}"
            say(f"{sizes}: this takes a while; a sample of the baseline takes less")
        found = nearest(directions[firsts], self.directions)[nodes]
        told = self.fitted[~np.isnan(self.fitted)]
        return replace(against(found, told, self.contamination), fitted=self.fitted)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; one of zeros (tfidf: no known word) is a direction of its own, as far from all as can be."""
    found = normalised(vectors)
    return np.hstack((found, (~found.any(axis=1, keepdims=True)).astype(np.float32)))
