from collections.abc import Callable

import pyarrow as pa
import pytest

from logfm.corpus.anonymize import Anonymizer, collect, resolve
from logfm.corpus.events import Event
from logfm.corpus.shards import event_batch

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def key() -> bytes:
    return KEY


@pytest.fixture(scope="session")
def batch() -> Callable[..., pa.RecordBatch]:
    """A record batch of SCHEMA from texts, with the columns given for each."""

    def make(*texts: str, **columns: str) -> pa.RecordBatch:
        file = columns.pop("file", "a.log")
        return event_batch([Event(f"id{n}", text, "test", file, n, **columns) for n, text in enumerate(texts)])

    return make


@pytest.fixture(scope="session")
def run(batch) -> Callable[..., list[str]]:
    """Both passes over texts: the texts that come out."""

    def both(*texts: str, key: bytes = KEY, **columns: str) -> list[str]:
        events = batch(*texts, **columns)
        out = Anonymizer(key, resolve(collect([events]))).events(events)
        assert out.schema == events.schema
        return out.column("text").to_pylist()

    return both
