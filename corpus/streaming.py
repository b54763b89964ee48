"""Events as record batches, whether they lie in a corpus or in raw files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from logfm.artifacts import MANIFEST
from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.shards import event_batch, in_batches, text_hash
from logfm.corpus.store import BATCH_ROWS, Corpus


def stream(
    inputs: Sequence[str | Path],
    columns: Sequence[str] | None = None,
    view: str | None = None,
    config: CorpusConfig | None = None,
) -> Iterator[pa.RecordBatch]:
    """Record batches of SCHEMA's `columns` (all by default), in order and in bounded memory.

    An input that is a corpus folder comes from its shards; the others are read as they are, rejects left out.
    `view="exact"` leaves out repetitions within each corpus and within the raw inputs (for those, one set entry of
    about 100 bytes a unique text).

    Raises:
        UserError: a path does not exist, nothing was found, or a corpus has no such view.
    """
    raw = [given for given in inputs if not (Path(given) / MANIFEST).is_file()]
    for given in inputs:
        if given not in raw:
            yield from Corpus.open(given).batches(columns, view)
    if raw or not inputs:
        events = (record for record in read_events(raw, config) if isinstance(record, Event))
        for batch in in_batches(events if view is None else _first_of_equal(events), BATCH_ROWS):
            yield event_batch(batch, columns)


def _first_of_equal(events: Iterator[Event]) -> Iterator[Event]:
    seen: set[bytes] = set()
    for event in events:
        key = text_hash(event.text)
        if key not in seen:
            seen.add(key)
            yield event
