"""What was read: counts a file, for manifests and `corpus inspect`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import orjson

from logfm.corpus.events import Event, Reject

EXAMPLES = 3
_EXCERPT = 200
_SAMPLED = 20  # events of a file whose field names are looked at
_FIELDS = 100
FUTURE = "time in the future"
_AHEAD = timedelta(days=1)  # clocks that go fast, and zones that are unknown


@dataclass(slots=True)
class Tally:
    """The counts of one file; `text_bytes` are UTF-8 bytes of text."""

    file: str
    name: str
    format: str | None
    why: str
    events: int = 0
    text_bytes: int = 0
    timestamped: int = 0
    first: datetime | None = None
    last: datetime | None = None
    columns: Counter[str] = field(default_factory=Counter)
    fields: dict[str, None] = field(default_factory=dict)
    sources: dict[str, "Tally"] = field(default_factory=dict)
    rejects: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    """Events that were kept, by what is odd about them."""
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    latest: datetime = field(default_factory=lambda: datetime.now(UTC) + _AHEAD)

    def watch(self, records: Iterable[Event | Reject]) -> Iterator[Event | Reject]:
        """Count records as they go by."""
        for record in records:
            if isinstance(record, Reject):
                self._reject(record)
            else:
                size = len(record.text) if record.text.isascii() else len(record.text.encode())
                self._count(record, size)
                if record.timestamp is not None and record.timestamp > self.latest:
                    self.doubts[FUTURE] += 1
                    self._example(FUTURE, record.file, record.offset, record.text[:_EXCERPT])
                source = self.sources.get(record.source)
                if source is None:
                    source = self.sources[record.source] = Tally("", record.source, self.format, "")
                source._count(record, size)
                if self.events <= _SAMPLED:
                    self._note_fields(record)
            yield record

    def summary(self) -> dict[str, Any]:
        """The counts as a JSON document."""
        return {
            "file": self.file,
            "name": self.name,
            "format": self.format,
            "why": self.why,
            **self.counts(),
            "columns": {name: self.columns[name] for name in sorted(self.columns)},
            "fields": list(self.fields),
            "sources": {name: source.counts() for name, source in sorted(self.sources.items())},
            "rejects": dict(sorted(self.rejects.items())),
            "doubts": dict(self.doubts),
            "examples": self.examples,
        }

    def counts(self) -> dict[str, Any]:
        """Events, bytes of text, time range and the share of events with a time."""
        return {
            "events": self.events,
            "bytes": self.text_bytes,
            "timestamped": round(self.timestamped / self.events, 4) if self.events else 0.0,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
        }

    def _count(self, event: Event, size: int) -> None:
        self.events += 1
        self.text_bytes += size
        moment = event.timestamp
        if moment is not None:
            self.timestamped += 1
            if self.first is None or moment < self.first:
                self.first = moment
            if self.last is None or moment > self.last:
                self.last = moment
        columns = self.columns
        if event.host is not None:
            columns["host"] += 1
        if event.user is not None:
            columns["user"] += 1
        if event.process is not None:
            columns["process"] += 1
        if event.log_type is not None:
            columns["log_type"] += 1

    def _note_fields(self, event: Event) -> None:
        document = event.fields or (event.text if event.text[:1] == "{" else None)
        if document is None or len(self.fields) >= _FIELDS:
            return
        try:
            record = orjson.loads(document)
        except orjson.JSONDecodeError:
            return
        if isinstance(record, dict):
            self.fields.update(dict.fromkeys(islice(_paths(record), _FIELDS)))

    def _reject(self, reject: Reject) -> None:
        self.rejects[reject.reason] += 1
        self._example(reject.reason, reject.file, reject.offset, reject.excerpt)

    def _example(self, reason: str, file: str, offset: int, excerpt: str) -> None:
        examples = self.examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append({"file": file, "offset": offset, "excerpt": excerpt})


def _paths(record: dict[str, Any], prefix: str = "", depth: int = 4) -> Iterator[str]:
    """Dotted names of an object's values."""
    for name, value in record.items():
        if isinstance(value, dict) and value and depth > 1:
            yield from _paths(value, f"{prefix}{name}.", depth - 1)
        else:
            yield f"{prefix}{name}"


def merge_counts(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add up the results of `Tally.counts`."""
    parts = list(parts)
    events = sum(part["events"] for part in parts)
    timed = sum(part["timestamped"] * part["events"] for part in parts)
    return {
        "events": events,
        "bytes": sum(part["bytes"] for part in parts),
        "timestamped": round(timed / events, 4) if events else 0.0,
        "first": min((part["first"] for part in parts if part["first"]), default=None),
        "last": max((part["last"] for part in parts if part["last"]), default=None),
    }
