"""Exact deduplication: the first of equal texts and how often it comes, in memory bounded by partitions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logfm.corpus.shards import HASH_BYTES

_PARTITION = 1 << 22  # events sorted at once: 40 bytes each


def exact_copies(hashes: Sequence[Path], events: int) -> npt.NDArray[np.int32]:
    """Copies of each text, int32 (events,): their number where a text comes first, 0 where it is a repetition.

    `hashes` are files of 16-byte text hashes in the order of the events. Memory is 4 bytes an event plus one
    partition of the hash space.
    """
    copies = np.zeros(events, dtype=np.int32)
    partitions = max(1, -(-events // _PARTITION))
    for partition in range(partitions):
        keys, rows = _select(hashes, partition, partitions)
        order = np.lexsort((keys[:, 1], keys[:, 0]))
        keys = keys[order]
        begins = np.ones(len(keys), dtype=bool)
        begins[1:] = (keys[1:] != keys[:-1]).any(axis=1)
        starts = np.flatnonzero(begins)
        # lexsort is stable: within equal keys the rows ascend, so the first one came first.
        copies[rows[order[starts]]] = np.diff(starts, append=len(keys))
    return copies


def _select(
    hashes: Sequence[Path], partition: int, partitions: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    keys: list[npt.NDArray[np.uint64]] = [np.empty((0, 2), dtype=np.uint64)]
    rows: list[npt.NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    start = 0
    for path in hashes:
        count = path.stat().st_size // HASH_BYTES
        found = np.fromfile(path, dtype="<u8").reshape(count, 2)
        mine = np.flatnonzero(found[:, 0] % np.uint64(partitions) == partition)
        keys.append(found[mine])
        rows.append(mine + start)
        start += count
    return np.concatenate(keys), np.concatenate(rows)
