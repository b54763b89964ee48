"""How often each piece occurs, in bounded memory however many are unique, and texts that spell those counts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

LARGEST = 20 * 2**20
"""UTF-8 bytes of distinct pieces that are kept: `tokenizers` needs some 110 bytes to merge one of them."""
_REPEATS = 1 << 12


def count(pieces: Iterable[Iterable[str]], largest: int = LARGEST) -> Counter[str]:
    """Occurrences of each piece; exact as long as the distinct ones fit into `largest` bytes.

    Beyond that the rarest are dropped until half the room is free, after Manku and Motwani's lossy counting (2002):
    numbers that never come again go, words stay. A piece that was dropped and comes again counts from one.
    """
    counts: Counter[str] = Counter()
    size = 0
    for some in pieces:
        before = len(counts)
        counts.update(some)
        size += _bytes(islice(reversed(counts), len(counts) - before))
        rare = 1
        while size > (largest if rare == 1 else largest // 2):
            counts = Counter({piece: times for piece, times in counts.items() if times > rare})
            size = _bytes(counts)
            rare += 1
    return counts


def spelled(counts: Mapping[str, int], separator: str) -> Iterator[str]:
    """Texts in which each piece occurs as often as counted, with `separator` behind each; pieces that hold it are
    left out."""
    for piece, times in counts.items():
        if separator not in piece:
            for done in range(0, times, _REPEATS):
                yield (piece + separator) * min(_REPEATS, times - done)


def _bytes(pieces: Iterable[str]) -> int:
    return sum(len(piece.encode()) for piece in pieces)
