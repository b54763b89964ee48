"""The vectors of one segment, searched with FAISS: on a GPU where faiss-gpu finds one, among allowed events only."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from logfm.extras import require

# A graph or compressed index is searched exhaustively among so many allowed rows, or such a share: its shortcuts
# assume that most rows are allowed, and lose hits where few are.
_FEW = 50_000
_SMALL_SHARE, _LARGE_SHARE = 0.05, 0.5
# FAISS's kernels return at most so many.
_GPU_TOP = 2048


@dataclass(frozen=True, eq=False)
class Allowed:
    """The rows of a segment that may be found."""

    mask: np.ndarray
    """bool (rows,)."""

    @cached_property
    def count(self) -> int:
        """How many they are."""
        return int(self.mask.sum())

    @cached_property
    def bits(self) -> np.ndarray:
        """The mask as FAISS takes it, uint8, the lowest bit first."""
        return np.packbits(self.mask, bitorder="little")


@dataclass(frozen=True, eq=False)
class Vectors:
    """An opened FAISS index; safe to search from several threads."""

    index: Any
    gpu: Any = None
    """A copy of a flat index on the GPUs, if there are any."""
    # The scratch memory of a GPU serves one search at a time.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, path: Path) -> "Vectors":
        """Read the file of a segment."""
        faiss = require("faiss", "cpu")
        index = faiss.read_index(str(path))
        on_gpu = has_gpu() and isinstance(index, faiss.IndexFlat)
        return cls(index, faiss.index_cpu_to_all_gpus(index) if on_gpu else None)

    @property
    def rows(self) -> int:
        """Number of vectors."""
        return int(self.index.ntotal)

    def nearest(self, queries: np.ndarray, k: int, allowed: Allowed | None) -> tuple[np.ndarray, np.ndarray]:
        """Cosines (float32) and rows (int64), each (queries, min(k, allowed rows)), best first; row -1 for none.

        `queries` is float32 (queries, dim) of rows of length 1; `allowed` None allows all.
        """
        top = min(k, self.rows if allowed is None else allowed.count)
        if not top:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        if self.gpu is not None and allowed is None and top <= _GPU_TOP:
            with self._lock:
                return self.gpu.search(queries, top)
        faiss = require("faiss", "cpu")
        index = self.index
        share = 1.0 if allowed is None else allowed.count / self.rows
        few = share <= _SMALL_SHARE or (share < _LARGE_SHARE and share * self.rows <= _FEW)
        if few and isinstance(index, faiss.IndexHNSW):
            index = faiss.downcast_index(index.storage)
        return index.search(queries, top, params=_parameters(index, top, allowed, share, few))


def has_gpu() -> bool:
    """Whether faiss-gpu is installed and sees a GPU."""
    faiss = require("faiss", "cpu")
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def _parameters(index: Any, top: int, allowed: Allowed | None, share: float, exhaustive: bool) -> Any:
    """FAISS search parameters: the id selector, and a breadth that fits `top` and the share of allowed rows."""
    faiss = require("faiss", "cpu")
    options: dict[str, Any] = {} if allowed is None else {"sel": faiss.IDSelectorBitmap(allowed.bits)}
    if isinstance(index, faiss.IndexHNSW):
        breadth = int(max(index.hnsw.efSearch, 2 * top) / share)
        usual = not options and breadth == index.hnsw.efSearch
        return None if usual else faiss.SearchParametersHNSW(efSearch=breadth, **options)
    if isinstance(index, faiss.IndexIVF):
        cells = index.nlist if exhaustive else min(index.nlist, int(index.nprobe / share))
        return faiss.SearchParametersIVF(nprobe=cells, **options)
    return faiss.SearchParameters(**options) if options else None
