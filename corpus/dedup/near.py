"""Near-deduplication of a corpus: signature tasks for each shard, then one merge; the same kept rows for any engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.configs.schema.corpus import NearConfig
from logfm.corpus.dedup.clusters import leaders
from logfm.corpus.dedup.signatures import bands_for
from logfm.corpus.dedup.spill import Signatures
from logfm.corpus.parquet import parquet_writer

_CLUSTERS = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("kept", pa.int64(), nullable=False)])
_ROWS = 1 << 20


def signature_tasks(shards: Sequence[Path], kept: npt.NDArray[np.int64], folder: Path) -> list[dict[str, Any]]:
    """One task a shard, with its rows of `kept` (int64, ascending, of the whole corpus) in a file under `folder`."""
    tasks = []
    start = 0
    for number, shard in enumerate(shards):
        end = start + pq.ParquetFile(shard).metadata.num_rows
        low, high = np.searchsorted(kept, [start, end])
        prefix = folder / f"near-{number:06d}"
        (kept[low:high] - start).tofile(prefix.with_suffix(".kept"))
        tasks.append(
            {"kind": "near", "task": number, "bytes": shard.stat().st_size, "shard": str(shard), "prefix": str(prefix)}
        )
        start = end
    return tasks


def near_copies(
    tasks: Sequence[dict[str, Any]],
    kept: npt.NDArray[np.int64],
    copies: npt.NDArray[np.int32],
    config: NearConfig,
    clusters: Path,
) -> npt.NDArray[np.int32]:
    """Events each row stands for, int32 (events,), after near-deduplication: 0 where it is left out.

    `copies` are those of the exact view, whose rows are `kept`. `clusters` gets a Parquet file that names, for each
    row that the exact view keeps and this one does not (`row`), the row that represents it (`kept`).
    """
    bands, height = bands_for(config)
    signatures = Signatures([Path(task["prefix"]) for task in tasks], bands, bands * height)
    try:
        parent = leaders(signatures, config.threshold)
    finally:
        signatures.close()
    removed = np.flatnonzero(parent != np.arange(len(parent)))
    with parquet_writer(clusters, _CLUSTERS) as writer:
        for start in range(0, len(removed), _ROWS):
            rows = removed[start : start + _ROWS]
            writer.write_batch(pa.record_batch([kept[rows], kept[parent[rows]]], schema=_CLUSTERS))
    counts = np.zeros(len(copies), dtype=np.int32)
    np.add.at(counts, kept[parent], copies[kept])
    return counts
