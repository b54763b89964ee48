"""The one record of the framework: an event, its Arrow schema, and the reject that replaces it when a line is bad."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("host", pa.string()),
        pa.field("user", pa.string()),
        pa.field("process", pa.string()),
        pa.field("log_type", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("fields", pa.string()),
        pa.field("techniques", pa.list_(pa.string())),
        pa.field("label", pa.string()),
    ]
)


@dataclass(slots=True)
class Event:
    """One log record, traceable to a file and a byte.

    `text` is what a model reads: the raw line of a text format; for columnar and binary formats one JSON line that
    carries the column names. `offset` counts bytes in the decompressed `file` (`archive.zip!member` names a member).
    `fields` is a JSON object of parsed columns, None where `text` itself is that object. `timestamp` is in UTC.
    """

    event_id: str
    text: str
    source: str
    file: str
    offset: int
    timestamp: datetime | None = None
    host: str | None = None
    user: str | None = None
    process: str | None = None
    log_type: str | None = None
    session_id: str | None = None
    fields: str | None = None
    techniques: list[str] | None = None
    label: str | None = None


@dataclass(slots=True)
class Reject:
    """A piece of input that became no event: where it was, why, and its first bytes as printable text."""

    file: str
    offset: int
    reason: str
    excerpt: str = ""


def event_id(name: str, offset: int) -> str:
    """The identity of an event: `name` is the file's name relative to the input, so that moving a folder keeps it."""
    return hashlib.blake2b(f"{name}\0{offset}".encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
