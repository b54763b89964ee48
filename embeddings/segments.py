"""One segment of an index: a FAISS file over L2-normalised vectors, a Parquet sidecar of the events, row by row, and
their words for BM25."""

import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest
from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings.bm25 import WordWriter
from logfm.embeddings.copies import nodes_of
from logfm.embeddings.embed import matrix
from logfm.embeddings.nearest import NODES, RAW, Vectors, has_gpu
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
    """Share of the exact ten nearest different vectors that the index finds, over a sample of the different vectors (so
    frequent lines count no more than rare ones); None where it is exact."""


def write_segment(
    folder: Path, batches: Iterable[pa.RecordBatch], dim: int, config: IndexConfig, small: bool = False
) -> Segment | None:
    """Write a segment into `folder`; None, and no folder, where there are no events.

    `batches` carry events with vectors (`embed.vector_schema`). Vectors are held on disk, not in memory, until the
    size is known; flat and hnsw then hold them all. Above `flat_up_to` events, and wherever it is no flat index, equal
    vectors are held once. With `small`, too few for ivfpq get a flat segment.

    Raises:
        UserError: too few different vectors for ivfpq, and not `small`.
    """
    folder.mkdir(parents=True)
    raw = folder / RAW
    rows = _spool(folder / EVENTS, raw, batches, WordWriter(folder) if config.bm25 else None)
    if not rows:
        shutil.rmtree(folder)
        return None
    vectors = np.memmap(raw, dtype=np.float32, mode="r", shape=(rows, dim))
    nodes, firsts = None, np.arange(rows)
    if config.kind != "flat" and not (config.kind == "auto" and rows <= config.flat_up_to):
        nodes, firsts = nodes_of(vectors)
        nodes = nodes if len(firsts) < rows else None
    kind = choose(len(firsts), config, small)
    index = _build(vectors, kind, config, firsts)
    if nodes is not None:
        np.save(folder / NODES, nodes)
    faiss = require("faiss", "cpu")
    faiss.write_index(index, str(folder / FAISS))
    opened = Vectors(index, nodes=nodes, exact=vectors if kind == "ivfpq" else None)
    recall = None if kind == "flat" else _recall(opened, vectors, config, firsts)
    del vectors, opened
    if kind != "ivfpq":
        raw.unlink()
    for path in (*folder.iterdir(), folder):
        sync(path)
    return Segment(rows, kind, recall)


def stored(folder: Path, gone: np.ndarray | None) -> Iterator[pa.RecordBatch]:
    """The events of a segment with their vectors, without the rows that are `gone` (bool (rows,))."""
    opened = Vectors.open(folder / FAISS)
    first = 0
    for batch in pq.ParquetFile(folder / EVENTS).iter_batches(batch_size=_GROUP):
        rows = np.arange(first, first + batch.num_rows)
        first += batch.num_rows
        kept = np.arange(len(rows)) if gone is None else np.flatnonzero(~gone[rows])
        if len(kept):
            flat = pa.array(opened.take(rows[kept]).ravel(), pa.float32())
            vectors = pa.FixedSizeListArray.from_arrays(flat, opened.index.d)
            yield batch.take(pa.array(kept)).drop_columns(["row"]).append_column("vector", vectors)


def choose(rows: int, config: IndexConfig, small: bool = False) -> Kind:
    """The kind of index for so many different vectors.

    Raises:
        UserError: too few for ivfpq, and not `small`.
    """
    if config.kind == "auto":
        if rows <= config.flat_up_to:
            return "flat"
        return "hnsw" if rows <= max(config.hnsw_up_to, _PQ_ROWS) else "ivfpq"
    if config.kind == "ivfpq" and rows < _PQ_ROWS:
        if small:
            return "flat"
        what = f"ivfpq needs {_PQ_ROWS} different vectors, the input has {rows}"
        raise UserError(what, fix="Take --kind flat or hnsw.")
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
    rows = waiting = 0
    writer = None
    # Of a batch that is mostly known little is left: events wait until they fill a row group.
    held: list[pa.RecordBatch] = []
    with raw.open("wb") as vectors:
        try:
            for batch in batches:
                numbers = pa.array(np.arange(rows, rows + batch.num_rows))
                held.append(batch.drop_columns(["vector"]).append_column("row", numbers))
                waiting += batch.num_rows
                writer = writer or pq.ParquetWriter(sidecar, held[0].schema, compression="zstd")
                if waiting >= _GROUP:
                    waiting %= _GROUP
                    table = pa.Table.from_batches(held)
                    whole = table.num_rows - waiting
                    writer.write_table(table.slice(0, whole), row_group_size=_GROUP)
                    held = table.slice(whole).to_batches()
                vectors.write(normalised(matrix(batch)).tobytes())
                if words is not None:
                    words.add(batch["text"].to_pylist())
                rows += batch.num_rows
            if writer is not None and waiting:
                writer.write_table(pa.Table.from_batches(held))
        finally:
            if writer is not None:
                writer.close()
    if words is not None:
        words.close()
    return rows


def _build(vectors: np.ndarray, kind: Kind, config: IndexConfig, firsts: np.ndarray | None = None) -> Any:
    """An index of the vectors at some rows, by default of all."""
    faiss = require("faiss", "cpu")
    firsts = np.arange(len(vectors)) if firsts is None else firsts
    rows, dim = len(firsts), vectors.shape[1]
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
        index.train(_sample(vectors, firsts, max(256 * cells, _PQ_ROWS), config.seed))
    for start in range(0, rows, _CHUNK):
        index.add(np.ascontiguousarray(vectors[firsts[start : start + _CHUNK]]))
    return index


def _recall(opened: Vectors, vectors: np.ndarray, config: IndexConfig, firsts: np.ndarray) -> float:
    """Share of the exact top ten among the vectors at `firsts` that the index returns, ties counted as found."""
    faiss = require("faiss", "cpu")
    queries = _sample(vectors, firsts, config.recall_queries, config.seed)
    top = min(_TOP, len(firsts))
    heap = faiss.ResultHeap(len(queries), top, keep_max=True)
    for start in range(0, len(firsts), _CHUNK):
        part = np.ascontiguousarray(vectors[firsts[start : start + _CHUNK]])
        scores, rows = faiss.knn(queries, part, min(top, len(part)), metric=faiss.METRIC_INNER_PRODUCT)
        heap.add_result(scores, rows + start)
    heap.finalize()
    _, found = opened.different(queries, top, None)
    exact = np.einsum("qkd,qd->qk", vectors[firsts[np.maximum(found, 0)]], queries)
    # Of vectors that are nearly equal any is a right answer.
    right = (found >= 0) & (exact >= heap.D[:, -1:] - 1e-5)
    return round(float(right.mean()), 4)


def _sample(vectors: np.ndarray, firsts: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` of the vectors at `firsts`, without replacement, in their order."""
    if len(firsts) > count:
        firsts = np.sort(np.random.default_rng(seed).choice(firsts, count, replace=False))
    return np.array(vectors[firsts])
