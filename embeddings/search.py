"""Search an index: cosine over every segment, exact SQL filters, hits that lead back to file and byte."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from logfm.artifacts import Manifest, file_hash, read_manifest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.filters import matching_rows
from logfm.embeddings.segments import EVENTS, FAISS, normalised
from logfm.embeddings.sidecar import Sidecar
from logfm.errors import UserError
from logfm.extras import require

STAGE = "index"
ENCODER = "encoder"
"""Folder inside an index for an encoder that exists nowhere else (fitted tfidf)."""
# Up to so many allowed events a graph or compressed index is searched exhaustively: its shortcuts assume that most
# events are allowed, and lose hits where few are.
_EXHAUSTIVE = 50_000


@dataclass(frozen=True)
class Hit:
    """One event found. `score` is the cosine of its vector and the query's, in [-1, 1]."""

    score: float
    event_id: str
    text: str
    source: str
    file: str
    offset: int
    timestamp: datetime | None
    host: str | None


_COLUMNS = tuple(name for name in Hit.__dataclass_fields__ if name != "score")


@dataclass(frozen=True)
class _Open:
    """A segment in memory: its FAISS index and its sidecar."""

    index: Any
    sidecar: Sidecar


@dataclass(frozen=True, eq=False)
class Index:
    """An opened index; safe to search from several threads."""

    path: Path
    manifest: Manifest
    encoder: LogEncoder
    _segments: list[_Open] = field(repr=False)

    @classmethod
    def open(cls, path: str | Path, encoder: LogEncoder | None = None) -> "Index":
        """Open an index with its own encoder, or with the same one that is loaded already.

        Every file is compared with its SHA-256 before it is read.

        Raises:
            UserError: not an index, damaged, the encoder is another or cannot be loaded.
        """
        folder = Path(path)
        manifest = read_manifest(folder, STAGE)
        faiss = require("faiss", "cpu")
        opened = []
        for name, file in manifest.outputs.items():
            if file_hash(folder / name) != file.sha256:
                raise UserError("damaged index: a file has changed", folder / name, "Build the index again.")
        for name in segments_of(manifest):
            index = faiss.read_index(str(folder / name / FAISS))
            opened.append(_Open(index, Sidecar(folder / name / EVENTS, _COLUMNS)))
        return cls(folder, manifest, encoder_of(folder, manifest, encoder), opened)

    @property
    def events(self) -> int:
        """Number of events in the index."""
        return sum(segment.index.ntotal for segment in self._segments)

    def search(self, query: str, k: int = 10, where: str | None = None) -> list[Hit]:
        """The `k` events nearest to a text, best first; fewer where fewer are allowed.

        `where` is an SQL condition over the columns of `embed.KEYS`, such as `host = 'web1' AND timestamp >
        '2024-05-01'` (times are UTC).

        Raises:
            UserError: `k` below 1, an empty query, or a condition that DuckDB refuses.
        """
        if not query.strip():
            raise UserError("the query is empty")
        return self.search_vectors(self.encoder.encode([query]), k, where)[0]

    def search_vectors(self, vectors: np.ndarray, k: int = 10, where: str | None = None) -> list[list[Hit]]:
        """`search` for each row of float32 (queries, dim).

        Raises:
            UserError: as `search`, or vectors of another width.
        """
        if k < 1:
            raise UserError("-k must be at least 1", k)
        width = int(self.manifest.config["encoder"]["dim"])
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise UserError(f"the index holds vectors of width {width}", f"got shape {vectors.shape}")
        queries = normalised(vectors)
        found: list[list[tuple[float, int, int]]] = [[] for _ in queries]
        for number, segment in enumerate(self._segments):
            allowed = None if where is None else matching_rows(segment.sidecar.path, where)
            for query, pairs in enumerate(_nearest(segment.index, queries, k, allowed)):
                found[query] += [(score, number, row) for score, row in pairs]
        best = [sorted(pairs, key=lambda hit: (-hit[0], hit[1:]))[:k] for pairs in found]
        records = [
            segment.sidecar.records([row for pairs in best for _, owner, row in pairs if owner == number])
            for number, segment in enumerate(self._segments)
        ]
        return [[Hit(score=score, **records[number][row]) for score, number, row in pairs] for pairs in best]


def search(
    index: str | Path, query: str, k: int = 10, where: str | None = None, encoder: LogEncoder | None = None
) -> list[Hit]:
    """Open an index and search it once: see `Index.open` and `Index.search`."""
    if k < 1:
        raise UserError("-k must be at least 1", k)
    return Index.open(index, encoder).search(query, k, where)


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


def encoder_of(folder: Path, manifest: Manifest, encoder: LogEncoder | None) -> LogEncoder:
    """The encoder of an index: the one given, if it is the same, else loaded by the name in the manifest.

    Raises:
        UserError: another encoder, or it cannot be loaded.
    """
    stated = manifest.config["encoder"]
    if encoder is None or encoder.needs_fit:
        own = folder / ENCODER
        reading = EncoderConfig.model_validate(manifest.config["reading"])
        encoder = LogEncoder.load(own if own.is_dir() else stated["name"], reading)
    if encoder.hash != stated["hash"]:
        raise UserError(
            f"the index was built with another encoder ({stated['name']})", encoder.name, "Build the index again."
        )
    return encoder


def _nearest(index: Any, queries: np.ndarray, k: int, allowed: np.ndarray | None) -> list[list[tuple[float, int]]]:
    """Score and row of the nearest in one segment, for each query."""
    faiss = require("faiss", "cpu")
    if allowed is not None and not len(allowed):
        return [[] for _ in queries]
    top = min(k, index.ntotal if allowed is None else len(allowed))
    if allowed is not None and isinstance(index, faiss.IndexHNSW) and len(allowed) <= _EXHAUSTIVE:
        scores, found = _exact(index, queries, top, allowed)
    else:
        scores, found = index.search(queries, top, params=_parameters(index, top, allowed))
    return [
        [(float(score), int(row)) for score, row in zip(*pair, strict=True) if row >= 0]
        for pair in zip(scores, found, strict=True)
    ]


def _parameters(index: Any, top: int, allowed: np.ndarray | None) -> Any:
    """FAISS search parameters: the id selector, and a breadth that fits `top`."""
    faiss = require("faiss", "cpu")
    options: dict[str, Any] = {}
    if allowed is not None:
        mask = np.zeros(index.ntotal, dtype=bool)
        mask[allowed] = True
        options["sel"] = faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=max(index.hnsw.efSearch, 2 * top), **options)
    if isinstance(index, faiss.IndexIVF):
        few = allowed is not None and len(allowed) <= _EXHAUSTIVE
        return faiss.SearchParametersIVF(nprobe=index.nlist if few else index.nprobe, **options)
    return faiss.SearchParameters(**options) if options else None


def _exact(index: Any, queries: np.ndarray, top: int, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vectors = index.reconstruct_batch(np.ascontiguousarray(allowed, dtype=np.int64))
    scores = queries @ vectors.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(scores, order, axis=1), allowed[order]
