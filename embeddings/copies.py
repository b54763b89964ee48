"""Equal vectors: a graph of neighbours holds each different one once, with the rows that have it.

A line that a stream repeats fills its own neighbourhood with copies, which link to nothing else: neither they nor what
lies beyond them would be found.
"""

import numpy as np

_CHUNK = 8192


def nodes_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the different vectors each row of float32 (rows, dim) has, and the first row of each.

    int32 (rows,) and int64 (nodes,); nodes are numbered in the order of their first rows. Reads chunks, so the vectors
    may lie on disk; memory is 40 bytes a row.
    """
    rows, dim = vectors.shape
    factors = np.random.default_rng(0).integers(1, 1 << 62, dim, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    marks = np.empty(rows, dtype=np.uint64)
    for start in range(0, rows, _CHUNK):
        part = np.ascontiguousarray(vectors[start : start + _CHUNK], dtype=np.float32)
        marks[start : start + len(part)] = part.view(np.uint32).astype(np.uint64) @ factors
    _, firsts, places = np.unique(marks, return_index=True, return_inverse=True)
    first = firsts[places.reshape(-1)]
    repeated = np.flatnonzero(first != np.arange(rows))
    for start in range(0, len(repeated), _CHUNK):
        some = repeated[start : start + _CHUNK]
        # Two vectors may share a mark by chance.
        other = some[(vectors[some] != vectors[first[some]]).any(axis=1)]
        first[other] = other
    starts, nodes = np.unique(first, return_inverse=True)
    return nodes.reshape(-1).astype(np.int32), starts


def members(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of node n, ascending, are `rows[starts[n]:starts[n + 1]]`; given the node of each row."""
    counts = np.bincount(nodes)
    return np.argsort(nodes, kind="stable"), np.concatenate(([0], np.cumsum(counts)))
