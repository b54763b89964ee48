"""BM25 over the terms of log events, beside the vectors: an analyst's exact address, path or id is found as written.

A segment's postings lie in blocks of NumPy arrays (never pickled, mapped into memory when searched). `bm25s` computes
them in the form of Lucene (Kamphuis et al., 2020; k1 = 1.5, b = 0.75); the rarity of a term is taken out of them and
put back at search time over the whole index, so that scores of segments compare.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from logfm.embeddings.nearest import Allowed
from logfm.extras import require

PREFIX = "bm25-"
_PARTS = ("terms", "starts", "rows", "weights")
# Term occurrences of a block, which bounds the memory of a build.
_BLOCK = 4_000_000
_JSON_ESCAPE = re.compile(r"\\(?:([\\/\"])|[a-z])")
_WHOLE = re.compile(r"[^\s\"'`()\[\]{}<>,;=|&?]+")
_PIECE = re.compile(r"[^/\\:@#]+")
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_WORD = re.compile(r"[^\W_]+")
_LONG = 80


def terms(text: str) -> list[str]:
    """The terms of an event or a query, in lower case: whole addresses, paths and ids, and their parts.

    `203.0.113.9:22` gives itself, `203.0.113.9` and every number. JSON escapes are undone in a JSON document.
    """
    if text[:1] in ("{", "[") and "\\" in text:
        text = _JSON_ESCAPE.sub(lambda found: found[1] or " ", text)
    # Long ones are rare in number and would fill the cache.
    split = ((_split if len(whole) <= _LONG else _split.__wrapped__)(whole) for whole in _WHOLE.findall(text.lower()))
    return [term for found in split for term in found]


@lru_cache(maxsize=65_536)
def _split(whole: str) -> tuple[str, ...]:
    whole = whole.strip(".!/\\-*~^+").rstrip(":")
    pieces = [piece.strip(".-") for piece in _PIECE.findall(whole)]
    found = [whole, *pieces, *_IPV4.findall(whole), *_WORD.findall(whole)]
    return tuple(term for term in dict.fromkeys(found) if _WORD.search(term))


@dataclass
class WordWriter:
    """Writes the postings of a segment, block by block."""

    folder: Path
    _rows: int = 0
    _size: int = 0
    _blocks: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _events: list[list[int]] = field(default_factory=list)

    def add(self, texts: Iterable[str]) -> None:
        """Take the next events of the segment."""
        numbers = self._numbers
        for text in texts:
            event = [numbers.setdefault(term, len(numbers)) for term in terms(text)]
            self._events.append(event)
            self._size += len(event)
        if self._size >= _BLOCK:
            self._flush()

    def close(self) -> None:
        """Write what is left; a segment without a single word gets an empty block."""
        if self._numbers or not self._blocks:
            self._flush()

    def _flush(self) -> None:
        for name, array in zip(_PARTS, _block(self._numbers, self._events, self._rows), strict=True):
            np.save(_path(self.folder, self._blocks, name), array, allow_pickle=False)
        self._blocks += 1
        self._rows += len(self._events)
        self._numbers, self._events, self._size = {}, [], 0


@dataclass(frozen=True)
class _Block:
    terms: np.ndarray
    """uint64 (terms,), ascending hashes."""
    starts: np.ndarray
    """int64 (terms + 1,): where the postings of each term begin."""
    rows: np.ndarray
    """int32 (postings,): rows of the segment."""
    weights: np.ndarray
    """float32 (postings,): the part of BM25 that depends on the event, in [0, 1)."""

    def postings(self, term: int) -> slice:
        """Where a term's postings are; empty where it has none."""
        place = int(np.searchsorted(self.terms, np.uint64(term)))
        if place == len(self.terms) or int(self.terms[place]) != term:
            return slice(0, 0)
        return slice(int(self.starts[place]), int(self.starts[place + 1]))


@dataclass(frozen=True, eq=False)
class Words:
    """The postings of one segment; safe to read from several threads."""

    rows: int
    _blocks: list[_Block] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, rows: int) -> "Words":
        """Map the postings of a segment of `rows` events into memory."""
        blocks = []
        for number in range(len(list(folder.glob(f"{PREFIX}*.terms.npy")))):
            paths = (_path(folder, number, name) for name in _PARTS)
            blocks.append(_Block(*(np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)))
        return cls(rows, blocks)


def best(
    segments: Sequence[Words], query: str, k: int, allowed: Sequence[Allowed | None]
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` events that match a query best, over all segments: scores (float32) and ids (int64), best first.

    An id counts rows through all segments; `allowed` holds the rows of each segment that may be found, None for all.
    Events that share no term with the query are never returned.
    """
    wanted = [_hash(term) for term in dict.fromkeys(terms(query))]
    places = [[[block.postings(term) for term in wanted] for block in words._blocks] for words in segments]
    counts = np.zeros(len(wanted), dtype=np.int64)
    for blocks in places:
        for slices in blocks:
            counts += np.array([found.stop - found.start for found in slices], dtype=np.int64)
    rarity = _rarity(counts, sum(words.rows for words in segments))
    scores, ids, first = [], [], 0
    for words, blocks, rows_allowed in zip(segments, places, allowed, strict=True):
        found = np.zeros(words.rows, dtype=np.float32)
        for block, slices in zip(words._blocks, blocks, strict=True):
            for part, factor in zip(slices, rarity, strict=True):
                found[block.rows[part]] += factor * block.weights[part]
        if rows_allowed is not None:
            found *= rows_allowed.mask
        rows = np.flatnonzero(found)
        if len(rows) > k:
            # Of equal scores the first rows count, as in the order of the end: fewer hits are the beginning of more.
            values = found[rows]
            least = np.partition(values, -k)[-k]
            rows = np.append(rows[values > least], rows[values == least][:k])
        scores.append(found[rows])
        ids.append(rows + first)
        first += words.rows
    return _top(np.concatenate(scores), np.concatenate(ids), k)


def _top(scores: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((ids, -scores))[:k]
    return scores[order], ids[order]


def _block(numbers: dict[str, int], events: list[list[int]], first: int) -> tuple[np.ndarray, ...]:
    """Terms, starts, rows and weights of a block whose first event is row `first` of its segment."""
    hashes = np.array([_hash(term) for term in numbers], dtype=np.uint64)
    order = np.argsort(hashes)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    ranks = places.tolist()
    if not numbers:
        return hashes, np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)
    model = require("bm25s", "embed").BM25(method="lucene")
    scores = model.build_index_from_ids(
        range(len(ranks)), [[ranks[number] for number in event] for event in events], show_progress=False
    )
    starts = scores["indptr"].astype(np.int64)
    counts = np.diff(starts)
    weights = scores["data"] / np.repeat(_rarity(counts, len(events)), counts)
    return hashes[order], starts, (scores["indices"] + first).astype(np.int32), weights.astype(np.float32)


def _rarity(counts: np.ndarray, events: int) -> np.ndarray:
    """Inverse document frequency as Lucene has it, float32, of terms in so many events."""
    return np.log1p((events - counts + 0.5) / (counts + 0.5)).astype(np.float32)


def _hash(term: str) -> int:
    """64 bits of a term: among ten million, one pair in half a million indexes is taken for the same."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _path(folder: Path, block: int, part: str) -> Path:
    return folder / f"{PREFIX}{block:04}.{part}.npy"
