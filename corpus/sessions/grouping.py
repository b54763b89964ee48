"""Which session each event belongs to."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from logfm.corpus.dedup.spill import Rows
from logfm.corpus.shards import text_hash

NONE = -1
_PARTITION = 1 << 22  # events sorted at once: about 40 bytes each
_COLUMNS = ["timestamp", "host", "process", "user", "session_id"]
_RECORD = np.dtype([("key", "<u8"), ("given", "?"), ("time", "<i8")])
_NO_TIME = np.iinfo(np.int64).min


def sessions_of(shards: Sequence[Path], gap: float, spool: Path) -> tuple[Rows, int]:
    """The session of each event, int64 (events,) numbered from 0, NONE for events without; and their number.

    A session is what one host, process and user log without a pause of `gap` seconds or more (LogAtlas, section 3.2);
    empty columns count as equal. An event that came with a session_id keeps it: those are grouped by source and id
    alone. An event without a time, and without a session_id, is in no session. Numbers grow with the first event's
    time (and row). Memory: 8 bytes an event and one partition.
    """
    total = _spool(shards, spool)
    sessions = np.full(total, NONE, dtype=np.int64)
    begins: list[Rows] = []
    parts = max(1, -(-total // _PARTITION))
    count = 0
    for part in range(parts):
        rows, records = _select(spool, total, part, parts)
        order = np.lexsort((rows, records["time"], records["key"]))
        rows, records = rows[order], records[order]
        new = np.ones(len(rows), dtype=bool)
        with np.errstate(over="ignore"):  # a missing time before a given one
            paused = np.diff(records["time"]) >= round(gap * 1e6)
        new[1:] = (records["key"][1:] != records["key"][:-1]) | (paused & ~records["given"][1:])
        sessions[rows] = np.cumsum(new) - 1 + count
        begins.append(np.stack((records["time"][new], rows[new])))
        count += int(new.sum())
    return _in_order_of_time(sessions, begins, count), count


def _in_order_of_time(sessions: Rows, begins: Sequence[Rows], count: int) -> Rows:
    times, rows = np.concatenate(begins, axis=1)
    rank = np.empty(count + 1, dtype=np.int64)
    rank[np.lexsort((rows, times))] = np.arange(count)
    rank[NONE] = NONE
    return rank[sessions]


def _spool(shards: Sequence[Path], spool: Path) -> int:
    total = 0
    with spool.open("wb") as stream:
        for shard in shards:
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=1 << 16, columns=[*_COLUMNS, "source"]):
                stream.write(_records(batch).tobytes())
                total += batch.num_rows
    return total


def _records(batch: pa.RecordBatch) -> npt.NDArray[np.void]:
    records = np.empty(batch.num_rows, dtype=_RECORD)
    given = batch.column("session_id").is_valid()
    own = _hashes([batch.column(name) for name in ("host", "process", "user")], "own")
    told = _hashes([batch.column(name) for name in ("source", "session_id")], "told")
    records["given"] = given.to_numpy(zero_copy_only=False)
    records["key"] = np.where(records["given"], told, own)
    times = batch.column("timestamp").cast(pa.int64())
    records["time"] = pc.fill_null(times, int(_NO_TIME)).to_numpy(zero_copy_only=False)
    return records


def _hashes(columns: Sequence[pa.Array], kind: str) -> npt.NDArray[np.uint64]:
    """A 64-bit number for the values of each row; equal values, and only those, have equal numbers."""
    lengths = [pc.fill_null(pc.binary_length(column), -1).cast(pa.string()) for column in columns]
    filled = [column.fill_null("") for column in columns]
    joined = pc.binary_join_element_wise(*lengths, *filled, "\x1f")
    coded = joined.dictionary_encode()
    numbers = [int.from_bytes(text_hash(f"{kind}\x1f{value}")[:8], "little") for value in coded.dictionary.to_pylist()]
    return np.array(numbers, dtype=np.uint64)[coded.indices.to_numpy()]


def _select(spool: Path, total: int, part: int, parts: int) -> tuple[Rows, npt.NDArray[np.void]]:
    rows: list[Rows] = [np.empty(0, np.int64)]
    found: list[npt.NDArray[np.void]] = [np.empty(0, _RECORD)]
    for start, records in _pieces(spool, total):
        mine = (records["key"] % np.uint64(parts) == part) & (records["given"] | (records["time"] != _NO_TIME))
        rows.append(np.flatnonzero(mine) + start)
        found.append(records[mine])
    return np.concatenate(rows), np.concatenate(found)


def _pieces(spool: Path, total: int) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    step = 1 << 20
    with spool.open("rb") as stream:
        for start in range(0, total, step):
            yield start, np.fromfile(stream, dtype=_RECORD, count=min(step, total - start))
