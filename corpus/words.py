"""The words of many texts at once, as 64-bit hashes: what shingles and templates are made of."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]

# A word is a run of ASCII letters, digits, "_" and of bytes beyond ASCII; everything else separates.
_WORD = np.zeros(256, dtype=bool)
_WORD[[*range(48, 58), *range(65, 91), 95, *range(97, 123), *range(128, 256)]] = True
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that its powers have inverses modulo 2**64
_INVERSE = np.uint64(pow(int(_BASE), -1, 1 << 64))
STEP = np.uint64(0xD6E8FEB86659FD93)
_VALUES = np.random.default_rng(20261121).integers(0, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
PIECE = 1 << 17  # bytes of text worth hashing at once: the arrays stay in the cache, which is five times as fast
_powers: dict[int, Words] = {}


class TextWords(NamedTuple):
    """The words of consecutive texts: hashes uint64 (words,), first int64 (texts + 1,), places in the bytes `data`."""

    hashes: Words
    first: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @property
    def length(self) -> npt.NDArray[np.int64]:
        """Bytes of each word, int64 (words,)."""
        return self.ends - self.starts

    @property
    def gap(self) -> npt.NDArray[np.int64]:
        """Bytes between each word and the one before it, int64 (words,)."""
        return self.starts - np.concatenate(([-1], self.ends[:-1]))[: len(self.starts)]

    def bytes_in(self, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """How many bytes of each word the table bool (256,) names, int64 (words,)."""
        sums = np.concatenate(([0], np.cumsum(wanted[self.data])))
        return sums[self.ends] - sums[self.starts]


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


def words_of(texts: pa.Array) -> TextWords:
    """The words of a string array without nulls; a text without any counts as one word."""
    data, begins = _buffers(texts)
    inside = np.concatenate((_WORD[data], [False]))
    edge = np.zeros(len(inside), dtype=bool)
    edge[begins] = True
    counted = np.concatenate(([0], np.cumsum(inside)))
    for text in np.flatnonzero(counted[begins[1:]] == counted[begins[:-1]]):
        inside[begins[text] : begins[text + 1]] = True
    before = np.concatenate(([False], inside[:-1]))
    starts = np.flatnonzero(inside & (~before | edge))
    ends = np.flatnonzero(before & (~inside | edge))
    powers, inverses = _power(_BASE, len(data)), _power(_INVERSE, len(data))
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(_VALUES[data] * powers[:-1])))
    hashes = mixed((sums[ends] - sums[starts]) * inverses[starts])
    return TextWords(hashes, np.searchsorted(starts, begins), data, starts, ends)


def joined(words: Words, first: npt.NDArray[np.int64]) -> Words:
    """Hash of each sequence of words, uint64 (len(first) - 1,), from where each begins; order and length count."""
    places = np.arange(len(words)) - np.repeat(first[:-1], np.diff(first))
    powers = _power(STEP, int(places.max(initial=0)) + 1)
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed(words * powers[places + 1]))))
    return mixed(sums[first[1:]] - sums[first[:-1]] + np.diff(first).astype(np.uint64))


def mixed(values: Words) -> Words:
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
    return known[: count + 1]
