"""What the signature tasks left on disk, read back piece by piece: band keys, sketches and shingle sets by row."""

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
_BLOCK = 1 << 16  # bytes that come into memory with any one of them
_MOST_BLOCKS = 1 << 10  # blocks after which they are let go of
_AT_ONCE = 1 << 18  # rows
_RUN = 1024  # rows whose begins are counted from one place: 32 bits are enough for that many records


class Spilled:
    """Arrays of one type in several files, read as one array cut into rows; mapped, and not held."""

    def __init__(
        self, paths: Sequence[Path], dtype: npt.DTypeLike, begins: Callable[[Any], Any], first: npt.NDArray[np.int64]
    ) -> None:
        """`begins` tells at which element a row begins, over all files; `first` (files + 1,) each file's first row."""
        self._maps = [_mapped(path) for path in paths]
        self._arrays = [
            np.frombuffer(one, dtype=dtype) if one is not None else np.empty(0, dtype) for one in self._maps
        ]
        self._dtype, self._begins, self._first = np.dtype(dtype), begins, first
        self._blocks = 0

    def read(self, rows: Rows) -> npt.NDArray[Any]:
        """The elements of some rows, one row's behind another's."""
        begins, ends = self._begins(rows), self._begins(rows + 1)
        files = np.searchsorted(self._first, rows, side="right") - 1
        offsets = self._begins(self._first[files])
        found = np.empty(int((ends - begins).sum()), self._dtype)
        filled = 0
        for start in range(0, len(rows), _MOST_BLOCKS):
            piece = slice(start, start + _MOST_BLOCKS)
            spans = zip(
                files[piece].tolist(),
                (begins[piece] - offsets[piece]).tolist(),
                (ends[piece] - offsets[piece]).tolist(),
                strict=True,
            )
            parts = [self._arrays[file][begin:end] for file, begin, end in spans]
            size = int((ends[piece] - begins[piece]).sum())
            np.concatenate(parts, out=found[filled : filled + size])
            filled += size
            span = int(begins[piece].max() - begins[piece].min()) * self._dtype.itemsize
            self._blocks += min(len(parts), span // _BLOCK + 1)
            if self._blocks >= _MOST_BLOCKS:
                self._release()
        return found

    def _release(self) -> None:
        """Let go of the pages that reading has brought in; the system keeps them at hand as long as it can."""
        self._blocks = 0
        for one in self._maps:
            if one is not None:
                one.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path) -> mmap.mmap | None:
    """A file in the address space, or None for an empty one, which cannot be mapped."""
    if not path.stat().st_size:
        return None
    with path.open("rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


class Begins:
    """At which element each of many rows begins: 4 bytes a row, and 8 for each 1,024."""

    def __init__(self, sizes: Sequence[Path], rows: int) -> None:
        """`sizes` are files (uint32) of the number of elements of `rows` rows in order."""
        self._within = np.zeros(rows + 1, dtype=np.uint32)
        self._runs = np.zeros(rows // _RUN + 1, dtype=np.int64)
        row, total = 0, 0
        for path in sizes:
            for start in range(0, path.stat().st_size, 4 * _AT_ONCE):
                found = np.fromfile(path, dtype=np.uint32, count=_AT_ONCE, offset=start)
                begins = np.cumsum(np.concatenate(([total], found)), dtype=np.int64)
                rows_here = np.arange(row, row + len(begins))
                new = np.flatnonzero(rows_here % _RUN == 0)
                self._runs[rows_here[new] // _RUN] = begins[new]
                self._within[rows_here] = begins - self._runs[rows_here // _RUN]
                row, total = row + len(found), int(begins[-1])

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

    def sizes(self, rows: Rows) -> Rows:
        """Number of distinct shingles of each row."""
        return self._begins.of(rows + 1) - self._begins.of(rows)

    def shingles(self, rows: Rows) -> npt.NDArray[np.uint64]:
        """The shingle sets of some rows, each sorted, one behind the other."""
        return self._shingles.read(rows)

    def sketches(self, rows: Rows) -> npt.NDArray[np.uint8]:
        """The lowest byte of each MinHash value of some rows, uint8 (len(rows), width)."""
        result = np.empty((len(rows), self.width), dtype=np.uint8)
        # In the file's order: the pages of a batch are then a part of it, and not all of it.
        order = np.argsort(rows)
        for start in range(0, len(rows), _AT_ONCE):
            chosen = order[start : start + _AT_ONCE]
            result[chosen] = self._sketches.read(rows[chosen]).view(np.uint8).reshape(-1, self.width)
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
