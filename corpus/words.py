"""The words of many texts at once, as 64-bit hashes: what shingles and templates are made of."""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Words = npt.NDArray[np.uint64]
STEP = np.uint64(0xD6E8FEB86659FD93)
PIECE = 1 << 17  # bytes of text worth hashing at once: the arrays stay in the cache, which is five times as fast

LONG = 64  # bytes beyond which a run is no word of a language but an encoding

# A word is a run of ASCII letters, digits, "_" and of bytes beyond ASCII; everything else separates.
_WORD = np.zeros(256, dtype=bool)
_WORD[[*range(48, 58), *range(65, 91), 95, *range(97, 123), *range(128, 256)]] = True
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_BEGUN = np.array([(1 << 8 * size) - 1 for size in range(9)], dtype=np.uint64)
_powers: dict[int, Words] = {}


class TextWords(NamedTuple):
    """The words of consecutive texts: hashes uint64 (words,) and first int64 (texts + 1,), each text's first word.

    `starts` and `ends`, int64 (words,), are places in `eights`, which has the eight bytes from each place on, uint64.
    """

    hashes: Words
    first: npt.NDArray[np.int64]
    eights: Words
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

    def digits(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Whether each word has a decimal digit, and whether it is made of hexadecimal ones alone: bool (words,).

        Of a word longer than LONG the beginning decides.
        """
        some = np.zeros(len(self.starts), dtype=bool)
        every = np.ones(len(self.starts), dtype=bool)
        for rows, eight, size in _chunks(self.eights, self.starts, self.ends):
            digit, letter = _digits(eight), _hex_letters(eight)
            some[rows] |= digit != 0
            # Bytes behind the word count as if they were digits.
            every[rows] &= (digit | letter | (~_BEGUN[size] & _HIGH)) == _HIGH
        return some, every


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
    padded = np.zeros(len(data) + 8, dtype=np.uint8)
    padded[: len(data)] = data
    eights = np.ndarray(len(data) + 1, dtype="<u8", buffer=padded.data, strides=(1,))
    inside = np.zeros(len(data) + 2, dtype=bool)
    inside[1:-1] = _WORD[data]
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    # Where a text ends with a word and the next begins with one.
    joints = np.unique(begins[inside[begins] & inside[begins + 1]])
    starts, ends = _with(changes[::2], joints), _with(changes[1::2], joints)
    first = np.searchsorted(starts, begins)
    bare = np.flatnonzero((first[1:] == first[:-1]) & (begins[1:] > begins[:-1]))
    if len(bare):
        starts, ends = _with(starts, begins[bare]), _with(ends, begins[bare + 1])
        first = np.searchsorted(starts, begins)
    hashes = (ends - starts).astype(np.uint64) * STEP
    for rows, eight, _ in _chunks(eights, starts, ends):
        hashes[rows] = mixed(hashes[rows] ^ eight)
    for word in np.flatnonzero(ends - starts > LONG).tolist():
        rest = padded[starts[word] + LONG : ends[word]].data
        hashes[word] ^= np.uint64(int.from_bytes(hashlib.blake2b(rest, digest_size=8).digest(), "little"))
    return TextWords(hashes, first, eights, starts, ends)


def _with(places: npt.NDArray[np.int64], more: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.sort(np.concatenate((places, more))) if len(more) else places


def _chunks(
    eights: Words, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Iterator[tuple[Any, Words, npt.NDArray[np.int64]]]:
    """Of all words their first eight bytes, of longer ones the next eight, and so on up to LONG: rows, bytes, sizes."""
    rows: Any = slice(None)
    places, left = starts, np.minimum(ends - starts, LONG)
    while len(places):
        size = np.minimum(left, 8)
        yield rows, eights[places] & _BEGUN[size], size
        more = np.flatnonzero(left > 8)
        rows = more if isinstance(rows, slice) else rows[more]
        places, left = places[more] + 8, left[more] - 8


def _digits(eight: Words) -> Words:
    """The high bit of each byte that is an ASCII digit."""
    folded = eight ^ (np.uint64(0x30) * _ONES)
    return ~(((folded & _LOW) + np.uint64(0x76) * _ONES) | folded) & _HIGH


def _hex_letters(eight: Words) -> Words:
    """The high bit of each byte that is one of the letters a to f, of either case."""
    folded = (eight | (np.uint64(0x20) * _ONES)) ^ (np.uint64(0x60) * _ONES)
    low = folded & _LOW
    return (low + np.uint64(0x7F) * _ONES) & ~((low + np.uint64(0x79) * _ONES) | folded) & _HIGH


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
