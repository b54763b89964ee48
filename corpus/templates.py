"""Hashes of texts with their values masked: what two lines share that differ in numbers, addresses and times only."""

from functools import cache

import numpy as np
import pyarrow as pa

from logfm.corpus.words import LONG, PIECE, TextWords, Words, joined, pieces, words_of

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
          "mon", "tue", "wed", "thu", "fri", "sat", "sun", "utc", "gmt")  # fmt: skip
_CALENDAR = [name for short in _NAMES for name in (short, short.title(), short.upper())]


def template_hashes(texts: pa.Array) -> Words:
    """Hash of each text with its values masked, uint64 (len(texts),); `texts` is a string array without nulls.

    A value is a word with a digit in it (numbers, addresses, hex, parts of GUIDs and times), a name of the calendar, a
    run too long for a word (an encoding), and a hex-only word of four letters or more that a single separator ties to
    a value; values with separators alone between them count as one. Everything else, and the order, makes the
    template. A text without any word is hashed as it is.
    """
    found = (templates_of(words_of(piece)) for piece in pieces(texts, PIECE))
    return np.concatenate([*found, np.empty(0, np.uint64)])


def templates_of(words: TextWords) -> Words:
    """The same of texts whose words are at hand."""
    value, hexed = words.digits()
    value |= words.length > LONG
    named = np.flatnonzero(words.length == 3)
    value[named] |= np.isin(words.hashes[named], _calendar())
    first = np.zeros(len(value) + 1, dtype=bool)
    first[words.first] = True
    # Whether one separator, and no border between texts, lies before each word.
    tied = np.append(words.gap == 1, False) & ~first
    loose = np.flatnonzero(hexed & ~value & (words.length >= 4))
    value = np.append(value, False)
    for _ in range(4):  # as many neighbours as a GUID has
        value[loose] |= (tied[loose] & value[loose - 1]) | (tied[loose + 1] & value[loose + 1])
    value = value[:-1]
    repeated = value & np.concatenate(([False], value[:-1])) & ~first[:-1]
    masked = np.where(value, np.uint64(1), words.hashes)[~repeated]
    kept = np.concatenate(([0], np.cumsum(~repeated)))
    return joined(masked, kept[words.first])


@cache
def _calendar() -> Words:
    return words_of(pa.array(_CALENDAR)).hashes
