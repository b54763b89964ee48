"""Rankings of different kinds made into one."""

from collections.abc import Sequence

import numpy as np

CONSTANT = 60
"""How slowly places lose worth; the value of the paper."""


def reciprocal_rank_fusion(rankings: Sequence[np.ndarray], k: int) -> tuple[np.ndarray, np.ndarray]:
    """Fuse rankings of ids (int64, best first) into the `k` best: scores (float64) and ids.

    An id's score is the sum of 1 / (CONSTANT + its place) over the rankings that hold it (Cormack, Clarke & Buettcher,
    2009): places compare where a cosine and a BM25 score do not. Of equal ones the first of the first ranking leads.
    """
    every = np.concatenate(rankings)
    shares = np.concatenate([1.0 / (CONSTANT + 1 + np.arange(len(ranking))) for ranking in rankings])
    ids, first, owners = np.unique(every, return_index=True, return_inverse=True)
    scores = np.bincount(owners, weights=shares, minlength=len(ids))
    order = np.lexsort((first, -scores))[:k]
    return scores[order], ids[order]
