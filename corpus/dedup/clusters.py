"""The merging half of near-deduplication: candidates of every band, verified, to clusters around the rows kept."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from logfm.corpus.dedup.spill import Rows, Signatures

Parents = npt.NDArray[np.uint32]

_PART = 1 << 20  # keys sorted, or rows settled, at once
_MOST_LEADERS = 16  # rows of one bucket that others are compared with: bounds the work on a hostile bucket
_MOST_ROUNDS = 10
_AT_ONCE = 1 << 20  # shingles compared at once
_HIGHEST = np.uint64((1 << 64) - 1)
_REMEMBERED = (1 << 22) - 3  # pairs found too far apart that needn't be verified again: 32 MiB


def leaders(signatures: Signatures, threshold: float, chosen: npt.NDArray[np.bool_]) -> Parents:
    """The row each row is represented by, uint32 (rows,): itself if it is kept, else an earlier one that is kept.

    Rows that are not `chosen`, bool (rows,), represent themselves alone and nobody else.
    Every removed row has an exact Jaccard similarity of at least `threshold` with its representative. Rows meet where
    a band key is equal (locality-sensitive hashing); whether two rows are near-duplicates is decided on their shingle
    sets alone. A row whose representative is itself removed and too far from that one's representative is tried
    again, so chains don't grow. The result depends on the rows alone.
    """
    parent = np.arange(signatures.rows, dtype=np.uint32)
    open_rows = chosen
    refused = np.zeros(_REMEMBERED, dtype=np.uint64)
    for _ in range(_MOST_ROUNDS):
        _attach(signatures, threshold, parent, chosen, open_rows, refused)
        open_rows = _detach(signatures, threshold, parent)
        if not open_rows.any():
            break
    return parent


def _attach(
    signatures: Signatures,
    threshold: float,
    parent: Parents,
    chosen: npt.NDArray[np.bool_],
    open_rows: npt.NDArray[np.bool_],
    refused: npt.NDArray[np.uint64],
) -> None:
    """Give each open row that a band brings together with an earlier near-duplicate that one as its parent."""
    for band in range(signatures.bands):
        roots = chosen & own(parent)
        parts = max(1, -(-int(roots.sum()) // _PART))
        for part in range(parts):
            keys, rows = signatures.keys(band, roots, part, parts)
            _attach_buckets(signatures, threshold, parent, open_rows, refused, *_buckets(keys, rows, open_rows))


def _buckets(keys: npt.NDArray[np.uint64], rows: Rows, open_rows: npt.NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """Rows that share a key, of which one is open, bucket by bucket and ascending within; and their bucket numbers."""
    order = np.argsort(keys)
    keys, rows = keys[order], rows[order]
    same = np.concatenate(([False], keys[1:] == keys[:-1], [False]))
    shared = same[1:] | same[:-1]
    rows, buckets = rows[shared], np.cumsum(~same[:-1][shared])
    matters = np.bincount(buckets, open_rows[rows], minlength=1)[buckets] > 0
    rows, buckets = rows[matters], buckets[matters]
    order = np.lexsort((rows, buckets))
    return rows[order], buckets[order]


def _attach_buckets(
    signatures: Signatures,
    threshold: float,
    parent: Parents,
    open_rows: npt.NDArray[np.bool_],
    refused: npt.NDArray[np.uint64],
    rows: Rows,
    buckets: Rows,
) -> None:
    if not len(rows):
        return
    sketches = signatures.sketches(rows)
    least = _least_equal(threshold, signatures.width)
    for _ in range(_MOST_LEADERS):
        first = np.concatenate(([True], buckets[1:] != buckets[:-1]))
        leader = np.flatnonzero(first)[np.cumsum(first) - 1]
        # Of two settled rows it is known already.
        pairs = np.flatnonzero(~first & (open_rows[rows] | open_rows[rows[leader]]))
        if not len(pairs):
            return
        pairs = pairs[_equal(sketches, leader[pairs], pairs) >= least]
        pairs = pairs[~_known(refused, rows[leader[pairs]], rows[pairs])]
        verdict = near(signatures, rows[leader[pairs]], rows[pairs], threshold)
        _remember(refused, rows[leader[pairs[~verdict]]], rows[pairs[~verdict]])
        similar = pairs[verdict]
        parent[rows[similar]] = rows[leader[similar]]
        rest = ~first
        rest[similar] = False
        # A row alone in what is left of its bucket has nobody to be compared with.
        same = np.concatenate(([False], (buckets[rest][1:] == buckets[rest][:-1]), [False]))
        rest[rest] = same[1:] | same[:-1]
        rows, buckets, sketches = rows[rest], buckets[rest], sketches[rest]
        if not len(rows):
            return


def _known(refused: npt.NDArray[np.uint64], left: Rows, right: Rows) -> npt.NDArray[np.bool_]:
    """Which pairs were found too far apart before, as far as the table (one entry a slot) still knows."""
    keys = _pair_keys(left, right)
    return refused[keys % np.uint64(len(refused))] == keys


def _remember(refused: npt.NDArray[np.uint64], left: Rows, right: Rows) -> None:
    keys = _pair_keys(left, right)
    refused[keys % np.uint64(len(refused))] = keys


def _pair_keys(left: Rows, right: Rows) -> npt.NDArray[np.uint64]:
    """A number for each pair of rows that no other pair has, spread over the slots (rows stay below 2**32)."""
    return ((left.astype(np.uint64) << np.uint64(32)) | right.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)


def _least_equal(threshold: float, width: int) -> float:
    """Equal MinHash values below which a pair isn't verified: two standard deviations under the mean.

    The share of equal values estimates the Jaccard similarity without bias, binomially (Broder 1997); of the pairs
    that lie exactly at the threshold 2 % are given up, of those at 0.9 none.
    """
    return width * threshold - 2 * (width * threshold * (1 - threshold)) ** 0.5


def _equal(sketches: npt.NDArray[np.uint8], left: Rows, right: Rows) -> Rows:
    """Number of equal sketch bytes of each pair."""
    step = max(1, _AT_ONCE // max(1, sketches.shape[1]))
    found = [
        np.count_nonzero(sketches[left[low : low + step]] == sketches[right[low : low + step]], axis=1)
        for low in range(0, len(left), step)
    ]
    return np.concatenate([*found, np.empty(0, np.int64)])


def _detach(signatures: Signatures, threshold: float, parent: Parents) -> npt.NDArray[np.bool_]:
    """Point every row at the kept row of its chain; those that are too far from it stand alone again."""
    alone = np.zeros(len(parent), dtype=bool)
    moved = np.zeros(len(parent), dtype=bool)
    # A parent comes before its row: what lies before a piece is settled when the piece's turn comes.
    for start in range(0, len(parent), _PART):
        piece = parent[start : start + _PART]
        root = parent[piece]
        moved[start : start + _PART] = root != piece
        while not np.array_equal(root, piece):
            piece[:] = root
            root = parent[piece]
    # Judged only now: a row that stands alone again must not cut the chains that went through it.
    for start in range(0, len(parent), _PART):
        rows = np.flatnonzero(moved[start : start + _PART]) + start
        root = parent[rows]
        rows = rows[np.lexsort((rows, root))]
        alone[rows[~near(signatures, parent[rows].astype(np.int64), rows, threshold)]] = True
    rows = np.flatnonzero(alone)
    parent[rows] = rows
    return alone


def own(parent: Parents) -> npt.NDArray[np.bool_]:
    """Which rows are represented by themselves, bool (rows,)."""
    result = np.empty(len(parent), dtype=bool)
    for start in range(0, len(parent), _PART):
        piece = parent[start : start + _PART]
        result[start : start + _PART] = piece == np.arange(start, start + len(piece))
    return result


def near(signatures: Signatures, left: Rows, right: Rows, threshold: float) -> npt.NDArray[np.bool_]:
    """Whether the exact Jaccard similarity of each pair of rows reaches the threshold; equal `left` lie together."""
    sizes = signatures.sizes(left), signatures.sizes(right)
    result = np.zeros(len(left), dtype=bool)
    # The sizes alone bound the similarity.
    possible = np.flatnonzero(np.minimum(*sizes) >= threshold * np.maximum(*sizes))

    def verify(pairs: Rows) -> None:
        shared = _shared(signatures, left[pairs], right[pairs])
        result[pairs] = shared >= threshold * (sizes[0][pairs] + sizes[1][pairs] - shared)

    piece = np.cumsum(sizes[1][possible]) // _AT_ONCE
    pieces = np.split(possible, np.flatnonzero(np.diff(piece)) + 1) if len(possible) else []
    if len(pieces) < 2:
        list(map(verify, pieces))
        return result
    # Sums and searches over arrays let other threads run.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(verify, pieces))
    return result


def _shared(signatures: Signatures, left: Rows, right: Rows) -> Rows:
    """Number of shingles that both sets of each pair have."""
    new = np.concatenate(([True], left[1:] != left[:-1]))
    group = np.cumsum(new) - 1
    sizes, counts = signatures.sizes(left[new]), signatures.sizes(right)
    # Behind each leader's hashes a highest one, at which a search stops.
    wanted = np.insert(signatures.shingles(left[new]), np.cumsum(sizes), _HIGHEST)
    # Hashes are spread evenly, so their highest bits are a place in a table: two to four slots a shingle.
    bits = np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.int64) + 1
    shifts, tables = (64 - bits).astype(np.uint64), np.cumsum(1 << bits) - (1 << bits)
    slots = np.repeat(tables, sizes + 1) + (wanted >> np.repeat(shifts, sizes + 1)).astype(np.int64)
    begins = np.concatenate(([0], np.cumsum(np.bincount(slots, minlength=int((1 << bits).sum())))))
    del slots
    members = signatures.shingles(right)
    slots = (members >> np.repeat(shifts[group], counts)).astype(np.int64)
    slots += np.repeat(tables[group], counts)
    places = begins[slots]
    values = wanted[places]
    found = values == members
    later = np.flatnonzero(values < members)
    places = places[later]
    while len(later):
        places += 1
        values, searched = wanted[places], members[later]
        found[later[values == searched]] = True
        rest = np.flatnonzero(values < searched)
        later, places = later[rest], places[rest]
    return np.add.reduceat(found, np.cumsum(counts) - counts, dtype=np.int64)
