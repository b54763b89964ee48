"""Windows events as XML: one `<Event>` element after the other, however they are laid out."""

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.readers.schemas import map_record

_START = re.compile(rb"<Event[\s>]")
_END = b"</Event>"


def recognise(leaf: Leaf) -> str | None:
    """An `<Event>` element of the Windows event namespace."""
    head = b"\n".join(leaf.sample)[:8192]
    if _START.search(head) and b"schemas.microsoft.com/win/2004/08/events/event" in head and head.lstrip()[:1] == b"<":
        return "<Event> elements of the Windows event namespace"
    return None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event an element; `text` is the element on one line, `offset` its place, `fields` its values."""
    held: list[bytes] = []
    place = size = 0
    for offset, line in leaf.lines():
        at = 0
        while True:
            if not held:
                start = _START.search(line, at)
                if start is None:
                    break
                place, at, size = (
                    offset + (start.start() if leaf.encoding == "utf-8" else 0),
                    start.start(),
                    0,
                )
            end = line.find(_END, at)
            stop = len(line) if end < 0 else end + len(_END)
            held.append(line[at:stop].strip())
            size += stop - at
            if end < 0:
                if size > leaf.limit:
                    leaf.reject(place, f"record longer than {leaf.limit} bytes", held[0])
                    held = []
                break
            event = _event(leaf, place, b" ".join(held))
            held, at = [], stop
            if event is not None:
                yield event
    if held:
        leaf.reject(place, "unfinished <Event> element", held[0])


def _event(leaf: Leaf, offset: int, element: bytes) -> Event | None:
    record = None if b"<!DOCTYPE" in element or b"<!ENTITY" in element else _record(element)
    if record is None:
        leaf.reject(offset, "malformed XML", element)
        return None
    return leaf.event(offset, to_text(element), fields=orjson.dumps(record).decode(), **map_record(record, leaf.clock))


def _record(element: bytes) -> dict[str, Any] | None:
    try:
        root = ElementTree.fromstring(element)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    event: dict[str, Any] = {}
    for section in root:
        name = _local(section.tag)
        event[name] = _data(section) if name.endswith("Data") else _system(section)
    return {"Event": event}


def _system(section: ElementTree.Element) -> dict[str, Any]:
    return {
        _local(child.tag): {"#attributes": dict(child.attrib)} if child.attrib and not child.text else child.text
        for child in section
    }


def _data(section: ElementTree.Element) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for number, child in enumerate(section.iter()):
        if child is not section and (child.text or "").strip():
            values[child.get("Name") or f"{_local(child.tag)}{number}"] = child.text
    return values


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
