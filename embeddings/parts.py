"""One large Parquet file written in parts, so that a run that was killed goes on behind its last whole part.

Parts lie in `.NAME.partial` beside the file that they will become; each appears whole or not at all, and so does the
file, at the end.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import partial_folder, write_atomic
from logfm.console import say
from logfm.embeddings.encoder import Counts
from logfm.errors import UserError

_KEY = "key"
_COUNTS = b"logfm.encoder.counts"
# What is read from standard input can't be read again: its parts serve no later run.
_ONCE = "once"
_MERGED_ROWS = 16_384


@dataclass
class Parts:
    """The whole parts so far, in their order."""

    folder: Path
    schema: pa.Schema
    paths: list[Path]
    rows: int
    counts: Counts
    """What was read for them, those of earlier runs included."""

    def write(self, batches: list[pa.RecordBatch], counts: Counts) -> None:
        """Add a part, and what was read for all parts so far; it is on the disk when this returns."""
        path = self.folder / f"part-{len(self.paths):06d}.parquet"
        self.counts = replace(counts)
        self._whole(path, iter(batches))
        self.paths.append(path)
        self.rows += sum(batch.num_rows for batch in batches)

    def merge(self, out: Path) -> None:
        """Make one file of all parts."""
        self._whole(out, (batch for path in self.paths for batch in pq.ParquetFile(path).iter_batches(_MERGED_ROWS)))

    def _whole(self, path: Path, batches: Iterator[pa.RecordBatch]) -> None:
        temporary = self.folder / "unfinished"
        with pq.ParquetWriter(temporary, self.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch.cast(self.schema))
            writer.add_key_value_metadata({_COUNTS: orjson.dumps(asdict(self.counts))})
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def parts_of(out: Path, schema: pa.Schema, key: str | None) -> Iterator[Parts]:
    """The parts of the file `out`, those of an earlier run under the same `key` included.

    They are deleted at the end. After an error they stay for the next run, unless there are none or `key` is None,
    which stands for an input that can be read once only.

    Raises:
        UserError: parts of another configuration or other inputs are in the way, another process writes them, or the
            place can't be written.
    """
    folder = partial_folder(out)
    with _ours(folder, key or _ONCE):
        paths = sorted(folder.glob("part-*.parquet"))
        counts = (counts_of(paths[-1]) if paths else None) or Counts()
        parts = Parts(folder, schema, paths, sum(pq.read_metadata(path).num_rows for path in paths), counts)
        try:
            yield parts
        except BaseException:
            if key is None or not parts.paths:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                say(f"the first {parts.rows} events are kept: the same command goes on behind them")
            raise
        shutil.rmtree(folder)


def clear_finished(out: Path) -> None:
    """Remove the parts of a file that is whole, which a kill in the last moment leaves; not those of a live process."""
    folder = partial_folder(out)
    if not folder.is_dir():
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except BlockingIOError:
        return
    finally:
        os.close(lock)


def counts_of(path: Path) -> Counts | None:
    """What an encoder read for a file that this module wrote; None where the file does not tell."""
    told = (pq.read_metadata(path).metadata or {}).get(_COUNTS)
    return None if told is None else Counts(**orjson.loads(told))


@contextmanager
def _ours(folder: Path, key: str) -> Iterator[None]:
    """Lock the folder, and empty it of parts that are of no use."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", folder.parent, "Choose another --out.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another process is writing this file", folder) from None
        known = folder / _KEY
        left = known.read_text() if known.exists() else _ONCE
        if left not in (key, _ONCE):
            raise UserError(
                "unfinished work of another configuration or other inputs is in the way", folder, "Delete it."
            )
        if left == _ONCE:
            for path in folder.iterdir():
                path.unlink()
            # Whole or not at all: an empty key would be that of another configuration.
            write_atomic(known, key.encode())
        yield
    finally:
        os.close(lock)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
