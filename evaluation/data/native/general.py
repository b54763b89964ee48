"""Plain layouts for data sets of one's own: lines, JSON lines, tables, and whatever the corpus readers know."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import orjson

from logfm.configs.schema.suite import DataSpec
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.times import Clock, find_time, parse_time
from logfm.evaluation.data.native.loghub import CLOCK
from logfm.evaluation.data.rows import (
    Place,
    Row,
    as_text,
    documents,
    dropped,
    lines,
    listed,
    only_drops,
    option,
    stripped,
    table,
    watched,
)


def plain(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """One event a line; no labels. The file's name is the source."""
    only_drops(spec, ())
    for path in place.files:
        source = option(spec, "source", path.name.split(".")[0])
        for line in lines(path):
            if not line.strip():
                yield "empty line"
                continue
            yield Row(text=line, time=_stamp(line, CLOCK), source=source)


def json_lines(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """One JSON object a line; see `_row` for the options.

    Raises:
        UserError: a name in `drop` is in no record: misspelt, it would let a label through.
    """
    for one in watched(spec, place, (one for path in place.files for one in documents(path))):
        yield one if isinstance(one, str) else _row(spec, one)


def csv_table(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """A table with a header; see `_row` for the options."""
    for path in place.files:
        for columns in table(path, [*_named(spec), *spec.drop]):
            yield _row(spec, dict(columns))


def corpus_events(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """Files of any format that `logfm corpus build` reads; no labels.

    Raises:
        UserError: a name in `drop` is in no record: misspelt, it would let a label through.
    """
    drop = dropped(spec)
    for one, given in watched(spec, place, _parsed(place), fields=itemgetter(1)):
        if not isinstance(one, Event):
            yield one.reason
            continue
        whole = one.text.lstrip().startswith("{")
        if drop and not whole:
            yield "a line without fields, of which none can be dropped"
            continue
        record = stripped(given, drop)
        yield Row(
            text=as_text(record) if whole and drop else one.text,
            group=one.session_id or one.host,
            time=None if one.timestamp is None else one.timestamp.timestamp(),
            source=option(spec, "source", one.source),
            record=record,
        )


def _parsed(place: Place) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What the corpus readers give, with the fields of an event."""
    for one in read_events([str(path) for path in place.files]):
        if not isinstance(one, Event):
            yield one, {}
            continue
        yield one, object_of(one.text if one.text.lstrip().startswith("{") else one.fields)


_NORMAL = {"0", "0.0", "false", "normal", "benign"}
_COLUMNS = ("text", "label", "group", "time", "source", "query", "class", "template")


def _named(spec: DataSpec) -> list[str]:
    return [option(spec, name) for name in _COLUMNS if name in spec.options]


def _row(spec: DataSpec, record: dict[str, Any]) -> Row | str:
    """A row from columns that the options name: `text`, `label`, `group`, `time`, `source`, `query`, `class`,
    `template`. Without `text` the record itself, as one JSON line, is the text. The columns of the label, class,
    query and template are taken out of it beside those in `drop`. `anomalous` lists the label's values that mean 1,
    `normal` those that mean 0; a value that is in neither is left out where both are given."""
    label = _label(spec, record)
    if isinstance(label, str):
        return label
    hidden = {option(spec, name).lower() for name in ("label", "class", "query", "template") if name in spec.options}
    clean = stripped(record, dropped(spec) | hidden)
    text = clean.get(option(spec, "text")) if "text" in spec.options else clean
    if isinstance(text, str) and text.lstrip().startswith("{"):
        # The raw event can hold the label that stands beside it, too.
        inside = object_of(text)
        without = stripped(inside, dropped(spec) | hidden)
        text = text if without == inside else without
    if text in (None, "", {}):
        return "no text"
    return Row(
        text=as_text(text if isinstance(text, str | dict | list) else str(text)),
        template=_value(spec, record, "template"),
        label=label,
        group=_value(spec, record, "group"),
        time=_stamp(record.get(option(spec, "time")), CLOCK) if "time" in spec.options else None,
        source=_value(spec, record, "source"),
        record=clean,
        query=_value(spec, record, "query"),
        kind=_value(spec, record, "class"),
    )


def _label(spec: DataSpec, record: dict[str, Any]) -> int | str | None:
    """1 or 0, None where the set has no labels, or the reason why this record has none."""
    if "label" not in spec.options:
        return None
    if record.get(option(spec, "label")) in (None, ""):
        return "no label"
    value = str(record[option(spec, "label")]).strip().lower()
    anomalous = {one.lower() for one in listed(spec, "anomalous")}
    normal = {one.lower() for one in listed(spec, "normal")}
    if anomalous and normal and value not in anomalous | normal:
        return "label that is neither normal nor anomalous"
    return int(value in anomalous) if anomalous else int(value not in (normal or _NORMAL))


def _value(spec: DataSpec, record: dict[str, Any], name: str) -> str | None:
    if name not in spec.options:
        return None
    value = record.get(option(spec, name))
    return "" if value is None else str(value)


def _stamp(value: object, clock: Clock) -> float | None:
    moment = parse_time(value, clock)
    if moment is None and isinstance(value, str):
        moment = find_time(value, clock)
    return None if moment is None else moment.timestamp()


def object_of(text: str | None) -> dict[str, Any]:
    """A JSON object from its text; empty where it is none."""
    try:
        found = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
