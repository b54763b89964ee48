"""What the signature tasks left on disk, read back piece by piece: band keys, sketches and shingle sets by row."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Spilled:
    """Consecutive arrays of one type in several files, read as one without holding any of it.

    Pages are mapped and given back after each read: they stay in the system's cache and not in this process.
    """

    def __init__(self, paths: Sequence[Path], dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._maps: list[mmap.mmap | None] = []
        self._arrays: list[npt.NDArray[Any]] = []
        for path in paths:
            with path.open("rb") as stream:
                empty = path.stat().st_size == 0
                mapped = None if empty else mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            self._maps.append(mapped)
            self._arrays.append(np.empty(0, self._dtype) if mapped is None else np.frombuffer(mapped, self._dtype))
        self._first = np.concatenate(([0], np.cumsum([len(array) for array in self._arrays]))).astype(np.int64)

    def take(self, begins: Rows, sizes: Rows) -> npt.NDArray[Any]:
        """The slices that begin at `begins` (ascending or not) and have `sizes` elements, one behind the other."""
        ends = np.cumsum(sizes)
        places = np.repeat(begins - ends + sizes, sizes) + np.arange(int(ends[-1]) if len(ends) else 0)
        if len(self._arrays) == 1:
            return self._gather(0, places)
        result = np.empty(len(places), dtype=self._dtype)
        files = np.repeat(np.searchsorted(self._first, begins, side="right") - 1, sizes)
        for file in np.unique(files).tolist():
            mine = files == file
            result[mine] = self._gather(file, places[mine] - self._first[file])
        return result

    def _gather(self, file: int, places: Rows) -> npt.NDArray[Any]:
        found = self._arrays[file][places]
        mapped = self._maps[file]
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)
        return found

    def close(self) -> None:
        """Let the files go."""
        self._arrays.clear()
        for mapped in self._maps:
            if mapped is not None:
                mapped.close()


class Signatures:
    """Band keys, sketches and shingle sets of `rows` texts, numbered from 0 over all `prefixes` in order.

    Memory: 8 bytes a text; everything else stays on disk.
    """

    def __init__(self, prefixes: Sequence[Path], bands: int, width: int) -> None:
        self.bands, self.width = bands, width
        self._blocks = [np.fromfile(prefix.with_suffix(".blocks"), dtype=np.uint32) for prefix in prefixes]
        self._bands = [prefix.with_suffix(".bands") for prefix in prefixes]
        sizes = [np.fromfile(prefix.with_suffix(".sizes"), dtype=np.uint32) for prefix in prefixes]
        self.rows = sum(map(len, sizes))
        self._begins = np.zeros(self.rows + 1, dtype=np.int64)
        np.cumsum(np.concatenate([*sizes, np.empty(0, np.uint32)]), out=self._begins[1:])
        self._shingles = Spilled([prefix.with_suffix(".shingles") for prefix in prefixes], np.uint64)
        self._sketches = Spilled([prefix.with_suffix(".sketches") for prefix in prefixes], f"V{width}")

    def close(self) -> None:
        """Let the files go."""
        self._shingles.close()
        self._sketches.close()

    def sizes(self, rows: Rows) -> Rows:
        """Number of distinct shingles of each row."""
        return self._begins[rows + 1] - self._begins[rows]

    def shingles(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """The sets of some rows, each sorted, one behind the other."""
        return self._shingles.take(self._begins[rows], self.sizes(rows))

    def sketches(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The lowest byte of each MinHash value of some rows, uint8 (len(rows), width)."""
        return self._sketches.take(rows, np.ones_like(rows)).view(np.uint8).reshape(len(rows), self.width)

    def keys(
        self, band: int, chosen: npt.NDArray[np.bool_], part: int, parts: int
    ) -> tuple[npt.NDArray[np.uint64], Rows]:
        """Keys of one band and their rows (ascending): the rows of `chosen` whose key falls into the part."""
        found: list[npt.NDArray[np.uint64]] = [np.empty(0, np.uint64)]
        places: list[Rows] = [np.empty(0, np.int64)]
        start = 0
        for path, blocks in zip(self._bands, self._blocks, strict=True):
            with path.open("rb") as stream:
                offset = 0
                for size in blocks.tolist():
                    stream.seek(8 * (offset + band * size))
                    keys = np.fromfile(stream, dtype=np.uint64, count=size)
                    offset += self.bands * size
                    mine = chosen[start : start + size]
                    if parts > 1:
                        mine = mine & (keys % np.uint64(parts) == part)
                    found.append(keys[mine])
                    places.append(np.flatnonzero(mine) + start)
                    start += size
        return np.concatenate(found), np.concatenate(places)
