"""Exact deduplication: the first of equal texts and how often it comes; hashes are sorted bucket by bucket on disk."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logfm.corpus.shards import HASH_BYTES

_BUCKET = 1 << 19  # events sorted at once: about 80 bytes each
_MOST_BUCKETS = 256  # files written at once
_READ = 1 << 16
_RECORD = np.dtype([("high", "<u8"), ("low", "<u8"), ("row", "<i8")])
Records = npt.NDArray[np.void]


def exact_copies(hashes: Sequence[Path], events: int, spool: Path) -> npt.NDArray[np.int32]:
    """Copies of each text, int32 (events,): their number where a text comes first, 0 where it is a repetition.

    `hashes` are files of 16-byte text hashes in the order of the events. Memory is 4 bytes an event plus one bucket;
    where there are several, they lie under `spool` (24 bytes an event) while this runs.
    """
    copies = np.zeros(events, dtype=np.int32)
    buckets = min(-(-events // _BUCKET), _MOST_BUCKETS)
    for records in _in_buckets(hashes, buckets, spool) if buckets > 1 else [_whole(hashes)]:
        order = np.lexsort((records["low"], records["high"]))
        high, low = records["high"][order], records["low"][order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        starts = np.flatnonzero(begins)
        # lexsort is stable: within equal keys the rows ascend, so the first one came first.
        copies[records["row"][order[starts]]] = np.diff(starts, append=len(order))
    return copies


def _whole(hashes: Sequence[Path]) -> Records:
    return np.concatenate([*_records(hashes), np.empty(0, _RECORD)])


def _in_buckets(hashes: Sequence[Path], count: int, spool: Path) -> Iterator[Records]:
    """The records cut by their hash into `count` files; each is read, handed out and removed."""
    paths = [spool / f"exact-{number:03d}" for number in range(count)]
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in paths]
        for records in _records(hashes):
            bucket = records["low"] % np.uint64(count)
            order = np.argsort(bucket, kind="stable")
            ends = np.cumsum(np.bincount(bucket.astype(np.int64), minlength=count))
            records = records[order]
            for file, start, end in zip(files, np.append(0, ends), ends, strict=False):
                file.write(records[start:end].data)
    for path in paths:
        yield np.fromfile(path, dtype=_RECORD)
        path.unlink()


def _records(hashes: Sequence[Path]) -> Iterator[Records]:
    row = 0
    for path in hashes:
        for start in range(0, path.stat().st_size, _READ * HASH_BYTES):
            found = np.fromfile(path, dtype="<u8", count=2 * _READ, offset=start).reshape(-1, 2)
            records = np.empty(len(found), dtype=_RECORD)
            records["high"], records["low"] = found[:, 0], found[:, 1]
            records["row"] = np.arange(row, row + len(found))
            row += len(found)
            yield records
