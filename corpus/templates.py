"""Hashes of texts with their values masked: what two lines share that differ in numbers, addresses and times only."""

from functools import cache

import numpy as np
import pyarrow as pa

from logfm.corpus.words import PIECE, Words, joined, pieces, words_of

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
          "mon", "tue", "wed", "thu", "fri", "sat", "sun", "utc", "gmt")  # fmt: skip
_CALENDAR = [name for short in _NAMES for name in (short, short.title(), short.upper())]
_DIGIT = np.isin(np.arange(256), np.frombuffer(b"0123456789", np.uint8))
_HEX = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdefABCDEF", np.uint8))


def template_hashes(texts: pa.Array) -> Words:
    """Hash of each text with its values masked, uint64 (len(texts),); `texts` is a string array without nulls.

    A value is a word with a digit in it (numbers, addresses, hex, parts of GUIDs and times), a name of the calendar,
    and a hex-only word of four letters or more that "-", ":" or "." joins to a value; values that only separators
    part count as one. Everything else, and the order, makes the template. A text without
    any word is hashed as it is.
    """
    return np.concatenate([*map(_hashes, pieces(texts, PIECE)), np.empty(0, np.uint64)])


def _hashes(texts: pa.Array) -> Words:
    words = words_of(texts)
    # A hex word (deadbeef, abcd) is a value where a single separator joins it to one.
    value = words.bytes_in(_DIGIT) > 0
    named = np.flatnonzero(words.length == 3)
    value[named] |= np.isin(words.hashes[named], _calendar())
    near = words.gap == 1
    hexed = (words.length >= 4) & (words.bytes_in(_HEX) == words.length)
    for _ in range(4):  # as many neighbours as a GUID has
        before = np.concatenate(([False], value[:-1])) & near
        after = np.concatenate((value[1:] & near[1:], [False]))
        value = value | (hexed & (before | after))
    first = np.zeros(len(value), dtype=bool)
    first[words.first[:-1][np.diff(words.first) > 0]] = True
    repeated = value & np.concatenate(([False], value[:-1])) & ~first
    masked = np.where(value, np.uint64(1), words.hashes)[~repeated]
    kept = np.concatenate(([0], np.cumsum(~repeated)))
    return joined(masked, kept[words.first])


@cache
def _calendar() -> Words:
    return words_of(pa.array(_CALENDAR)).hashes
