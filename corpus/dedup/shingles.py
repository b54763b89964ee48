"""Word shingles of many texts at once, as 64-bit hashes: the sets whose Jaccard similarity near-duplication means."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

# A word is a run of ASCII letters, digits, "_" and of bytes beyond ASCII; everything else separates.
_WORD = np.zeros(256, dtype=bool)
_WORD[[*range(48, 58), *range(65, 91), 95, *range(97, 123), *range(128, 256)]] = True
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that its powers have inverses modulo 2**64
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
_STEP = np.uint64(0xD6E8FEB86659FD93)
_VALUES = np.random.default_rng(20261121).integers(0, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_powers: dict[int, Words] = {}


def shingle_sets(texts: pa.Array, size: int) -> tuple[Words, npt.NDArray[np.int64]]:
    """Distinct shingles of each text: hashes uint64 (all texts' sets, each sorted) and where each set begins.

    A shingle is `size` consecutive words (Broder 1997, "On the resemblance and containment of documents"); a text of
    fewer words is one shingle of all of them, and one without words a shingle of its bytes. `texts` is a string array
    without nulls; the beginnings are int64 (len(texts) + 1,). Memory: about 40 bytes a byte of text, so cut large
    batches with `pieces`.
    """
    data, begins = _buffers(texts)
    words, first = _words(data, begins)
    hashes, starts = _shingles(words, first, size)
    return _distinct(hashes, starts)


def pieces(texts: pa.Array, most: int) -> list[pa.Array]:
    """The array in consecutive slices of at most `most` bytes of text each, one text at least."""
    if not len(texts):
        return []
    _, begins = _buffers(texts)
    cuts = [0]
    while cuts[-1] < len(texts):
        end = int(np.searchsorted(begins, begins[cuts[-1]] + most, side="right")) - 1
        cuts.append(min(len(texts), max(end, cuts[-1] + 1)))
    return [texts.slice(start, end - start) for start, end in itertools.pairwise(cuts)]


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """UTF-8 bytes of all texts and where each begins in them, without a copy of the bytes."""
    _, offsets, data = texts.buffers()
    begins = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1, offset=4 * texts.offset).astype(np.int64)
    whole = np.frombuffer(data, dtype=np.uint8) if data is not None else np.empty(0, np.uint8)
    return whole[begins[0] : begins[-1]], begins - begins[0]


def _words(data: npt.NDArray[np.uint8], begins: npt.NDArray[np.int64]) -> tuple[Words, npt.NDArray[np.int64]]:
    """Hash of each word, and the number of the first word of each text (and the end)."""
    inside = np.concatenate((_WORD[data], [False]))
    edge = np.zeros(len(inside), dtype=bool)
    edge[begins] = True
    # Of a text without any word, all bytes are one.
    counted = np.concatenate(([0], np.cumsum(inside)))
    bare = np.flatnonzero(counted[begins[1:]] == counted[begins[:-1]])
    for text in bare:
        inside[begins[text] : begins[text + 1]] = True
    before = np.concatenate(([False], inside[:-1]))
    starts = np.flatnonzero(inside & (~before | edge))
    ends = np.flatnonzero(before & (~inside | edge))
    powers, inverses = _power(_BASE, len(data)), _power(_INVERSE, len(data))
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(_VALUES[data] * powers)))
    words = _mixed((sums[ends] - sums[starts]) * inverses[starts])
    return words, np.searchsorted(starts, begins)


def _shingles(words: Words, first: npt.NDArray[np.int64], size: int) -> tuple[Words, npt.NDArray[np.int64]]:
    counts = np.diff(first)
    full = np.maximum(counts - size + 1, 0)
    short = np.flatnonzero((counts > 0) & (full == 0))
    starts = np.concatenate(([0], np.cumsum(np.where(full > 0, full, counts > 0))))
    rolled = words[: max(0, len(words) - size + 1)].copy()
    for step in range(1, size):
        rolled *= _STEP
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
        values[longer] = values[longer] * _STEP + words[first[short[longer]] + step]
    hashes[starts[short]] = values
    return _mixed(hashes), starts


def _distinct(hashes: Words, starts: npt.NDArray[np.int64]) -> tuple[Words, npt.NDArray[np.int64]]:
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        hashes[begin:end].sort()
    new = np.ones(len(hashes), dtype=bool)
    new[1:] = hashes[1:] != hashes[:-1]
    new[starts[:-1][starts[:-1] < len(hashes)]] = True
    kept = np.concatenate(([0], np.cumsum(new)))
    return hashes[new], kept[starts]


def _mixed(values: Words) -> Words:
    """The finaliser of SplitMix64: every bit of the input moves every bit of the output."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _power(base: np.uint64, count: int) -> Words:
    """Powers 0 to `count` of a number modulo 2**64."""
    known = _powers.get(int(base))
    if known is None or len(known) <= count:
        factors: Any = np.full(max(count + 1, 1 << 16), base, dtype=np.uint64)
        factors[0] = 1
        known = _powers[int(base)] = np.cumprod(factors, dtype=np.uint64)
    return known[:count] if base == _BASE else known[: count + 1]
