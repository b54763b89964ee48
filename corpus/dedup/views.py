"""The views of a corpus: which rows deduplication keeps, and how many events each of them stands for."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.dedup.exact import exact_copies
from logfm.corpus.dedup.near import near_copies, signature_tasks
from logfm.corpus.parquet import parquet_writer

VIEW = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("copies", pa.int32(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
    ]
)
Copies = npt.NDArray[np.int32]


def write_views(
    hashes: Sequence[Path],
    shards: Sequence[Path],
    spool: Path,
    views: Path,
    config: CorpusConfig,
    run: Callable[[str, list[dict[str, Any]]], object],
) -> dict[str, Any]:
    """Write the views that the configuration names; returns what they kept, in all and for each source.

    `hashes` are the text hashes of all events in order, `shards` the events, `spool` a folder for what lies between,
    and `run` does tasks under a title.
    """
    facts: dict[str, Any] = {"sources": {}}
    if "exact" not in config.dedup:
        return facts
    views.mkdir()
    total = sum(pq.ParquetFile(shard).metadata.num_rows for shard in shards)
    copies = exact_copies(hashes, total)
    _record(facts, shards, copies, views / "exact.parquet", ("unique", "duplicates"))
    if "near" in config.dedup:
        kept = np.flatnonzero(copies)
        tasks = signature_tasks(shards, kept, spool)
        run("Comparing", tasks)
        copies = near_copies(tasks, kept, copies, config.near, views / "near_clusters.parquet")
        _record(facts, shards, copies, views / "near.parquet", ("distinct", "near_duplicates"))
    return facts


def _record(facts: dict[str, Any], shards: Sequence[Path], copies: Copies, path: Path, names: tuple[str, str]) -> None:
    """Write one view and count what it keeps and leaves out."""
    kept_name, left_name = names
    kept: Counter[str] = Counter()
    events: Counter[str] = Counter()
    start = 0
    with parquet_writer(path, VIEW) as writer:
        for batch in _batches(shards):
            rows = np.flatnonzero(copies[start : start + batch.num_rows])
            chosen = batch.take(pa.array(rows))
            arrays = [pa.array(rows + start), pa.array(copies[rows + start]), chosen.column("event_id")]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=VIEW))
            events.update(_counts(batch))
            kept.update(_counts(chosen))
            start += batch.num_rows
    facts[kept_name] = kept.total()
    facts[left_name] = facts.get("unique", start) - kept.total() if kept_name != "unique" else start - kept.total()
    for source, count in events.items():
        known = facts["sources"].setdefault(source, {})
        known[kept_name] = kept[source]
        known[left_name] = known.get("unique", count) - kept[source] if kept_name != "unique" else count - kept[source]


def _counts(batch: pa.RecordBatch) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(batch.column("source")).to_pylist()}


def _batches(shards: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for shard in shards:
        yield from pq.ParquetFile(shard).iter_batches(batch_size=1 << 16, columns=["event_id", "source"])
