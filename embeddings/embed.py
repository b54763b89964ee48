"""From any input to vectors with the keys that lead back to file and byte: the stream every other stage reads."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import MANIFEST, digest, file_hash, read_manifest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.console import progress, say
from logfm.corpus.discover import STDIN
from logfm.corpus.events import SCHEMA
from logfm.corpus.workers import Engine
from logfm.embeddings.encoder import HASHED, Counts, LogEncoder, another, encodable
from logfm.embeddings.parts import clear_finished, counts_of, parts_of
from logfm.embeddings.truncation import FIX, TooLong
from logfm.errors import UserError

KEYS = (
    "event_id",
    "text",
    "source",
    "file",
    "offset",
    "timestamp",
    "host",
    "user",
    "process",
    "log_type",
    "session_id",
)
"""Columns of an event that travel with its vector."""
PART_ROWS = 65_536
"""Events that are encoded again at most after a kill."""
# Bytes of vectors that are remembered while a stream is encoded, so that a line that fills it is encoded once.
_KNOWN_BYTES = 1 << 26
_HASH = b"logfm.encoder.hash"
_NAME = b"logfm.encoder.name"
_READING = b"logfm.encoder.reading"
_OPTIONS = b"logfm.encoder.options"
_LICENCES = b"logfm.data.licences"
Input = str | Path
Known = dict[str, np.ndarray]
"""Vectors by what the encoder reads of a text, float32 (dim,): in 8 bits a vector moves with its batch, so a text
encoded twice would have two."""


@dataclass
class Seen:
    """Which events were taken before, to take each once; an event is its event_id and its text."""

    skipped: int = 0
    _marks: set[int] = field(default_factory=set)

    def add(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The events of a batch that are new; they are remembered."""
        marks = [hash(pair) for pair in zip(batch["event_id"].to_pylist(), batch["text"].to_pylist(), strict=True)]
        fresh = []
        for row, mark in enumerate(marks):
            if mark not in self._marks:
                self._marks.add(mark)
                fresh.append(row)
        self.skipped += len(marks) - len(fresh)
        return batch if len(fresh) == len(marks) else batch.take(pa.array(fresh, pa.int64()))


def embed(
    inputs: Sequence[Input],
    encoder: LogEncoder,
    out: Path,
    fit_texts: int = 20_000,
    *,
    engine: Engine = "local",
    workers: int | None = None,
    part_rows: int = PART_ROWS,
) -> int:
    """Write the events of any input with their vectors to one Parquet file; it appears whole or not at all.

    Columns: KEYS, and `vector` (fixed_size_list<float32>[dim]). The encoder's name, hash and truncation are in the
    schema's metadata; what it has read and cut is in the file's and in `encoder.counts`, a killed run's part included.
    tfidf is fitted on the first `fit_texts` texts. `engine` "ray" encodes on `workers` of a Ray cluster (see
    `on_ray.encode_on_ray`); the file is the same. Returns the number of events.

    Parts of `part_rows` events, rounded up to a batch, are on the disk as soon as they are encoded. After a kill or an
    error the same call goes on behind the last of them, but for standard input.

    Raises:
        UserError: no events, `out` exists or cannot be written, or unfinished work of other inputs is in the way.
    """
    if out.exists():
        clear_finished(out)
        raise UserError("the file exists", out, "Choose another --out.")
    check_place(out, inputs)
    fit(encoder, inputs, fit_texts)
    engine = "local" if is_vectors(inputs) else engine
    schema = vector_schema(encoder)
    schema = schema.with_metadata(schema.metadata | {_LICENCES: orjson.dumps(licences(inputs))})
    with parts_of(out, schema, _key(inputs, encoder, part_rows)) as parts, encoder.counted() as counted:
        if parts.rows:
            say(f"{parts.rows} events were encoded before")
        counted.counts.add(parts.counts if parts.rows else read_before(inputs) or Counts())
        with progress("events") as advance:
            advance(parts.rows)
            part: list[pa.RecordBatch] = []
            for batch in _encoded(_after(_batches(inputs, encoder), parts.rows), counted, engine, workers):
                part.append(batch)
                advance(batch.num_rows)
                if sum(one.num_rows for one in part) >= part_rows:
                    parts.write(part, counted.counts)
                    part = []
        if part:
            parts.write(part, counted.counts)
        if not parts.rows:
            raise UserError("the input holds no events", ", ".join(map(str, inputs)))
        parts.merge(out)
        return parts.rows


def known_engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        UserError: there is none.
    """
    if name not in get_args(Engine):
        raise UserError("no such engine", name, f"Choose {' or '.join(get_args(Engine))}.")
    return cast("Engine", name)


def vectors(
    inputs: Sequence[Input], encoder: LogEncoder, seen: Seen | None = None, known: Known | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream events with vectors (`vector_schema`); a file that `embed` wrote is read instead of encoded again.

    With `seen`, events that it has taken before are left out, and not encoded. With `known`, a text has one vector in
    all streams that share it, those of files included; else recent texts are not encoded again.

    Raises:
        UserError: a file of vectors comes from another encoder.
    """
    schema = vector_schema(encoder)
    recent: Known = {}
    with progress("events") as advance:
        for batch in _batches(inputs, encoder):
            kept = batch if seen is None else seen.add(batch)
            if not kept.num_rows:
                pass
            elif "vector" not in kept.schema.names:
                yield _with_vectors(kept, encoder, schema, recent if known is None else known, known is not None)
            elif known is None:
                yield kept.select(schema.names).cast(schema)
            else:
                found = zip(encoder.read(kept["text"].to_pylist()), matrix(kept), strict=True)
                yield _joined(kept, np.stack([known.setdefault(text, vector) for text, vector in found]), schema)
            advance(batch.num_rows)


def encode_new(texts: Sequence[str], encoder: LogEncoder, known: Known, keep: bool = False) -> np.ndarray:
    """Vectors of texts, float32 (len(texts), dim); those that are `known`, by what the encoder reads of them, are not
    encoded again, the new ones are added. Those that were not asked for the longest are forgotten where they fill
    memory, unless `keep`."""
    read = encoder.read(texts)
    new = {key: text for key, text in zip(read, texts, strict=True) if key not in known}
    # Copies, so that one that is kept does not keep its whole batch in memory.
    known.update((key, vector.copy()) for key, vector in zip(new, encoder.encode(list(new.values())), strict=True))
    encoder.count_again(len(texts) - len(new))
    found = np.stack([known[key] for key in read])
    if not keep:
        for key in dict.fromkeys(read):
            known[key] = known.pop(key)  # to the end
        most = _KNOWN_BYTES // (4 * found.shape[1])
        for key in list(islice(known, max(0, len(known) - most))):
            del known[key]
    return found


def vector_schema(encoder: LogEncoder) -> pa.Schema:
    """KEYS and `vector`, with the encoder's name, hash, options and treatment of long texts as metadata."""
    fields = [SCHEMA.field(name) for name in KEYS]
    fields.append(pa.field("vector", pa.list_(pa.float32(), encoder.dim), nullable=False))
    told = {_HASH: encoder.hash.encode(), _NAME: encoder.name.encode()}
    told[_READING] = orjson.dumps(reading_of(encoder.config))
    told[_OPTIONS] = orjson.dumps(encoder.config.model_dump(include=set(HASHED)))
    return pa.schema(fields, told)


def reading_of(config: EncoderConfig) -> dict[str, Any]:
    """What vectors depend on and an encoder's hash does not tell."""
    return config.model_dump(include={"reads", "truncation", "max_tokens", "bf16"})


def licences(inputs: Sequence[Input]) -> list[str]:
    """Licences of the data, sorted, as far as corpora and files of vectors name them."""
    if is_vectors(inputs):
        told = pq.read_schema(inputs[0]).metadata.get(_LICENCES)
        return [] if told is None else list(orjson.loads(told))
    folders = [Path(given) for given in inputs if (Path(given) / MANIFEST).is_file()]
    return sorted({licence for folder in folders for licence in read_manifest(folder).licences})


def read_before(inputs: Sequence[Input]) -> Counts | None:
    """What was read for a file of vectors; None for other inputs, and where it does not tell."""
    return counts_of(Path(inputs[0])) if is_vectors(inputs) else None


def matrix(batch: pa.RecordBatch) -> np.ndarray:
    """The vectors of a batch, float32 (rows, dim)."""
    column = batch["vector"]
    flat: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), column.type.list_size)


def fit(encoder: LogEncoder, inputs: Sequence[Input], texts: int) -> None:
    """Fit tfidf on the first texts of the input; other encoders are left alone.

    Raises:
        UserError: the input is standard input, which cannot be read twice, or holds no words.
    """
    if encoder.needs_fit:
        if "-" in inputs:
            raise UserError("tfidf reads its input twice, which standard input does not allow", fix="Give a file.")
        stream = (text for batch in events(inputs, ["text"]) for text in batch["text"].to_pylist())
        encoder.fit(list(islice(stream, texts)))


def events(inputs: Sequence[Input], columns: Sequence[str] = KEYS) -> Iterator[pa.RecordBatch]:
    """Stream the events of any input: files, folders, globs, a corpus, a file of vectors, or `-`."""
    if is_vectors(inputs):
        yield from pq.ParquetFile(inputs[0]).iter_batches(batch_size=4096, columns=list(columns))
        return
    from logfm.corpus import stream

    yield from stream([str(given) for given in inputs], list(columns))


def is_vectors(inputs: Sequence[Input]) -> bool:
    """Whether the input is one file that `embed` wrote."""
    if len(inputs) != 1 or Path(inputs[0]).suffix != ".parquet" or not Path(inputs[0]).is_file():
        return False
    try:
        return _HASH in (pq.read_schema(inputs[0]).metadata or {})
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError("damaged Parquet file", inputs[0]) from error


def input_hashes(inputs: Sequence[Input]) -> dict[str, str]:
    """A content hash for each file and corpus, as `artifacts.produce` takes them; standard input never equals itself.

    Raises:
        UserError: no such file, or nothing to read.
    """
    from logfm.corpus.discover import discover

    hashes: dict[str, str] = {}
    raw = []
    for given in map(str, inputs):
        if given == STDIN:
            hashes[given] = uuid.uuid4().hex
        elif (Path(given) / MANIFEST).is_file():
            hashes[given] = read_manifest(Path(given)).hash
        else:
            raw.append(given)
    return hashes | {one.name: file_hash(one.path) for one in (discover(raw)[0] if raw else [])}


def check_place(out: Path, inputs: Sequence[Input]) -> None:
    """Keep the output out of what is read.

    Raises:
        UserError: `out` lies inside an input folder.
    """
    for given in map(Path, inputs):
        if given.is_dir() and out.resolve().is_relative_to(given.resolve()):
            raise UserError("the output lies inside the input", out, "Choose another place.")


def _batches(inputs: Sequence[Input], encoder: LogEncoder) -> Iterator[pa.RecordBatch]:
    if not is_vectors(inputs):
        yield from events(inputs)
        return
    source = pq.ParquetFile(inputs[0])
    metadata = source.schema_arrow.metadata
    if metadata[_HASH].decode() != encoder.hash:
        options = orjson.loads(metadata.get(_OPTIONS, b"{}"))
        name = metadata[_NAME].decode(errors="replace")
        raise another(f"the vectors of {inputs[0]} come from", name, options, encoder, "embed the input again")
    asked = reading_of(encoder.config)
    # A file of before there was an option was read as its default is.
    told = {**reading_of(EncoderConfig()), **orjson.loads(metadata[_READING])} if _READING in metadata else asked
    if told != asked:
        before, now = (", ".join(f"{key} {value}" for key, value in one.items()) for one in (told, asked))
        raise UserError(f"the vectors were made with {before}", inputs[0], f"Ask for the same, not for {now}.")
    yield from source.iter_batches(batch_size=4096)


def _after(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The stream without its first rows."""
    for batch in batches:
        if rows < batch.num_rows:
            yield batch.slice(rows)
        rows = max(0, rows - batch.num_rows)


def _encoded(
    batches: Iterator[pa.RecordBatch], encoder: LogEncoder, engine: Engine, workers: int | None
) -> Iterator[pa.RecordBatch]:
    schema = vector_schema(encoder)
    if engine == "local":
        known: Known = {}
        for batch in batches:
            if "vector" in batch.schema.names:
                yield batch.select(schema.names).cast(schema)
            else:
                yield _with_vectors(batch, encoder, schema, known)
        return
    from logfm.embeddings.on_ray import encode_on_ray

    for batch, found in encode_on_ray(batches, encoder, workers):
        yield _joined(batch, found, schema)


def _key(inputs: Sequence[Input], encoder: LogEncoder, part_rows: int) -> str | None:
    """What the parts depend on; None for standard input, which can't be read again."""
    if STDIN in map(str, inputs):
        return None
    reading = reading_of(encoder.config)
    return digest({"encoder": encoder.hash, "reading": reading, "inputs": input_hashes(inputs), "part_rows": part_rows})


def _with_vectors(
    batch: pa.RecordBatch, encoder: LogEncoder, schema: pa.Schema, known: Known, keep: bool = False
) -> pa.RecordBatch:
    texts = batch["text"].to_pylist()
    try:
        return _joined(batch, encode_new(texts, encoder, known, keep), schema)
    except TooLong as error:
        row = next((row for row, text in enumerate(texts) if encodable(text) == encodable(error.text)), 0)
        file, offset, event = (batch[name][row].as_py() for name in ("file", "offset", "event_id"))
        raise UserError(error.what, f"{file}, byte {offset}, event {event}", FIX) from None


def _joined(batch: pa.RecordBatch, found: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    column = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel(), pa.float32()), found.shape[1])
    return pa.RecordBatch.from_arrays([*(batch[name] for name in KEYS), column], schema=schema)
