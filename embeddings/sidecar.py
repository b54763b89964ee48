"""The events of a segment by row: row groups are read when a hit needs them, and kept."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

_KEPT = 256
"""Row groups in memory at most, so about two million events."""


@dataclass(frozen=True, eq=False)
class Sidecar:
    """A segment's Parquet file; safe to read from several threads."""

    path: Path
    columns: tuple[str, ...]
    _groups: OrderedDict[int, pa.Table] = field(default_factory=OrderedDict, repr=False)
    # A Parquet reader keeps a position in its file, which threads may not share.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path)

    @cached_property
    def _ends(self) -> np.ndarray:
        """The row after the last one of each row group, int64 (groups,)."""
        metadata = self._file.metadata
        return np.cumsum([metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)])

    def records(self, rows: Sequence[int]) -> dict[int, dict[str, Any]]:
        """The events of some rows, by row; `rows` may come in any order and repeat."""
        wanted = np.unique(np.asarray(rows, dtype=np.int64))
        groups = np.searchsorted(self._ends, wanted, side="right")
        found: dict[int, dict[str, Any]] = {}
        for group in np.unique(groups):
            inside = wanted[groups == group]
            table = self._group(int(group))
            first = int(self._ends[group]) - table.num_rows
            records = table.take(pa.array(inside - first)).to_pylist()
            found.update(zip(inside.tolist(), records, strict=True))
        return found

    def _group(self, number: int) -> pa.Table:
        with self._lock:
            table = self._groups.pop(number, None)
            if table is None:
                table = self._file.read_row_group(number, columns=list(self.columns))
            self._groups[number] = table
            if len(self._groups) > _KEPT:
                self._groups.popitem(last=False)
        return table
