"""Near-deduplication of a corpus: signatures from the reading tasks, then one merge; the same rows for any engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from logfm.configs.schema.corpus import NearConfig
from logfm.corpus.dedup.clusters import leaders, own
from logfm.corpus.dedup.signatures import bands_for
from logfm.corpus.dedup.spill import Signatures
from logfm.corpus.parquet import parquet_writer
from logfm.errors import UserError

_CLUSTERS = pa.schema([pa.field("row", pa.int64(), nullable=False), pa.field("kept", pa.int64(), nullable=False)])
_ROWS = 1 << 20
_MOST_ROWS = 1 << 32


def near_copies(
    prefixes: Sequence[Path],
    events: Sequence[int],
    copies: npt.NDArray[np.int32],
    config: NearConfig,
    clusters: Path,
) -> npt.NDArray[np.int32]:
    """Events each row stands for, int32 (events,), after near-deduplication: 0 where it is left out.

    `prefixes` name each task's signatures (see `SignatureWriter`) and `events` its number of events, in order; `copies`
    are those of the exact view. `clusters` gets a Parquet file that names, for each row that the exact view
    keeps and this one does not (`row`), the row that represents it (`kept`). Memory: 20 bytes an event besides
    the arrays of one part and the mapped files.

    Raises:
        UserError: more events than 32 bits can number.
    """
    bands, height = bands_for(config)
    signatures = Signatures(prefixes, bands, bands * height)
    if signatures.rows >= _MOST_ROWS:
        raise UserError(
            "near-deduplication compares at most 4 billion different events at once",
            where=f"{signatures.rows:,} different events",
            fix="build the corpus in parts, or with --dedup exact",
        )
    kept = _rows_of(prefixes, events, signatures.rows)
    # Two tasks may have read the same text, of which the exact view keeps one.
    chosen = copies[kept] > 0
    parent = leaders(signatures, config.threshold, chosen)
    del signatures
    counts = np.zeros(len(copies), dtype=np.int32)
    removed = chosen & ~own(parent)
    with parquet_writer(clusters, _CLUSTERS) as writer:
        for start in range(0, len(parent), _ROWS):
            piece = slice(start, start + _ROWS)
            rows, leader, left = kept[piece], kept[parent[piece]], removed[piece]
            np.add.at(counts, leader, np.where(chosen[piece], copies[rows], 0))
            if left.any():
                writer.write_batch(pa.record_batch([rows[left], leader[left]], schema=_CLUSTERS))
    return counts


def _rows_of(prefixes: Sequence[Path], events: Sequence[int], count: int) -> npt.NDArray[Any]:
    """The events that have signatures, by their numbers in the whole corpus, uint32 or int64 (count,)."""
    rows: npt.NDArray[Any] = np.empty(count, dtype=np.uint32 if sum(events) < 1 << 32 else np.int64)
    end = first = 0
    for prefix, size in zip(prefixes, events, strict=True):
        path = prefix.with_suffix(".rows")
        start, end = end, end + path.stat().st_size // 8
        rows[start:end] = np.fromfile(path, dtype=np.int64) + first
        first += size
    return rows
