"""The data sets of a configuration, read into groups of labelled events."""

from collections.abc import Collection, Iterator
from dataclasses import replace

import orjson
import pyarrow as pa

from logfm.configs.schema.cases import CapturesSource, CaseSource, EventsSource, RowsSource, SimulatedSource
from logfm.corpus.catalog.labeller import read_dataset
from logfm.corpus.events import Event
from logfm.corpus.labels import is_attack, read_labels
from logfm.corpus.streaming import stream
from logfm.errors import UserError
from logfm.finetune.decoder.captures import read_captures
from logfm.finetune.decoder.groups import Counts, Group, Labelled
from logfm.finetune.decoder.rows import read_rows, without
from logfm.finetune.decoder.simulated import read_simulated


def read_source(source: CaseSource, counts: Counts) -> Iterator[Group]:
    """The groups of a data set; those of one name may come in parts. What is passed over is counted.

    Raises:
        UserError: its files or labels can't be read, or nothing of it has a label.
    """
    if isinstance(source, SimulatedSource):
        groups = read_simulated(source, counts)
    elif isinstance(source, CapturesSource):
        groups = read_captures(source, counts)
    elif isinstance(source, RowsSource):
        groups = read_rows(source, counts)
    else:
        groups = _read_events(source, counts)
    for group in groups:
        kept = [one for one in group.events if one.event.source not in source.without]
        counts["events of sources that were left out"] += len(group.events) - len(kept)
        if kept:
            yield replace(group, events=kept)


def stripped(event: Event, drop: Collection[str]) -> Event:
    """An event without the fields that give its label away."""
    names = {name.lower() for name in drop}
    if not names:
        return event
    return replace(event, text=_dropped(event.text, names), fields=event.fields and _dropped(event.fields, names))


def _dropped(text: str, names: set[str]) -> str:
    if text[:1] != "{":
        return text
    try:
        return orjson.dumps(without(orjson.loads(text), names)).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text


def _read_events(source: EventsSource, counts: Counts) -> Iterator[Group]:
    """All events of an input that carry labels, held in memory: their groups can lie anywhere in it."""
    groups: dict[str, list[Labelled]] = {}
    for event in _labelled_events(source):
        if event.label is None and not event.techniques:
            counts["events without a label"] += 1
            continue
        name = next((value for one in source.group if (value := getattr(event, one, None))), event.file)
        suspicious = bool(event.techniques) if event.label is None else is_attack(event.label)
        groups.setdefault(str(name), []).append(Labelled(event, suspicious, tuple(event.techniques or ())))
    if not groups:
        raise UserError("no event has a label", ", ".join(source.input), "Give labels, or a dataset of the catalogue.")
    for name, events in sorted(groups.items()):
        yield Group(name, source.name, events, "event")


def _labelled_events(source: EventsSource) -> Iterator[Event]:
    if source.dataset is not None:
        for folder in source.input:
            yield from (one for one in read_dataset(source.dataset, folder) if isinstance(one, Event))
        return
    labels = None if source.labels is None else read_labels(source.labels)
    known = {} if labels is None else {row["event_id"]: row for row in labels.to_pylist()}
    for batch in stream(source.input):
        for event in _events(batch):
            row = known.get(event.event_id, {})
            for name in ("label", "techniques", "session_id"):
                if row.get(name) is not None:
                    setattr(event, name, row[name])
            yield event


def _events(batch: pa.RecordBatch) -> Iterator[Event]:
    return (Event(**row) for row in batch.to_pylist())
