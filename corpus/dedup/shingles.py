"""Word shingles of many texts at once, as 64-bit hashes: the sets whose Jaccard similarity near-duplication means."""

import numpy as np
import numpy.typing as npt

from logfm.corpus.words import STEP, TextWords, Words, mixed


def shingle_sets(words: TextWords, size: int) -> tuple[Words, npt.NDArray[np.int64]]:
    """Distinct shingles of each text: hashes uint64 (all texts' sets, each sorted) and where each set begins.

    A shingle is `size` consecutive words (Broder 1997, "On the resemblance and containment of documents"); a text of
    fewer words is one shingle of all of them, and one without words a shingle of its bytes. `words` are those of some
    texts; the beginnings are int64 (texts + 1,). Memory: about 40 bytes a byte of text, so cut large batches with
    `pieces`.
    """
    hashes, starts = _shingles(words.hashes, words.first, size)
    return _distinct(hashes, starts)


def _shingles(words: Words, first: npt.NDArray[np.int64], size: int) -> tuple[Words, npt.NDArray[np.int64]]:
    counts = np.diff(first)
    full = np.maximum(counts - size + 1, 0)
    short = np.flatnonzero((counts > 0) & (full == 0))
    starts = np.concatenate(([0], np.cumsum(np.where(full > 0, full, counts > 0))))
    rolled = words[: max(0, len(words) - size + 1)].copy()
    for step in range(1, size):
        rolled *= STEP
        rolled += words[step : step + len(rolled)]
    hashes = np.empty(starts[-1], dtype=np.uint64)
    # +1 where a text's full shingles begin, -1 behind their last.
    marks = np.zeros(len(words) + 1, dtype=np.int64)
    has = full > 0
    np.add.at(marks, first[:-1][has], 1)
    np.add.at(marks, (first[:-1] + full)[has], -1)
    chosen = np.cumsum(marks[:-1]) > 0
    single = np.zeros(starts[-1], dtype=bool)
    single[starts[short]] = True
    hashes[~single] = rolled[chosen[: len(rolled)]]
    values = counts[short].astype(np.uint64)
    for step in range(size - 1):
        longer = counts[short] > step
        values[longer] = values[longer] * STEP + words[first[short[longer]] + step]
    hashes[starts[short]] = values
    return mixed(hashes), starts


def _distinct(hashes: Words, starts: npt.NDArray[np.int64]) -> tuple[Words, npt.NDArray[np.int64]]:
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        hashes[begin:end].sort()
    new = np.ones(len(hashes), dtype=bool)
    new[1:] = hashes[1:] != hashes[:-1]
    new[starts[:-1][starts[:-1] < len(hashes)]] = True
    kept = np.concatenate(([0], np.cumsum(new)))
    return hashes[new], kept[starts]
