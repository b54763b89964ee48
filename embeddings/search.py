"""Search an index by meaning, by words or by both; exact SQL filters; hits that lead back to file and byte."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np

from logfm.artifacts import MANIFEST, Manifest, file_hash, read_manifest
from logfm.configs.schema.embeddings import EncoderConfig, IndexConfig
from logfm.embeddings import bm25
from logfm.embeddings.embed import reading_of
from logfm.embeddings.encoder import LogEncoder, another, checked
from logfm.embeddings.filters import Filter, matching
from logfm.embeddings.fusion import reciprocal_rank_fusion
from logfm.embeddings.nearest import Allowed, Vectors
from logfm.embeddings.segments import EVENTS, FAISS, deleted, normalised
from logfm.embeddings.sidecar import Record, Sidecar
from logfm.errors import UserError

STAGE = "index"
ENCODER = "encoder"
"""Folder inside an index for an encoder that exists nowhere else (fitted tfidf)."""
Mode = Literal["vector", "bm25", "hybrid"]
# Places of each ranking that hybrid search fuses, at least.
_DEPTH = 100
# An index is read again, so often at most, where it was changed meanwhile.
_ATTEMPTS = 5
# Of the ranking by words, hybrid search takes what scores at least this share of the best: events that share only
# fragments of an address with the query would otherwise beat the address itself by their place among the vectors.
_WORDS = 0.7


@dataclass(slots=True)
class Hit:
    """One event found. `score` is the cosine of its vector and the query's in [-1, 1] by vector, its BM25 score by
    bm25, and the sum of its reciprocal ranks by hybrid."""

    score: float
    event_id: str
    text: str
    source: str
    file: str
    offset: int
    timestamp: datetime | None
    host: str | None


@dataclass(frozen=True)
class _Segment:
    vectors: Vectors
    sidecar: Sidecar
    words: bm25.Words | None
    alive: Allowed | None
    """The rows that were not deleted; None where none was."""


@dataclass(frozen=True, eq=False)
class Index:
    """An opened index; safe to search from several threads.

    What is added or deleted later is not seen: it answers as it did, whatever becomes of its files, until it is opened
    again.
    """

    path: Path
    manifest: Manifest
    encoder: LogEncoder
    _segments: list[_Segment] = field(repr=False)
    _manifest_file: bytes = field(repr=False)
    """What the manifest was read from, as it was."""

    @classmethod
    def open(cls, path: str | Path, encoder: LogEncoder | str | Path | None = None) -> "Index":
        """Open an index with its own encoder, with the same one that is loaded already, or under another name (a URI,
        opened with the options that the index was built with).

        Every file is compared with its SHA-256 before it is read.

        Raises:
            UserError: not an index, damaged, the encoder is another or cannot be loaded.
        """
        folder = Path(path)
        for attempt in range(_ATTEMPTS):
            before = _listed(folder)
            try:
                manifest = read_index(folder)
                verify(folder, manifest)
                names = segments_of(manifest)
                segments = [_open(folder, manifest, name, len(names)) for name in names]
                break
            except (UserError, OSError):
                # The second change since the manifest was read removes what the first one replaced.
                if attempt + 1 == _ATTEMPTS or _listed(folder) == before:
                    raise
        return cls(folder, manifest, encoder_of(folder, manifest, encoder), segments, before)

    @property
    def outdated(self) -> bool:
        """Whether the index was changed since it was opened."""
        return _listed(self.path) != self._manifest_file

    @property
    def events(self) -> int:
        """Number of events that can be found."""
        return sum(segment.vectors.rows if segment.alive is None else segment.alive.count for segment in self._segments)

    @property
    def has_words(self) -> bool:
        """Whether the index can be searched by words, and so in both ways at once."""
        return all(segment.words is not None for segment in self._segments)

    @property
    def usual_mode(self) -> Mode:
        """How it is searched where nothing is said."""
        return "hybrid" if self.has_words else "vector"

    def search(
        self,
        query: str,
        k: int = 10,
        where: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        mode: Mode | None = None,
    ) -> list[Hit]:
        """The `k` events that answer a text best, best first; fewer where fewer are allowed.

        `where` is an SQL condition over the columns of `embed.KEYS`, such as `host = 'web1' AND timestamp >
        '2024-05-01'` (times are UTC); `since` is included, `until` is not. `mode` ranks by meaning ("vector"), by
        words ("bm25", which returns only events that share one with the query), or by both ("hybrid"), which is the
        default where the index has words.

        Raises:
            UserError: `k` below 1, an empty query, an unknown mode, a condition that DuckDB refuses, a `since` that is
                not before `until`, or words of an index that was built without them.
        """
        return self.search_texts([query], k, where, since=since, until=until, mode=mode)[0]

    def search_texts(
        self,
        queries: Sequence[str],
        k: int = 10,
        where: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        mode: Mode | None = None,
    ) -> list[list[Hit]]:
        """`search` for each of several texts, which is faster than one by one.

        Raises:
            UserError: as `search`.
        """
        mode = self.usual_mode if mode is None else known_mode(mode)
        k = _check(k)
        queries = checked(queries)
        if not all(query.strip() for query in queries):
            raise UserError("the query is empty")
        allowed = self._allowed(Filter(where, since, until))
        if mode == "vector":
            return self._search_vectors(self.encoder.encode(queries), k, allowed)
        depth = k if mode == "bm25" else max(k, _DEPTH)
        words = self._words
        found = [bm25.best(words, query, depth, allowed) for query in queries]
        if mode == "hybrid":
            nearest = self._nearest(normalised(self.encoder.encode(queries)), depth, allowed)
            words_ids = (ids[scores >= _WORDS * scores.max(initial=0)] for scores, ids in found)
            pairs = zip(nearest[1], words_ids, strict=True)
            found = [reciprocal_rank_fusion([ids, near[near >= 0]], k) for near, ids in pairs]
        return self._hits([scores for scores, _ in found], [ids for _, ids in found])

    def search_vectors(
        self,
        vectors: np.ndarray,
        k: int = 10,
        where: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[list[Hit]]:
        """`search` by meaning for each row of float32 (queries, dim).

        Raises:
            UserError: as `search`, or vectors of another width.
        """
        k = _check(k)
        width = int(self.manifest.config["encoder"]["dim"])
        shape = np.shape(vectors)
        if len(shape) != 2 or shape[1] != width:
            raise UserError(f"the index holds vectors of width {width}", f"got shape {shape}")
        vectors = np.asarray(vectors, dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise UserError("the vectors hold NaN or infinity")
        return self._search_vectors(vectors, k, self._allowed(Filter(where, since, until)))

    @cached_property
    def _ends(self) -> list[int]:
        """The id after the last one of each segment."""
        return list(accumulate(segment.vectors.rows for segment in self._segments))

    @property
    def _words(self) -> list[bm25.Words]:
        words = [segment.words for segment in self._segments if segment.words is not None]
        if len(words) < len(self._segments):
            raise UserError("the index was built without words", self.path, "Search with --mode vector.")
        return words

    def _allowed(self, which: Filter) -> list[Allowed | None]:
        """For each segment the rows that may be found, None for all."""
        if which.all:
            return [segment.alive for segment in self._segments]
        # Masks are not kept: a condition may depend on the present time.
        return [_matching(segment, which) for segment in self._segments]

    def _search_vectors(self, vectors: np.ndarray, k: int, allowed: Sequence[Allowed | None]) -> list[list[Hit]]:
        return self._hits(*self._nearest(normalised(vectors), k, allowed))

    def _nearest(self, queries: np.ndarray, k: int, allowed: Sequence[Allowed | None]) -> tuple[np.ndarray, np.ndarray]:
        """Scores and ids, each (queries, at most k), best first; id -1 for none."""
        parts = [
            segment.vectors.nearest(queries, k, rows) for segment, rows in zip(self._segments, allowed, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        firsts = [0, *self._ends[:-1]]
        scores = np.concatenate([found for found, _ in parts], axis=1)
        ids = np.concatenate(
            [np.where(rows < 0, -1, rows + first) for (_, rows), first in zip(parts, firsts, strict=True)], axis=1
        )
        order = np.lexsort((ids, -scores))[:, :k]
        return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)

    def _hits(self, scores: Iterable[np.ndarray], ids: Iterable[np.ndarray]) -> list[list[Hit]]:
        """The events of each query; all are read in the order of their rows, each once."""
        ids = list(ids)
        wanted, places = np.unique(np.concatenate([*ids, np.empty(0, np.int64)]), return_inverse=True)
        missing = int(np.searchsorted(wanted, 0))
        records: list[Record] = []
        first = 0
        for segment, end in zip(self._segments, self._ends, strict=True):
            rows = wanted[missing + len(records) : np.searchsorted(wanted, end)] - first
            records += segment.sidecar.records(rows.tolist())
            first = end
        places -= missing
        ends = accumulate((len(one) for one in ids), initial=0)
        found = [places[start:end] for start, end in pairwise(ends)]
        return [
            [
                Hit(score, *records[place])
                for score, place in zip(one.tolist(), of_one.tolist(), strict=True)
                if place >= 0
            ]
            for one, of_one in zip(scores, found, strict=True)
        ]


def search(
    index: str | Path,
    query: str,
    k: int = 10,
    where: str | None = None,
    encoder: LogEncoder | str | Path | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    mode: Mode | None = None,
) -> list[Hit]:
    """Open an index and search it once: see `Index.open` and `Index.search`."""
    _check(k)
    if mode is not None:
        known_mode(mode)
    return Index.open(index, encoder).search(query, k, where, since=since, until=until, mode=mode)


def read_index(folder: Path) -> Manifest:
    """The manifest of an index, with all that this room reads from it.

    Raises:
        UserError: not an index, or a damaged one.
    """
    manifest = read_manifest(folder, STAGE)
    try:
        stated, segments = manifest.config["encoder"], manifest.metrics["segments"]
        IndexConfig.model_validate(manifest.config["index"])
        EncoderConfig.model_validate(manifest.config["reading"])
        typed = [stated["name"], stated["hash"]]
        whole = len(segments) == len(segments_of(manifest)) and all(isinstance(one["events"], int) for one in segments)
        whole = whole and isinstance(stated["dim"], int) and all(isinstance(one, str) for one in typed)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError("damaged index: the manifest is not whole", folder / MANIFEST, "Build the index again.")
    return manifest


def _listed(folder: Path) -> bytes:
    path = folder / MANIFEST
    return path.read_bytes() if path.is_file() else b""


def segments_of(manifest: Manifest) -> list[str]:
    """Names of the segment folders that an index's manifest lists, oldest first.

    Raises:
        UserError: it lists none.
    """
    found = [re.fullmatch(rf"(segment-\d{{6}})/{re.escape(FAISS)}", name) for name in manifest.outputs]
    names = sorted(match[1] for match in found if match)
    if not names or any(f"{name}/{EVENTS}" not in manifest.outputs for name in names):
        raise UserError("damaged index: the manifest names no segment", fix="Build the index again.")
    return names


def verify(folder: Path, manifest: Manifest, but: str = "") -> None:
    """Compare the files that a manifest lists with their SHA-256, all or all but those of one name.

    Raises:
        UserError: one has changed.
    """
    for name, file in manifest.outputs.items():
        path = folder / name
        if path.name != but and file_hash(path) != file.sha256:
            raise UserError("damaged index: a file has changed", path, "Build the index again.")


def encoder_of(folder: Path, manifest: Manifest, encoder: LogEncoder | str | Path | None) -> LogEncoder:
    """The encoder of an index: the one given, if it is the same, else loaded by the name given or in the manifest, with
    the backend and all other options that the index was built with.

    Raises:
        UserError: another encoder, or it cannot be loaded.
    """
    stated = manifest.config["encoder"]
    reading = EncoderConfig.model_validate(manifest.config["reading"])
    if isinstance(encoder, str | Path) and str(encoder) != "tfidf":
        encoder = LogEncoder.load(encoder, reading)
    elif not isinstance(encoder, LogEncoder) or encoder.needs_fit:
        own = folder / ENCODER
        encoder = LogEncoder.load(own if own.is_dir() else stated["name"], reading)
    if encoder.hash != stated["hash"]:
        made = "the index was built with"
        raise another(made, stated["name"], reading.dump(), encoder, "build the index again")
    if reading_of(encoder.config) != reading_of(reading):
        before = ", ".join(f"{key} {value}" for key, value in reading_of(reading).items())
        raise UserError(f"the index was built with {before}", encoder.name, "Open the encoder in the same way.")
    return encoder


def known_mode(name: str) -> Mode:
    """The name of a way to search, checked.

    Raises:
        UserError: there is none of that name.
    """
    if name not in get_args(Mode):
        raise UserError("no such way to search", name, f"Take --mode {', '.join(get_args(Mode))}.")
    return cast(Mode, name)


def _check(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise UserError("-k must be a whole number", k)
    if k < 1:
        raise UserError("-k must be at least 1", k)
    return int(k)


def _open(folder: Path, manifest: Manifest, name: str, segments: int) -> _Segment:
    vectors = Vectors.open(folder / name / FAISS)
    has_words = any(listed.startswith(f"{name}/{bm25.PREFIX}") for listed in manifest.outputs)
    gone = deleted(folder, manifest, name)
    return _Segment(
        vectors=vectors,
        sidecar=Sidecar(folder / name / EVENTS, segments),
        words=bm25.Words.open(folder / name, vectors.rows) if has_words else None,
        alive=None if gone is None else Allowed(~gone),
    )


def _matching(segment: _Segment, which: Filter) -> Allowed:
    mask = matching(segment.sidecar.events, segment.vectors.rows, which)
    return Allowed(mask if segment.alive is None else mask & segment.alive.mask)
