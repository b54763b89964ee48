"""The events of a segment by row: row groups are read when a hit needs them, and kept."""

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

COLUMNS = ("event_id", "text", "source", "file", "offset", "timestamp", "host")
"""What `Sidecar.records` gives, in this order."""
_KEPT = 2**29
"""Bytes of row groups in memory at most, for all segments of an index together."""
# Columns of few different values, which become Python objects once in a row group.
_FEW = ("source", "file", "host")
# A time is kept as what datetime takes, which is several times as fast as adding seconds to another; no year: no time.
_DATE = ("year", "month", "day", "hour", "minute", "second")
_LONG, _SHORT = ("start", "stop", "offset"), ("length", *_FEW, "micros")
_ROW = Struct("=qqqiiiiihhhhhh")
_PACKED = np.dtype(
    [*((name, "=i8") for name in _LONG), *((name, "=i4") for name in _SHORT), *((name, "=i2") for name in _DATE)]
)

Record = tuple[str, str, str, str, int, datetime | None, str | None]


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group, packed row by row: hits are at random places, and each array more is a cache miss more."""

    first: int
    rows: bytes
    """For each row what _PACKED names: its span of `content`, its places in `values`, and the time."""
    content: bytes
    """UTF-8 of each event_id with its text."""
    values: tuple[list[Any], list[Any], list[Any]]
    """The different values of each of _FEW."""


@dataclass(frozen=True, eq=False)
class Sidecar:
    """A segment's Parquet file, held open as a later change may remove it; safe to read from several threads."""

    path: Path
    share: int = 1
    """How many segments the memory for row groups is shared by."""
    _groups: dict[int, _Group] = field(default_factory=dict, repr=False)
    # A Parquet reader keeps a position in its file, which threads may not share.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        _ = self._file, self.events

    @cached_property
    def _source(self) -> pa.NativeFile:
        return pa.OSFile(str(self.path))

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._source, read_dictionary=list(_FEW))

    @cached_property
    def events(self) -> ds.Dataset:
        """All rows, for conditions over them."""
        fragment = ds.ParquetFileFormat().make_fragment(self._source)
        return ds.FileSystemDataset([fragment], fragment.physical_schema, fragment.format)

    @cached_property
    def _ends(self) -> list[int]:
        """The row after the last one of each row group."""
        metadata = self._file.metadata
        return list(accumulate(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)))

    def records(self, rows: Sequence[int]) -> list[Record]:
        """The values of COLUMNS at some rows, which ascend."""
        found: list[Record] = []
        unpack, size, end = _ROW.unpack_from, _ROW.size, 0
        for row in rows:
            if row >= end:
                number = bisect_right(self._ends, row)
                group = self._groups.get(number) or self._read(number)
                packed, content, first, end = group.rows, group.content, group.first, self._ends[number]
                sources, files, hosts = group.values
            start, stop, offset, length, source, file, host, micros, year, month, day, hour, minute, second = unpack(
                packed, size * (row - first)
            )
            both = content[start:stop].decode()
            time = datetime(year, month, day, hour, minute, second, micros, UTC) if year else None
            found.append((both[:length], both[length:], sources[source], files[file], offset, time, hosts[host]))
        return found

    def _read(self, number: int) -> _Group:
        with self._lock:
            table = self._file.read_row_group(number, columns=list(COLUMNS))
            found = _group(table, self._ends[number] - table.num_rows)
            self._groups[number] = found
            most = _KEPT // self.share
            while len(self._groups) > 1 and sum(len(group.content) for group in self._groups.values()) > most:
                del self._groups[next(iter(self._groups))]
        return found


def _group(table: pa.Table, first: int) -> _Group:
    columns = {name: pa.concat_arrays(table[name].chunks) for name in COLUMNS}
    ids, texts = (columns[name].cast(pa.large_string()) for name in ("event_id", "text"))
    content = pc.binary_join_element_wise(ids, texts, pa.scalar("", pa.large_string()))
    ends = np.cumsum(pc.binary_length(content).to_numpy())
    rows = np.empty(table.num_rows, dtype=_PACKED)
    rows["stop"] = ends
    rows["start"][0], rows["start"][1:] = 0, ends[:-1]
    rows["length"] = pc.utf8_length(ids).to_numpy()
    rows["offset"] = columns["offset"].to_numpy()
    times = columns["timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    rows["micros"] = times.cast(pa.int64()).fill_null(0).to_numpy() % 1_000_000
    for name in _DATE:
        rows[name] = getattr(pc, name)(times).fill_null(0).to_numpy()
    values = []
    for name in _FEW:
        dictionary = columns[name].dictionary.to_pylist()
        rows[name] = columns[name].indices.fill_null(len(dictionary)).to_numpy()
        values.append([*dictionary, None])
    source, file, host = values
    return _Group(first, rows.tobytes(), bytes(content.buffers()[2]), (source, file, host))
