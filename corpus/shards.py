"""Events to Parquet: record batches, shards of a bounded size, and a 128-bit hash of each text."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.corpus.events import SCHEMA, Event, Reject

BATCH_ROWS = 8192
BATCH_BYTES = 8 << 20
HASH_BYTES = 16
REJECT_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)
# Columns whose values repeat; the others would only fill a dictionary for nothing.
_DICTIONARY = ["source", "file", "host", "user", "process", "log_type", "label", "reason"]


def text_hash(text: str) -> bytes:
    """The identity of a text, whatever its source: BLAKE2b with 128 bits."""
    return hashlib.blake2b(text.encode(), digest_size=HASH_BYTES).digest()


def event_batch(events: Sequence[Event], columns: Sequence[str] | None = None) -> pa.RecordBatch:
    """Arrow record batch of events in SCHEMA, or of some of its columns in the order asked for."""
    names = SCHEMA.names if columns is None else list(columns)
    schema = pa.schema([SCHEMA.field(name) for name in names])
    arrays = [pa.array([getattr(event, name) for event in events], type=SCHEMA.field(name).type) for name in names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def in_batches(events: Iterable[Event], rows: int = BATCH_ROWS) -> Iterator[list[Event]]:
    """Lists of events, each of at most `rows` events and about 8 MiB of text."""
    held: list[Event] = []
    size = 0
    for event in events:
        held.append(event)
        size += len(event.text)
        if len(held) >= rows or size >= BATCH_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


class ShardWriter:
    """Writes events to `PREFIX-NNNNN.parquet` files and their text hashes to one file; `shards` lists the names."""

    def __init__(self, folder: Path, prefix: str, shard_bytes: int, hashes: IO[bytes]) -> None:
        self._folder, self._prefix, self._shard_bytes = folder, prefix, shard_bytes
        self._hashes = hashes
        self._writer: pq.ParquetWriter | None = None
        self._size = 0
        self.shards: list[str] = []

    def write(self, events: Sequence[Event]) -> None:
        """Append a batch; a shard that is full is closed."""
        if self._writer is None:
            self.shards.append(f"{self._prefix}-{len(self.shards):05d}.parquet")
            self._writer = parquet_writer(self._folder / self.shards[-1], SCHEMA)
        self._writer.write_batch(event_batch(events))
        self._hashes.write(b"".join(text_hash(event.text) for event in events))
        self._size += sum(len(event.text) for event in events)
        if self._size >= self._shard_bytes:
            self.close()

    def close(self) -> None:
        """Finish the shard at hand."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._size = None, 0


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A zstd-compressed Parquet file."""
    repeated = [name for name in _DICTIONARY if name in schema.names]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeated)


def reject_batch(rejects: Sequence[Reject]) -> pa.RecordBatch:
    """Arrow record batch of rejects in REJECT_SCHEMA."""
    arrays = [
        pa.array([getattr(reject, name) for reject in rejects], type=REJECT_SCHEMA.field(name).type)
        for name in REJECT_SCHEMA.names
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA)
