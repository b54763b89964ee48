"""Events to Parquet: record batches, shards of a bounded size, and a 128-bit hash of each text."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.corpus.contamination import write_part
from logfm.corpus.events import SCHEMA, Event, Reject
from logfm.corpus.parquet import parquet_writer
from logfm.corpus.templates import template_hashes, templates_of
from logfm.corpus.words import PIECE, pieces, words_of

if TYPE_CHECKING:
    from logfm.corpus.dedup.signatures import SignatureWriter

BATCH_ROWS = 8192
BATCH_BYTES = 8 << 20
HASH_BYTES = 16
_TEMPLATES_HELD = 1 << 18  # events
REJECT_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)


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
    """Writes events to `PREFIX-NNNNN.parquet` files, their text hashes to one file, their templates to some.

    `shards` and `templates` (see `corpus.contamination`) list the files' names, and `contents` holds for each source
    the sum of its text hashes modulo 2**128: equal for equal texts in any order. `change` is what is done to each
    batch before anything is derived from it or written, but for templates of the `originals`, where asked for;
    `signatures` takes the texts for near-deduplication.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        shard_bytes: int,
        hashes: IO[bytes],
        change: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None,
        signatures: "SignatureWriter | None" = None,
        *,
        originals: bool = False,
    ) -> None:
        self._folder, self._prefix, self._shard_bytes = folder, prefix, shard_bytes
        self._hashes, self._change, self._signatures = hashes, change, signatures
        self._originals = originals
        self._rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._size = 0
        self._templates: list[npt.NDArray[np.uint64]] = []
        self.shards: list[str] = []
        self.templates: list[str] = []
        self.contents: Counter[str] = Counter()

    def write(self, events: Sequence[Event]) -> None:
        """Append a batch; a shard that is full is closed."""
        if self._writer is None:
            self.shards.append(f"{self._prefix}-{len(self.shards):05d}.parquet")
            self._writer = parquet_writer(self._folder / self.shards[-1], SCHEMA)
        batch = event_batch(events)
        texts, sources = [event.text for event in events], [event.source for event in events]
        if self._change is not None:
            original, batch = batch, self._change(batch)
            if self._originals:
                was, now = (template_hashes(one.column("text")) for one in (original, batch))
                self._templates.append(was[was != now])
            texts, sources = (batch.column(name).to_pylist() for name in ("text", "source"))
        self._writer.write_batch(batch)
        hashes = [text_hash(text) for text in texts]
        self._hashes.write(b"".join(hashes))
        for source, value in zip(sources, hashes, strict=True):
            self.contents[source] += int.from_bytes(value, "little")
        self._derive(batch.column("text"), hashes)
        if sum(map(len, self._templates)) >= _TEMPLATES_HELD:
            self._spill()
        self._size += sum(map(len, texts))
        if self._size >= self._shard_bytes:
            self._end_shard()

    def close(self) -> None:
        """Finish the files at hand."""
        self._end_shard()
        self._spill()

    def _derive(self, texts: pa.Array, hashes: Sequence[bytes]) -> None:
        """Templates and signatures of a batch, from the same words where they are of the same texts."""
        new = self._signatures.new(hashes) if self._signatures else np.zeros(len(hashes), dtype=bool)
        start = 0
        for piece in pieces(texts, PIECE):
            words = words_of(piece)
            self._templates.append(templates_of(words))
            rows = np.flatnonzero(new[start : start + len(piece)])
            if self._signatures and len(rows):
                chosen = words if len(rows) == len(piece) else words_of(piece.take(pa.array(rows)))
                self._signatures.add(chosen, rows + (self._rows + start))
            start += len(piece)
        self._rows += len(texts)

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer, self._size = None, 0

    def _spill(self) -> None:
        if self._templates:
            self.templates.append(f"{self._prefix}-{len(self.templates):05d}.templates")
            write_part(self._templates, self._folder / self.templates[-1])
            self._templates = []


@contextmanager
def rewriting(shard: Path) -> Iterator[tuple[Iterator[pa.RecordBatch], pq.ParquetWriter]]:
    """The batches of a shard, and a writer whose file takes the shard's place when all went well."""
    changed = shard.with_suffix(".next")
    with parquet_writer(changed, SCHEMA) as writer:
        yield pq.ParquetFile(shard).iter_batches(batch_size=BATCH_ROWS), writer
    changed.replace(shard)


def reject_batch(rejects: Sequence[Reject]) -> pa.RecordBatch:
    """Arrow record batch of rejects in REJECT_SCHEMA."""
    arrays = [
        pa.array([getattr(reject, name) for reject in rejects], type=REJECT_SCHEMA.field(name).type)
        for name in REJECT_SCHEMA.names
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECT_SCHEMA)
