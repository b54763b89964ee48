"""What a reader of a data set says about each file, and the parts that readers share."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.events import Event, Reject
from logfm.corpus.labels import NORMAL
from logfm.corpus.leaf import Columns, Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.readers.registry import Format

Edit = Callable[[Event], Event | Reject]
TECHNIQUE = re.compile(r"(?<![A-Za-z0-9])T\d{4}(?:\.\d{3})?(?!\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Treatment(NamedTuple):
    """One file: the format where its content does not tell, and what is done to each of its events."""

    edit: Edit | None = None
    form: Format | None = None


class Layout(NamedTuple):
    """A data set's native layout: which paths hold no log and why, and how the others are treated."""

    skip: Callable[[str], str | None]
    open: Callable[[Leaf, str], Treatment]


Reader = Callable[[Copy], Layout]


def nothing(path: str) -> str | None:
    """Skip no path."""
    return None


def skipping(pattern: str, why: str) -> Callable[[str], str | None]:
    """Skip the paths that match."""
    found = re.compile(pattern, re.IGNORECASE)
    return lambda path: why if found.search(path) else None


def label_of(value: object) -> str | None:
    """A label as the data set writes it, "normal" for all its words for that, None for nothing."""
    text = str(value).strip() if value is not None else ""
    return ("normal" if text.lower() in NORMAL else text) if text else None


def techniques_in(value: object) -> list[str] | None:
    """The ATT&CK technique ids in some text, each once and in order; None if there are none."""
    return list(dict.fromkeys(TECHNIQUE.findall(str(value)))) or None


def take(event: Event, names: Iterable[str]) -> dict[str, Any]:
    """Remove keys from the JSON object that is the event's text, and from its fields; returns what they held.

    Names are compared without case and surrounding spaces, since mirrors rewrite headers.
    """
    wanted = {name.lower() for name in names}
    found: dict[str, Any] = {}
    for place in ("text", "fields"):
        record = _object(getattr(event, place))
        keys = [key for key in record if key.strip().lower() in wanted]
        for key in keys:
            found.setdefault(key.strip().lower(), record.pop(key))
        if keys:
            setattr(event, place, orjson.dumps(record).decode())
    return found


def record_of(event: Event) -> dict[str, Any]:
    """The JSON object that is the event's text, empty if it is none."""
    return _object(event.text)


def _object(text: str | None) -> dict[str, Any]:
    try:
        record = orjson.loads(text) if text and text.lstrip()[:1] == "{" else None
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def table(names: Sequence[str], columns: Callable[[dict[str, str]], Columns]) -> Format:
    """A CSV without a header, whose columns the data set documents; `columns` gives an event's own columns."""

    def read(leaf: Leaf) -> Iterator[Event]:
        for offset, line in leaf.lines():
            try:
                cells = next(csv.reader([to_text(line)]))
            except csv.Error as error:
                leaf.reject(offset, f"malformed CSV ({error})", line)
                continue
            if len(cells) != len(names):
                leaf.reject(offset, f"not {len(names)} columns as the data set documents", line)
                continue
            record = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if cell.strip()}
            yield leaf.event(offset, orjson.dumps(record).decode(), **columns(record))

    return Format("csv", lambda leaf: "columns documented by the data set", read)


def seconds(value: object) -> datetime | None:
    """Seconds since 1970, or since the start of a recording that does not tell when that was."""
    try:
        return _EPOCH + timedelta(seconds=float(str(value)))
    except (ValueError, OverflowError):
        return None
