"""Files to events to a corpus: readers of security logs, exact deduplication, Parquet shards."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
