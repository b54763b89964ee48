"""Euclidean distances between many vectors, never all of them in memory."""

import math
from collections.abc import Iterator

import numpy as np

# Elements of a block of distances: 64 MB in float32.
_BLOCK = 1 << 24
_SAMPLE = 1 << 20
# A sample's quantile of 10,000 hits is off by 1 % (one standard deviation): this margin is five of them.
_MARGIN = 1.05
# Edges of a graph: with both directions and what sorts them, about 3 GB.
_MOST = 1 << 25


def squared(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Squared distances, float32 (queries, vectors); both float32 (n, dim)."""
    found = queries @ vectors.T
    found *= -2
    found += np.einsum("nd,nd->n", queries, queries)[:, None]
    found += np.einsum("nd,nd->n", vectors, vectors)[None, :]
    return np.maximum(found, 0, out=found)


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices of `rows` whose distances to `width` vectors fill one block."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def nearest(queries: np.ndarray, vectors: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Distance of each query to its nearest vector, float64 (queries,).

    With `own`, int64 (queries,), each query is the vector of that row, and its nearest other is meant.
    """
    found = np.empty(len(queries), dtype=np.float64)
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    halves = np.einsum("nd,nd->n", vectors, vectors) / 2
    for part in blocks(len(queries), len(vectors)):
        mine = np.asarray(queries[part], dtype=np.float32)
        # What of a squared distance does not depend on the query alone, halved and negative: one pass less for each.
        nearness = mine @ vectors.T
        nearness -= halves
        if own is not None:
            nearness[np.arange(len(nearness)), own[part]] = -np.inf
        # A difference of products is off by the square root of float32's precision where two vectors are equal.
        found[part] = np.linalg.norm(mine - vectors[nearness.argmax(axis=1)], axis=1)
    return found


def closest_pairs(vectors: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The pairs of different rows with the smallest distances: int64 (2, pairs), the lower row first.

    Exactly `share` of all n(n-1)/2 pairs (rounded up), at every size. A random sample of pairs tells how far the
    search has to look, with a margin; one pass over blocks of distances keeps what lies that near, and drops the
    largest again whenever it holds twice as many as wanted, which lowers the limit; the nearest of what is left are
    taken. Where the sample misled (fewer pairs than wanted), the pass is repeated with a wider limit. Memory: one
    block of distances and 12 bytes for each of twice the wanted pairs; time O(n² dim).

    Raises:
        ValueError: fewer than two vectors, or more pairs than memory is meant for.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    total = len(rows) * (len(rows) - 1) // 2
    wanted = math.ceil(share * total)
    if not total:
        raise ValueError("a graph needs at least two different vectors")
    if wanted > _MOST:
        raise ValueError(f"{len(rows)} different vectors make {wanted} edges, more than {_MOST}")
    margin = _MARGIN
    while True:
        limit = _sampled(rows, min(1.0, share * margin), seed)
        distances, firsts, seconds = _within(rows, limit, wanted)
        if len(distances) >= wanted:
            break
        margin *= 1.5
    order = _smallest(distances, wanted)
    return np.stack((firsts[order], seconds[order])).astype(np.int64)


def _sampled(rows: np.ndarray, share: float, seed: int) -> float:
    """The squared distance that `share` of a sample of pairs does not exceed."""
    if share >= 1:
        return math.inf
    rng = np.random.default_rng(seed)
    firsts = rng.integers(0, len(rows), _SAMPLE)
    seconds = (firsts + rng.integers(1, len(rows), _SAMPLE)) % len(rows)
    found = np.empty(_SAMPLE, dtype=np.float32)
    step = max(1, _BLOCK // rows.shape[1])
    for start in range(0, _SAMPLE, step):
        part = slice(start, start + step)
        away = rows[firsts[part]] - rows[seconds[part]]
        found[part] = np.einsum("nd,nd->n", away, away)
    return float(np.quantile(found, share))


def _within(rows: np.ndarray, limit: float, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances (float32) and rows (int32) of the pairs up to `limit`, which falls as they become too many."""
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = 0
    for part in blocks(len(rows), len(rows)):
        distances = squared(rows[part], rows[part.start :])
        local, second = np.nonzero(distances <= limit)
        above = second > local
        local, second = local[above], second[above]
        kept.append((distances[local, second], (local + part.start).astype(np.int32),
                     (second + part.start).astype(np.int32)))  # fmt: skip
        held += len(local)
        if held > 2 * wanted + _SAMPLE:
            merged = _merged(kept)
            order = _smallest(merged[0], wanted)
            kept = [(merged[0][order], merged[1][order], merged[2][order])]
            held, limit = wanted, float(kept[0][0].max())
    return _merged(kept)


def _merged(kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    distances, firsts, seconds = zip(*kept, strict=True)
    return np.concatenate(distances), np.concatenate(firsts), np.concatenate(seconds)


def _smallest(distances: np.ndarray, wanted: int) -> np.ndarray:
    """Positions of the `wanted` smallest, in order of position; of equal ones the first."""
    if len(distances) <= wanted:
        return np.arange(len(distances))
    edge = np.partition(distances, wanted - 1)[wanted - 1]
    below = distances < edge
    ties = np.flatnonzero(distances == edge)[: wanted - int(below.sum())]
    below[ties] = True
    return np.flatnonzero(below)
