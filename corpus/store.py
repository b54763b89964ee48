"""A finished corpus: Parquet shards of events, the pretraining view, the rejects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import Manifest, read_manifest
from logfm.errors import UserError

EVENTS = "events"
REJECTS = "rejects.parquet"
SESSIONS_FILE = "sessions.parquet"
BATCH_ROWS = 4096


@dataclass(frozen=True)
class Corpus:
    """A corpus folder. Events keep the order in which they were read; `row` numbers count that order from 0."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> "Corpus":
        """Open a finished corpus.

        Raises:
            UserError: not a corpus, or damaged.
        """
        return cls(Path(path), read_manifest(Path(path), "corpus"))

    @property
    def rows(self) -> int:
        """Number of events in the full stream."""
        return sum(pq.ParquetFile(shard).metadata.num_rows for shard in self._shards())

    def batches(
        self, columns: Sequence[str] | None = None, view: str | None = None, rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Stream the events in order, in bounded memory.

        `view` keeps one event of each group of duplicates ("exact"); without it the full stream comes.

        Raises:
            UserError: the corpus has no such view.
        """
        kept = None if view is None else self.kept_rows(view)
        start = 0
        for shard in self._shards():
            for batch in pq.ParquetFile(shard).iter_batches(batch_size=rows, columns=columns and list(columns)):
                end = start + batch.num_rows
                if kept is None:
                    yield batch
                else:
                    low, high = np.searchsorted(kept, [start, end])
                    if low < high:
                        yield batch.take(pa.array(kept[low:high] - start))
                start = end

    def kept_rows(self, view: str) -> np.ndarray:
        """Row numbers (int64, ascending) of a deduplicated view.

        Raises:
            UserError: the corpus has no such view.
        """
        path = self.path / "views" / f"{view}.parquet"
        if not path.exists():
            raise UserError(f"the corpus has no view {view!r}", self.path, "Build it with --dedup.")
        return pq.read_table(path, columns=["row"])["row"].to_numpy()

    def rejects(self) -> pa.Table:
        """What became no event: file, offset, reason, excerpt."""
        return pq.read_table(self.path / REJECTS)

    def sessions(self) -> pa.Table:
        """The sessions, one row each, in order of their start (columns: `corpus.sessions.table.SESSIONS`).

        Raises:
            UserError: the corpus was built without sessions.
        """
        path = self.path / SESSIONS_FILE
        if not path.exists():
            raise UserError("the corpus has no sessions", self.path, "Build it with --sessions 5m.")
        return pq.read_table(path)

    def _shards(self) -> list[Path]:
        return sorted((self.path / EVENTS).glob("part-*.parquet"))
