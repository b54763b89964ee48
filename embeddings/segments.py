"""One segment of an index: a FAISS file over L2-normalised vectors, a Parquet sidecar of the events, row by row, and
their words for BM25."""

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest
from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings.bm25 import WordWriter
from logfm.embeddings.embed import matrix
from logfm.embeddings.nearest import has_gpu
from logfm.embeddings.parts import sync
from logfm.errors import UserError
from logfm.extras import require

FAISS = "faiss.index"
EVENTS = "events.parquet"
DELETED = "deleted-"
Kind = Literal["flat", "hnsw", "ivfpq"]
# Rows of a Parquet row group: a hit costs the reading of one.
_GROUP = 8192
_CHUNK = 65_536
# k-means wants 39 points a centroid and product quantisation has 256: with fewer, faiss warns of poor cells.
_PQ_ROWS = 39 * 256
_TOP = 10


@dataclass(frozen=True)
class Segment:
    """What was written."""

    rows: int
    kind: Kind
    recall: float | None
    """Share of the exact ten nearest that the index finds, over sampled events; None where it is exact."""


def write_segment(
    folder: Path, batches: Iterable[pa.RecordBatch], dim: int, config: IndexConfig, small: bool = False
) -> Segment | None:
    """Write a segment into `folder`; None, and no folder, where there are no events.

    `batches` carry events with vectors (`embed.vector_schema`). Vectors are held on disk, not in memory, until the
    size is known; flat and hnsw then hold them all. With `small`, too few events for ivfpq get a flat segment.

    Raises:
        UserError: too few events for ivfpq, and not `small`.
    """
    folder.mkdir(parents=True)
    raw = folder / "vectors.raw"
    rows = _spool(folder / EVENTS, raw, batches, WordWriter(folder) if config.bm25 else None)
    if not rows:
        shutil.rmtree(folder)
        return None
    kind = choose(rows, config, small)
    vectors = np.memmap(raw, dtype=np.float32, mode="r", shape=(rows, dim))
    index = _build(vectors, kind, config)
    recall = None if kind == "flat" else _recall(index, vectors, config)
    faiss = require("faiss", "cpu")
    faiss.write_index(index, str(folder / FAISS))
    del vectors
    raw.unlink()
    for path in (*folder.iterdir(), folder):
        sync(path)
    return Segment(rows, kind, recall)


def choose(rows: int, config: IndexConfig, small: bool = False) -> Kind:
    """The kind of index for so many events.

    Raises:
        UserError: too few events for ivfpq, and not `small`.
    """
    if config.kind == "auto":
        return "flat" if rows <= config.flat_up_to else "hnsw" if rows <= config.hnsw_up_to else "ivfpq"
    if config.kind == "ivfpq" and rows < _PQ_ROWS:
        if small:
            return "flat"
        raise UserError(f"ivfpq needs {_PQ_ROWS} events, the input has {rows}", fix="Take --kind flat or hnsw.")
    return config.kind


def deleted(folder: Path, manifest: Manifest, name: str) -> np.ndarray | None:
    """A mask, bool (rows,), of the deleted rows of a segment; None where there are none."""
    listed = deleted_file(manifest, name)
    return None if listed is None else np.load(folder / listed, allow_pickle=False)


def deleted_file(manifest: Manifest, name: str) -> str | None:
    """The file that a manifest lists for the deleted rows of a segment."""
    return next((listed for listed in manifest.outputs if listed.startswith(f"{name}/{DELETED}")), None)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (float32, a copy); rows of zeros stay zero."""
    found = np.array(vectors, dtype=np.float32, order="C")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, lengths, out=found, where=lengths > 0)


def _spool(sidecar: Path, raw: Path, batches: Iterable[pa.RecordBatch], words: WordWriter | None) -> int:
    """Write events to the sidecar, normalised vectors to a raw file, and the words; the number of rows."""
    rows = 0
    writer = None
    with raw.open("wb") as vectors:
        try:
            for batch in batches:
                numbers = pa.array(np.arange(rows, rows + batch.num_rows))
                events = batch.drop_columns(["vector"]).append_column("row", numbers)
                writer = writer or pq.ParquetWriter(sidecar, events.schema, compression="zstd")
                writer.write_batch(events, row_group_size=_GROUP)
                vectors.write(normalised(matrix(batch)).tobytes())
                if words is not None:
                    words.add(batch["text"].to_pylist())
                rows += batch.num_rows
        finally:
            if writer is not None:
                writer.close()
    if words is not None:
        words.close()
    return rows


def _build(vectors: np.ndarray, kind: Kind, config: IndexConfig) -> Any:
    faiss = require("faiss", "cpu")
    rows, dim = vectors.shape
    metric = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(dim, config.links, metric)
        index.hnsw.efConstruction = config.breadth
        index.hnsw.efSearch = config.breadth
    else:
        cells = max(1, min(int(4 * math.sqrt(rows)), rows // 39))
        codes = max(size for size in range(1, max(dim // 4, 1) + 1) if dim % size == 0)
        # "np": no polysemous training, which takes most of the time and serves a search by Hamming distance only.
        index = faiss.index_factory(dim, f"IVF{cells},PQ{codes}np", metric)
        index.nprobe = max(8, cells // 16)
        if has_gpu():
            index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(dim))
        index.train(_sample(vectors, max(256 * cells, _PQ_ROWS), config.seed))
    for start in range(0, rows, _CHUNK):
        index.add(np.ascontiguousarray(vectors[start : start + _CHUNK]))
    return index


def _recall(index: Any, vectors: np.ndarray, config: IndexConfig) -> float:
    """Share of the exact top ten that the index returns, ties counted as found."""
    faiss = require("faiss", "cpu")
    queries = _sample(vectors, config.recall_queries, config.seed)
    top = min(_TOP, len(vectors))
    heap = faiss.ResultHeap(len(queries), top, keep_max=True)
    for start in range(0, len(vectors), _CHUNK):
        part = np.ascontiguousarray(vectors[start : start + _CHUNK])
        scores, rows = faiss.knn(queries, part, min(top, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, rows + start)
    heap.finalize()
    _, found = index.search(queries, top)
    exact = np.einsum("qkd,qd->qk", vectors[np.maximum(found, 0)], queries)
    # Repeated lines have equal vectors: any of them is a right answer.
    right = (found >= 0) & (exact >= heap.D[:, -1:] - 1e-5)
    return round(float(right.mean()), 4)


def _sample(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` rows without replacement, in their order."""
    if len(vectors) <= count:
        return np.array(vectors)
    rows = np.random.default_rng(seed).choice(len(vectors), count, replace=False)
    return np.array(vectors[np.sort(rows)])
