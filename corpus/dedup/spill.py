"""What the signature tasks left on disk, read back piece by piece: band keys, sketches and shingle sets by row."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
_RUN = 1024  # rows whose begins are counted from one place: 32 bits are enough for that many records


class Sets(NamedTuple):
    """Shingle sets in memory: those of row i are `hashes[begins[i] : begins[i] + sizes[i]]`, sorted uint64."""

    hashes: npt.NDArray[np.uint64]
    begins: Rows
    sizes: Rows

    def take(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """The sets of some rows, one behind the other."""
        sizes = self.sizes[rows]
        ends = np.cumsum(sizes)
        shifts = np.repeat(self.begins[rows] - ends + sizes, sizes)
        return self.hashes[shifts + np.arange(len(shifts))]


class Spilled:
    """Arrays of one type in several files, read as one array cut into rows; nothing of it is held."""

    def __init__(
        self, paths: Sequence[Path], dtype: npt.DTypeLike, begins: Callable[[Any], Any], first: npt.NDArray[np.int64]
    ) -> None:
        """`begins` tells at which element a row begins, over all files; `first` (files + 1,) each file's first row."""
        self._files = [os.open(path, os.O_RDONLY) for path in paths]
        self._dtype, self._begins, self._first = np.dtype(dtype), begins, first

    def read(self, rows: Rows) -> npt.NDArray[Any]:
        """The elements of ascending rows, one row behind the other; rows that touch are read at once."""
        starts, ends = self._begins(rows), self._begins(rows + 1)
        result = np.empty(int((ends - starts).sum()), dtype=self._dtype)
        if not len(result):
            return result
        files = np.searchsorted(self._first, rows, side="right") - 1
        new = np.concatenate(([True], (starts[1:] != ends[:-1]) | (np.diff(files) != 0)))
        firsts = np.flatnonzero(new)
        lengths = self._dtype.itemsize * np.add.reduceat(ends - starts, firsts)
        offsets = self._dtype.itemsize * (starts - self._begins(self._first[files]))[firsts]
        to = np.cumsum(lengths)
        # A loop over hundreds of thousands of small reads: every name it looks up costs.
        view, fetch, handles = result.view(np.uint8).data, os.preadv, self._files
        spans = zip(files[firsts].tolist(), offsets.tolist(), (to - lengths).tolist(), to.tolist(), strict=True)
        for file, offset, low, high in spans:
            while low < high:
                count = fetch(handles[file], (view[low:high],), offset)
                if not count:
                    raise OSError("a file of the near-deduplication is cut")
                low, offset = low + count, offset + count
        return result

    def close(self) -> None:
        """Let the files go."""
        for file in self._files:
            os.close(file)


class Begins:
    """At which element each of many rows begins: 4 bytes a row, and 8 for each 1,024."""

    def __init__(self, sizes: Sequence[Path], rows: int) -> None:
        """`sizes` are files (uint32) of the number of elements of `rows` rows in order."""
        self._within = np.zeros(rows + 1, dtype=np.uint32)
        self._runs = np.zeros(rows // _RUN + 1, dtype=np.int64)
        row, total = 0, 0
        for path in sizes:
            begins = np.concatenate(([0], np.cumsum(np.fromfile(path, dtype=np.uint32), dtype=np.int64))) + total
            new = np.arange(-(-row // _RUN), (row + len(begins) - 1) // _RUN + 1)
            self._runs[new] = begins[new * _RUN - row]
            rows_here = np.arange(row, row + len(begins))
            self._within[rows_here] = begins - self._runs[rows_here // _RUN]
            row, total = row + len(begins) - 1, int(begins[-1])

    def of(self, rows: Rows) -> Rows:
        """The elements before each of some rows, int64."""
        return self._runs[rows // _RUN] + self._within[rows]


class Signatures:
    """Band keys, sketches and shingle sets of `rows` texts, numbered from 0 over all `prefixes` in order.

    Memory: 4 bytes a text; everything else stays on disk.
    """

    def __init__(self, prefixes: Sequence[Path], bands: int, width: int) -> None:
        self.bands, self.width = bands, width
        self._blocks = [np.fromfile(prefix.with_suffix(".blocks"), dtype=np.uint32) for prefix in prefixes]
        self._bands = [prefix.with_suffix(".bands") for prefix in prefixes]
        sizes = [prefix.with_suffix(".sizes") for prefix in prefixes]
        first = np.cumsum([0, *(path.stat().st_size // 4 for path in sizes)])
        self.rows = int(first[-1])
        self._begins = Begins(sizes, self.rows)
        shingles, sketches = ([one.with_suffix(kind) for one in prefixes] for kind in (".shingles", ".sketches"))
        self._shingles = Spilled(shingles, np.uint64, self._begins.of, first)
        self._sketches = Spilled(sketches, f"V{width}", lambda rows: rows, first)

    def close(self) -> None:
        """Let the files go."""
        self._shingles.close()
        self._sketches.close()

    def sizes(self, rows: Rows) -> Rows:
        """Number of distinct shingles of each row."""
        return self._begins.of(rows + 1) - self._begins.of(rows)

    def sets(self, rows: Rows) -> Sets:
        """The shingle sets of some different rows, in memory, in their order."""
        order = np.argsort(rows)
        sizes = self.sizes(rows)
        begins = np.empty(len(rows), dtype=np.int64)
        begins[order] = np.cumsum(sizes[order]) - sizes[order]
        return Sets(self._shingles.read(rows[order]), begins, sizes)

    def sketches(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The lowest byte of each MinHash value of some different rows, uint8 (len(rows), width)."""
        order = np.argsort(rows)
        result = np.empty((len(rows), self.width), dtype=np.uint8)
        result[order] = self._sketches.read(rows[order]).view(np.uint8).reshape(-1, self.width)
        return result

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
