"""Lines that are copies of each other: equal ones, and those that differ in their values only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from logfm.evaluation.anomaly.duplicates import masked

Rows = NDArray[np.int64]


def firsts(values: Sequence[str] | NDArray[np.uint64]) -> Rows:
    """Rows at which a value occurs for the first time, int64, ascending."""
    _, first = np.unique(np.asarray(values), return_index=True)
    return np.sort(first).astype(np.int64)


def one_of_each(hashes: NDArray[np.uint64], seed: int) -> Rows:
    """One randomly drawn row of each hash, int64, ascending."""
    order = np.random.default_rng(seed).permutation(len(hashes))
    return np.sort(order[firsts(hashes[order])])


def sampled(rows: Rows, most: int | None, seed: int) -> Rows:
    """At most so many of the rows, drawn by seed, ascending."""
    if most is None or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, size=most, replace=False))


__all__ = ["Rows", "firsts", "masked", "one_of_each", "sampled"]
