"""The table of sessions: one row each, with what LogAtlas keeps of a session."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from logfm.corpus.dedup.spill import Rows
from logfm.corpus.labels import is_attack
from logfm.corpus.sessions.grouping import NONE
from logfm.corpus.shards import rewriting

SESSIONS = pa.schema(
    [
        pa.field("session_id", pa.string(), nullable=False),
        pa.field("start", pa.timestamp("us", tz="UTC")),
        pa.field("end", pa.timestamp("us", tz="UTC")),
        pa.field("duration_seconds", pa.float64()),
        pa.field("events", pa.int64(), nullable=False),
        pa.field("hosts", pa.list_(pa.string()), nullable=False),
        pa.field("users", pa.list_(pa.string()), nullable=False),
        pa.field("processes", pa.list_(pa.string()), nullable=False),
        pa.field("sources", pa.list_(pa.string()), nullable=False),
        pa.field("files", pa.list_(pa.string()), nullable=False),
        pa.field("hour", pa.int8()),
        pa.field("is_weekend", pa.bool_()),
        pa.field("log_types", pa.list_(pa.string()), nullable=False),
        pa.field(
            "parsing_stats",
            pa.struct([("events", pa.int64()), ("timestamped", pa.int64()), ("structured", pa.int64()),
                       ("text_bytes", pa.int64())]),
            nullable=False,
        ),
        pa.field("is_attack", pa.bool_()),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("attack_events", pa.int64(), nullable=False),
        pa.field("techniques", pa.list_(pa.string()), nullable=False),
    ]
)  # fmt: skip
_SETS = {"host": "hosts", "user": "users", "process": "processes", "source": "sources", "log_type": "log_types"}
_MOST_VALUES = 64  # distinct values of a column that a session's row lists


@dataclass(slots=True)
class Session:
    """What is known of a session so far."""

    name: str
    start: datetime | None = None
    end: datetime | None = None
    values: dict[str, dict[str, None]] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    stats: Counter[str] = field(default_factory=Counter)

    def row(self) -> dict[str, Any]:
        """The session as a row of SESSIONS; hour (0 to 23) and weekend are those of the start, in UTC."""
        bounded = self.start is not None and self.end is not None
        attacks = sum(count for label, count in self.labels.items() if is_attack(label))
        return {
            "session_id": self.name,
            "start": self.start,
            "end": self.end,
            "duration_seconds": (self.end - self.start).total_seconds() if self.start and self.end else None,
            "events": self.stats["events"],
            "hour": self.start.hour if bounded and self.start else None,
            "is_weekend": self.start.weekday() >= 5 if bounded and self.start else None,
            "parsing_stats": {name: self.stats[name] for name in ("events", "timestamped", "structured", "text_bytes")},
            "is_attack": attacks > 0 if self.labels else None,
            "labels": sorted(self.labels),
            "attack_events": attacks,
            **{name: list(self.values.get(name, ())) for name in (*_SETS.values(), "files", "techniques")},
        }


def write_sessions(shards: Sequence[Path], numbers: Rows, count: int) -> Iterator[dict[str, Any]]:
    """Put the session's id into every event of the shards, and give the rows of SESSIONS in order.

    A session's id is the id of its first event in the stream, unless its events came with one. Memory: about 1 KB a
    session.
    """
    sessions: list[Session | None] = [None] * count
    start = 0
    for shard in shards:
        with rewriting(shard) as (batches, writer):
            for batch in batches:
                mine = numbers[start : start + batch.num_rows]
                names = _note(batch, mine, sessions)
                place = batch.schema.get_field_index("session_id")
                writer.write_batch(batch.set_column(place, batch.schema.field(place), pa.array(names, pa.string())))
                start += batch.num_rows
    return (session.row() for session in sessions if session is not None)


def _note(batch: pa.RecordBatch, numbers: Rows, sessions: list[Session | None]) -> list[str | None]:
    names: list[str | None] = []
    columns = {
        name: batch.column(name).to_pylist() for name in batch.schema.names if name not in ("event_id", "offset")
    }
    sizes = [len(text.encode()) for text in columns["text"]]
    ids = batch.column("event_id").to_pylist()
    for row, number in enumerate(numbers.tolist()):
        if number == NONE:
            names.append(None)
            continue
        session = sessions[number]
        if session is None:
            session = sessions[number] = Session(columns["session_id"][row] or ids[row])
        names.append(session.name)
        _add(session, columns, row, sizes[row])
    return names


def _add(session: Session, columns: dict[str, list[Any]], row: int, size: int) -> None:
    moment = columns["timestamp"][row]
    stats = session.stats
    stats["events"] += 1
    stats["text_bytes"] += size
    if moment is not None:
        stats["timestamped"] += 1
        session.start = moment if session.start is None or moment < session.start else session.start
        session.end = moment if session.end is None or moment > session.end else session.end
    if columns["fields"][row] is not None or columns["text"][row][:1] == "{":
        stats["structured"] += 1
    for name, target in _SETS.items():
        _keep(session, target, columns[name][row])
    _keep(session, "files", columns["file"][row].split("!")[0])
    if (label := columns["label"][row]) is not None:
        session.labels[label] += 1
    for technique in columns["techniques"][row] or ():
        _keep(session, "techniques", technique)


def _keep(session: Session, name: str, value: str | None) -> None:
    if value is not None:
        values = session.values.setdefault(name, {})
        if len(values) < _MOST_VALUES:
            values[value] = None
