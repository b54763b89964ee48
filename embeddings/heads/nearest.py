"""What is new against a baseline: the distance of each event to the nearest normal one."""

import numpy as np

from logfm.embeddings.heads.pairs import nearest
from logfm.embeddings.heads.scores import Scores, against
from logfm.embeddings.segments import normalised


def distances(vectors: np.ndarray, baseline: np.ndarray, contamination: float) -> Scores:
    """Euclidean distance, between vectors of length 1, to the nearest event of the baseline; exact.

    The threshold comes from the baseline alone: each of its events against the nearest other one, so a text that
    occurs twice there is not new to it. Time O(events · baseline · dim) over different vectors, memory one block.
    """
    normal, of_normal, times = np.unique(_directions(baseline), axis=0, return_inverse=True, return_counts=True)
    fresh, of_fresh = np.unique(_directions(vectors), axis=0, return_inverse=True)
    own = np.zeros(len(normal))
    if len(normal) > 1:
        own = np.where(times > 1, 0.0, nearest(normal, normal, skip_self=True))
    return against(nearest(fresh, normal)[of_fresh.reshape(-1)], own[of_normal.reshape(-1)], contamination)


def _directions(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1; one of zeros (tfidf: no known word) is a direction of its own, as far from all as can be."""
    found = normalised(vectors)
    return np.hstack((found, (~found.any(axis=1, keepdims=True)).astype(np.float32)))
