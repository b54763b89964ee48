"""The vectors of one segment, searched with FAISS: on a GPU where faiss-gpu finds one, among allowed events only."""

import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from logfm.console import say
from logfm.embeddings.copies import members
from logfm.extras import require

# A graph or compressed index is searched exhaustively among so many allowed rows, or such a share: its shortcuts
# assume that most rows are allowed, and lose hits where few are.
_FEW = 50_000
_SMALL_SHARE, _LARGE_SHARE = 0.05, 0.5
# Candidates of a compressed index for each hit, which are ranked by their whole vectors.
_CANDIDATES = 20
NODES = "nodes.npy"
RAW = "vectors.raw"
# FAISS's kernels return at most so many, and look into at most so many cells.
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

    def among(self, nodes: np.ndarray) -> "Allowed":
        """The different vectors that an allowed row has, given that of each row of the segment; worked out once."""
        if "_among" not in self.__dict__:
            mask = np.zeros(int(nodes.max()) + 1, dtype=bool)
            mask[nodes[self.mask]] = True
            self.__dict__["_among"] = Allowed(mask)
        found: Allowed = self.__dict__["_among"]
        return found

    def members(self, rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `copies.members` gives, without the rows that may not be found; worked out once."""
        if "_members" not in self.__dict__:
            kept = self.mask[rows]
            self.__dict__["_members"] = rows[kept], np.append(0, np.cumsum(kept))[starts]
        found: tuple[np.ndarray, np.ndarray] = self.__dict__["_members"]
        return found

    @cached_property
    def bits(self) -> np.ndarray:
        """The mask as FAISS takes it, uint8, the lowest bit first."""
        return np.packbits(self.mask, bitorder="little")


@dataclass(frozen=True, eq=False)
class Vectors:
    """An opened FAISS index; safe to search from several threads."""

    index: Any
    gpu: Any = None
    """What answers in its place on the GPUs, if there are any."""
    nodes: np.ndarray | None = None
    """int32 (rows,): which of the vectors in the index each row has; None where every row has its own."""
    exact: np.ndarray | None = field(default=None, repr=False)
    """float32 (rows, dim), on disk: the whole vectors behind a compressed index."""
    # The scratch memory of a GPU serves one search at a time.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def open(cls, path: Path) -> "Vectors":
        """Read the file of a segment."""
        faiss = require("faiss", "cpu")
        index = faiss.read_index(str(path))
        nodes, raw = path.with_name(NODES), path.with_name(RAW)
        return cls(
            index,
            _on_gpus(index) if has_gpu() else None,
            np.load(nodes, allow_pickle=False) if nodes.exists() else None,
            np.memmap(raw, dtype=np.float32, mode="r").reshape(-1, index.d) if raw.exists() else None,
        )

    @property
    def rows(self) -> int:
        """Number of events."""
        return int(self.index.ntotal) if self.nodes is None else len(self.nodes)

    @cached_property
    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.nodes is not None
        return members(self.nodes)

    def nearest(self, queries: np.ndarray, k: int, allowed: Allowed | None) -> tuple[np.ndarray, np.ndarray]:
        """Cosines (float32) and rows (int64), each (queries, min(k, allowed rows)), best first; row -1 for none.

        `queries` is float32 (queries, dim) of rows of length 1; `allowed` None allows all.
        """
        top = min(k, self.rows if allowed is None else allowed.count)
        if self.nodes is None:
            return self.different(queries, top, allowed)
        scores, nodes = self.different(queries, top, None if allowed is None else allowed.among(self.nodes))
        rows, starts = self._members if allowed is None else allowed.members(*self._members)
        return _spread(scores, nodes, rows, starts, top)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The vectors of some rows, float32 (rows, dim)."""
        if self.exact is not None:
            return np.array(self.exact[rows])
        numbers = rows if self.nodes is None else self.nodes[rows]
        found: np.ndarray = self.index.reconstruct_batch(np.asarray(numbers, dtype=np.int64))
        return found

    def different(self, queries: np.ndarray, k: int, allowed: Allowed | None) -> tuple[np.ndarray, np.ndarray]:
        """`nearest` among the different vectors: their numbers in the index; `allowed` is over those."""
        top = min(k, int(self.index.ntotal) if allowed is None else allowed.count)
        if not top:
            return _none(len(queries), 0)
        if self.exact is None:
            return self._search(queries, top, allowed)
        scores, found = _none(len(queries), top)
        _, candidates = self._search(queries, min(_CANDIDATES * top, int(self.index.ntotal)), allowed)
        for query, numbers in enumerate(candidates):
            numbers = np.sort(numbers[numbers >= 0])
            rows = numbers if self.nodes is None else self._members[0][self._members[1][numbers]]
            cosines = self.exact[rows] @ queries[query]
            best = np.argsort(-cosines, kind="stable")[:top]
            scores[query, : len(best)], found[query, : len(best)] = cosines[best], numbers[best]
        return scores, found

    def _search(self, queries: np.ndarray, top: int, allowed: Allowed | None) -> tuple[np.ndarray, np.ndarray]:
        if self.gpu is not None and allowed is None and top <= _GPU_TOP:
            with self._lock:
                return self.gpu.search(queries, top)
        faiss = require("faiss", "cpu")
        index = self.index
        share = 1.0 if allowed is None else allowed.count / index.ntotal
        few = share <= _SMALL_SHARE or (share < _LARGE_SHARE and share * index.ntotal <= _FEW)
        if few and isinstance(index, faiss.IndexHNSW):
            index = faiss.downcast_index(index.storage)
        return index.search(queries, top, params=_parameters(index, top, allowed, share, few))


def _spread(
    scores: np.ndarray, nodes: np.ndarray, rows: np.ndarray, starts: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the different vectors that were found (`copies.members`), each with its vector's score."""
    firsts = starts[nodes]
    counts = np.where(nodes < 0, 0, starts[nodes + 1] - firsts)
    if nodes.shape[1] == top and (counts == 1).all():
        return scores, rows[firsts]
    ends = np.minimum(np.cumsum(counts, axis=1), top)
    taken = np.diff(ends, axis=1, prepend=0).ravel()
    steps = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    filled = np.arange(top) < ends[:, -1:]
    best, found = _none(len(nodes), top)
    best[filled] = np.repeat(scores.ravel(), taken)
    found[filled] = rows[np.repeat(firsts.ravel(), taken) + steps]
    return best, found


def _none(queries: int, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows of nothing found."""
    return np.full((queries, top), -np.inf, dtype=np.float32), np.full((queries, top), -1, dtype=np.int64)


def has_gpu() -> bool:
    """Whether faiss-gpu is installed and sees a GPU."""
    faiss = require("faiss", "cpu")
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def _on_gpus(index: Any) -> Any:
    """A copy on the GPUs: of a graph its whole vectors, which are all compared there, else of the index itself; None
    where FAISS has no kernel for it, or no memory."""
    faiss = require("faiss", "cpu")
    if isinstance(index, faiss.IndexHNSW):
        index = faiss.downcast_index(index.storage)
    if isinstance(index, faiss.IndexIVF) and index.nprobe > _GPU_TOP:
        return None
    try:
        return faiss.index_cpu_to_all_gpus(index)
    except RuntimeError as error:
        say(f"the index is searched on the CPU: {(str(error).splitlines() or [''])[-1]}")
        return None


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
