"""Files to events to a corpus: readers of security logs, exact deduplication, Parquet shards."""

from typing import TYPE_CHECKING

from logfm.lazy import lazy

if TYPE_CHECKING:
    from logfm.corpus.building import build
    from logfm.corpus.events import SCHEMA, Event, Reject
    from logfm.corpus.read import read_events
    from logfm.corpus.store import Corpus
    from logfm.corpus.streaming import stream

__all__ = ["SCHEMA", "Corpus", "Event", "Reject", "build", "read_events", "stream"]

_PLACES = {
    "SCHEMA": "events",
    "Corpus": "store",
    "Event": "events",
    "Reject": "events",
    "build": "building",
    "read_events": "read",
    "stream": "streaming",
}

__getattr__ = lazy(__name__, _PLACES)
