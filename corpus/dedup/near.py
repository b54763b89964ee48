"""Near-deduplication of a corpus: signature tasks for each shard, then one merge; the same kept rows for any engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.configs.schema.corpus import NearConfig
from logfm.corpus.dedup.clusters import leaders, own
from logfm.corpus.dedup.signatures import bands_for
from logfm.corpus.dedup.spill import Signatures
from logfm.corpus.parquet import parquet_writer
from logfm.errors import UserError

_CLUSTERS = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("kept", pa.int64(), nullable=False)])
_ROWS = 1 << 20
_MOST_ROWS = 1 << 32


def signature_tasks(shards: Sequence[Path], copies: npt.NDArray[np.int32], folder: Path) -> list[dict[str, Any]]:
    """One task a shard; those of its rows that have `copies` (int32, of the whole corpus) lie in a file in `folder`."""
    tasks = []
    start = 0
    for number, shard in enumerate(shards):
        end = start + pq.ParquetFile(shard).metadata.num_rows
        prefix = folder / f"near-{number:06d}"
        np.flatnonzero(copies[start:end]).tofile(prefix.with_suffix(".kept"))
        tasks.append(
            {"kind": "near", "task": number, "bytes": shard.stat().st_size, "shard": str(shard), "prefix": str(prefix)}
        )
        start = end
    return tasks


def near_copies(
    tasks: Sequence[dict[str, Any]],
    copies: npt.NDArray[np.int32],
    config: NearConfig,
    clusters: Path,
) -> npt.NDArray[np.int32]:
    """Events each row stands for, int32 (events,), after near-deduplication: 0 where it is left out.

    `copies` are those of the exact view. `clusters` gets a Parquet file that names, for each row that the exact view
    keeps and this one does not (`row`), the row that represents it (`kept`). Memory: 20 bytes an event at most, of
    which 4 are what is returned.

    Raises:
        UserError: more events than 32 bits can number.
    """
    bands, height = bands_for(config)
    signatures = Signatures([Path(task["prefix"]) for task in tasks], bands, bands * height)
    if signatures.rows >= _MOST_ROWS:
        raise UserError(
            "near-deduplication compares at most 4 billion different events at once",
            where=f"{signatures.rows:,} different events",
            fix="build the corpus in parts, or with --dedup exact",
        )
    try:
        parent = leaders(signatures, config.threshold)
    finally:
        signatures.close()
    del signatures
    kept = np.flatnonzero(copies)
    counts = np.zeros(len(copies), dtype=np.int32)
    removed = ~own(parent)
    with parquet_writer(clusters, _CLUSTERS) as writer:
        for start in range(0, len(parent), _ROWS):
            piece = slice(start, start + _ROWS)
            rows, leader, left = kept[piece], kept[parent[piece]], removed[piece]
            np.add.at(counts, leader, copies[rows])
            if left.any():
                writer.write_batch(pa.record_batch([rows[left], leader[left]], schema=_CLUSTERS))
    return counts
