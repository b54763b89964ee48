"""The views of a corpus: which rows deduplication keeps, and how many events each of them stands for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.dedup.exact import exact_copies
from logfm.corpus.dedup.near import near_copies
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.shards import HASH_BYTES

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
) -> dict[str, Counter[str]]:
    """Write the views that the configuration names; returns how many events of each source each of them keeps.

    `hashes` are each reading task's text hashes, in order, beside which its signatures lie (see `SignatureWriter`);
    `shards` the events, and `spool` a folder for what lies between.
    """
    if "exact" not in config.dedup:
        return {}
    views.mkdir()
    total = sum(pq.ParquetFile(shard).metadata.num_rows for shard in shards)
    copies = exact_copies(hashes, total, spool)
    kept = {"exact": _write(shards, copies, views / "exact.parquet")}
    if "near" in config.dedup:
        prefixes = [path.with_suffix("") for path in hashes]
        events = [path.stat().st_size // HASH_BYTES for path in hashes]
        copies = near_copies(prefixes, events, copies, config.near, views / "near_clusters.parquet")
        kept["near"] = _write(shards, copies, views / "near.parquet")
    return kept


def _write(shards: Sequence[Path], copies: Copies, path: Path) -> Counter[str]:
    """Write the rows that one view keeps; returns their number for each source."""
    kept: Counter[str] = Counter()
    start = 0
    with parquet_writer(path, VIEW) as writer:
        for batch in _batches(shards):
            rows = np.flatnonzero(copies[start : start + batch.num_rows])
            chosen = batch.take(pa.array(rows))
            arrays = [pa.array(rows + start), pa.array(copies[rows + start]), chosen.column("event_id")]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=VIEW))
            kept.update(_counts(chosen))
            start += batch.num_rows
    return kept


def _counts(batch: pa.RecordBatch) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(batch.column("source")).to_pylist()}


def _batches(shards: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for shard in shards:
        yield from pq.ParquetFile(shard).iter_batches(batch_size=1 << 16, columns=["event_id", "source"])
