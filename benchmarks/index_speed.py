"""Build time, latency, throughput and memory of an index, beside FAISS alone on the same file in the same run.

    python -m benchmarks.index_speed --vectors 1000000 --scratch DIR

The data are random: log lines and clustered vectors from a seed. Vectors are given, so no encoder takes part. FAISS
searches the index file of the first segment for bare row numbers; logfm searches the folder for whole events. The
rounds alternate, and a ratio is the median of the ratios of each round.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from logfm.artifacts import peak_memory
from logfm.configs.base import parse
from logfm.configs.schema.embeddings import IndexConfig
from logfm.console import emit_json, say
from logfm.embeddings import Index, LogEncoder
from logfm.embeddings.embed import vector_schema
from logfm.embeddings.index import add, build, delete
from logfm.embeddings.segments import EVENTS, FAISS, normalised
from logfm.extras import require

app = typer.Typer()
_BATCH = 8192
_CLUSTER = 200
"""Vectors of a cluster, on average."""
_NOISE = 0.5
"""Standard deviation within a cluster, as a share of that of the centres."""


@dataclass(frozen=True)
class Given:
    """An encoder that is never asked: the vectors are there."""

    dim: int
    hash: str = "random"

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors of zeros."""
        return np.zeros((len(texts), self.dim), np.float32), 0


@app.command()
def main(
    scratch: Annotated[Path, typer.Option(help="Empty folder for data and index.")],
    vectors: int = 1_000_000,
    dim: int = 256,
    kind: str = "auto",
    queries: int = 1000,
    rounds: int = 5,
    k: int = 10,
    seed: int = 0,
) -> None:
    """One JSON document: seconds, bytes, milliseconds and ratios."""
    encoder = LogEncoder("random", Given(dim))
    data, folder = scratch / "vectors.parquet", scratch / "index"
    write_data(data, encoder, vectors, seed)
    asked = np.random.default_rng(seed).choice(vectors, queries, replace=False)
    given, texts = _questions(data, encoder, np.sort(asked), seed)
    say("building")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        built = pool.submit(_build, data, folder, dim, parse(IndexConfig, {"kind": kind}, "--kind")).result()
    found: dict[str, Any] = {"vectors": vectors, "dim": dim, "seed": seed, "k": k, "build": built, **_sizes(folder)}
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    index = Index.open(folder, encoder)
    found["open_seconds"] = time.perf_counter() - start
    faiss = require("faiss", "cpu")
    raw = faiss.read_index(str(folder / "segment-000001" / FAISS))
    found["threads"] = faiss.omp_get_max_threads()
    say("searching")
    found["throughput"] = _throughput(raw, index, given, k, rounds)
    found["latency_ms"] = {
        "faiss": _latency(lambda row: raw.search(normalised(given[row : row + 1]), k), queries),
        "logfm": _latency(lambda row: index.search_vectors(given[row : row + 1], k), queries),
        **_other_latencies(index, given, texts, k),
    }
    right = [texts[row] in hit.text for row in range(queries) for hit in index.search(texts[row], 1, mode="bm25")]
    found["bm25_address_first"] = sum(right) / queries
    found["search_rss_bytes"] = psutil.Process().memory_info().rss - before - found["bytes"]["faiss"]
    found["delete_and_add"] = _changes(folder, encoder, given, k, seed)
    emit_json(found)


def write_data(path: Path, encoder: LogEncoder, count: int, seed: int) -> None:
    """Write events with clustered vectors, as `logfm embed` writes them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, count // _CLUSTER), encoder.dim), dtype=np.float32)
    schema = vector_schema(encoder)
    with pq.ParquetWriter(path, schema, compression={"text": "zstd"}, use_dictionary=["source", "file"]) as writer:
        for start in range(0, count, _BATCH):
            rows = min(_BATCH, count - start)
            noise = rng.standard_normal((rows, encoder.dim), dtype=np.float32)
            vectors = centres[rng.integers(len(centres), size=rows)] + _NOISE * noise
            writer.write_batch(_events(range(start, start + rows), vectors, schema, seed))


def _events(numbers: Sequence[int], vectors: np.ndarray, schema: pa.Schema, seed: int) -> pa.RecordBatch:
    rng = np.random.default_rng([seed, numbers[0]])
    hosts = [f"host{number}" for number in rng.integers(50, size=len(numbers))]
    addresses = [".".join(map(str, parts)) for parts in rng.integers(256, size=(len(numbers), 4))]
    ports = rng.integers(1024, 65536, size=len(numbers))
    columns: dict[str, Any] = dict.fromkeys(schema.names, pa.nulls(len(numbers)))
    columns["event_id"] = [f"{seed:04x}{number:020x}" for number in numbers]
    columns["text"] = [
        f"Jan  5 10:{n // 60 % 60:02}:{n % 60:02} {host} sshd[{n % 30_000}]: Failed password for invalid user "
        f"admin from {address} port {port} ssh2"
        for n, host, address, port in zip(numbers, hosts, addresses, ports, strict=True)
    ]
    columns |= {"source": ["syslog"] * len(numbers), "file": ["auth.log"] * len(numbers), "host": hosts}
    columns["offset"] = [110 * number for number in numbers]
    columns["timestamp"] = np.array([1_767_600_000 + number for number in numbers], dtype="datetime64[s]")
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _questions(data: Path, encoder: LogEncoder, rows: np.ndarray, seed: int) -> tuple[np.ndarray, list[str]]:
    """Stored vectors with noise, float32 (queries, dim), and the addresses in the texts of their events."""
    rng = np.random.default_rng([seed, 1])
    vectors, texts, start = [], [], 0
    for batch in pq.ParquetFile(data).iter_batches(batch_size=_BATCH, columns=["text", "vector"]):
        inside = pa.array(rows[(rows >= start) & (rows < start + batch.num_rows)] - start)
        taken = batch.take(inside)
        vectors.append(taken["vector"].flatten().to_numpy(zero_copy_only=False).reshape(-1, encoder.dim))
        texts += [text.split(" from ")[1].split()[0] for text in taken["text"].to_pylist()]
        start += batch.num_rows
    found = np.concatenate(vectors)
    return found + 0.2 * rng.standard_normal(found.shape, dtype=np.float32), texts


def _build(data: Path, folder: Path, dim: int, config: IndexConfig) -> dict[str, Any]:
    start = time.perf_counter()
    metrics = build([data], LogEncoder("random", Given(dim)), folder, config).metrics
    return {
        "seconds": time.perf_counter() - start,
        "peak_bytes": peak_memory(),
        **{name: metrics["segments"][0][name] for name in ("kind", "recall_at_10")},
    }


def _throughput(raw: Any, index: Index, vectors: np.ndarray, k: int, rounds: int) -> dict[str, Any]:
    """Queries a second of one batch of all, median over the rounds after one that warms both up."""
    contestants: dict[str, Callable[[], Any]] = {
        "faiss": lambda: raw.search(normalised(vectors), k),
        "logfm": lambda: index.search_vectors(vectors, k),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            start = time.perf_counter()
            contestant()
            if number:
                seconds[name].append(time.perf_counter() - start)
    ratios = np.array(seconds["faiss"]) / np.array(seconds["logfm"])
    speed = {f"{name}_per_second": len(vectors) / statistics.median(times) for name, times in seconds.items()}
    return {**speed, "logfm_over_faiss": float(np.median(ratios)), "rounds": seconds}


def _other_latencies(index: Index, vectors: np.ndarray, texts: list[str], k: int) -> dict[str, Any]:
    """Filters and words; fewer questions, because each takes longer."""
    few = min(100, len(texts))
    conditions = {
        "where_2_percent": "host = 'host7'",
        "where_half": "CAST(split_part(host, 'host', 2) AS INT) < 25",
    }
    found: dict[str, Any] = {
        name: _latency(lambda row, where=where: index.search_vectors(vectors[row : row + 1], k, where), few)
        for name, where in conditions.items()
    }
    for mode in ("bm25", "hybrid"):
        found[mode] = _latency(lambda row, mode=mode: index.search(texts[row], k, mode=mode), few)
    return found


def _latency(ask: Callable[[int], Any], count: int) -> dict[str, float]:
    """Milliseconds of one question at a time, after ten that warm up."""
    for row in range(min(10, count)):
        ask(row)
    times = []
    for row in range(count):
        start = time.perf_counter()
        ask(row)
        times.append(1000 * (time.perf_counter() - start))
    return {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def _changes(folder: Path, encoder: LogEncoder, vectors: np.ndarray, k: int, seed: int) -> dict[str, Any]:
    """Seconds to add 10,000 events and to delete a fiftieth, and the latency after both."""
    more = folder.parent / "more.parquet"
    write_data(more, encoder, 10_000, seed + 1)
    start = time.perf_counter()
    add(folder, [more], encoder)
    added = time.perf_counter()
    delete(folder, "host = 'host7'")
    deleted = time.perf_counter()
    index = Index.open(folder, encoder)
    after = _latency(lambda row: index.search_vectors(vectors[row : row + 1], k), min(len(vectors), 200))
    return {"add_seconds": added - start, "delete_seconds": deleted - added, "latency_ms_after": after}


def _sizes(folder: Path) -> dict[str, Any]:
    sizes = {path.name: path.stat().st_size for path in (folder / "segment-000001").iterdir()}
    words = sum(size for name, size in sizes.items() if name.startswith("bm25-"))
    return {"bytes": {"faiss": sizes[FAISS], "sidecar": sizes[EVENTS], "bm25": words}}


if __name__ == "__main__":
    app()
