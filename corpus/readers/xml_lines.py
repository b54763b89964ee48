"""XML of any schema, one element after the other: alerts of McAfee ePO, Oracle's message log and their like."""

import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.readers.schemas import map_record

_VALUES = 1000  # of one element
_OPENING = re.compile(r"[\ufeff \t]{0,80}(?:<\?xml[^>]{0,200}\?>\s{0,80})?(?:<([A-Za-z_][\w:.-]{0,127})|$)")


def recognise(leaf: Leaf) -> str | None:
    """At least half of the sampled lines belong to XML elements, each on one line or printed over several."""
    lines = [to_text(line) for line in leaf.sample]
    if not lines or not lines[0].lstrip("\ufeff \t").startswith("<"):
        return None
    whole = [(len(piece), _parse(piece)) for _, piece in _elements(enumerate(lines), leaf.limit)]
    inside = sum(size for size, root in whole if root is not None)
    first = next((_local(root.tag) for _, root in whole if root is not None), None)
    return f"XML elements ({first})" if first and inside * 2 >= sum(map(len, lines)) else None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event an element: `text` is it on one line, `fields` its values by name, of which the first one stays."""
    lines = ((offset, to_text(line)) for offset, line in leaf.lines())
    for offset, text in _elements(lines, leaf.limit):
        element = _parse(text)
        if element is None:
            leaf.reject(offset, "malformed XML", text[:200].encode())
            continue
        record = _values(element)
        columns = map_record(record, leaf.clock)
        columns["log_type"] = columns.get("log_type") or _local(element.tag)[:128]
        yield leaf.event(offset, text, fields=orjson.dumps(record).decode(), **columns)


def _elements(lines: Iterable[tuple[int, str]], limit: int) -> Iterator[tuple[int, str]]:
    """Place and text of each element; what is none, or grows over the limit, comes as it is, to be refused."""
    held: list[str] = []
    place = size = 0
    end = ""
    for offset, line in lines:
        if not held:
            opening = _OPENING.match(line)
            if opening is None:
                yield offset, line
                continue
            place, size, end = offset, 0, f"</{opening[1]}>" if opening[1] else ""
        held.append(line.strip())
        size += len(line)
        if not end and (opening := _OPENING.match(line)) is not None and opening[1]:
            end = f"</{opening[1]}>"  # the line before was the XML declaration
        if size > limit or (end and line.rstrip().endswith((end, "/>") if len(held) == 1 else end)):
            yield place, " ".join(held)
            held = []
    if held:
        yield place, " ".join(held)


def _parse(text: str) -> ElementTree.Element | None:
    """An element; None for what is none, and for document types, whose entities can explode."""
    text = text.strip("\ufeff \t\r")
    if not (text.startswith("<") and text.endswith(">")) or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    if text.startswith("<?xml"):
        text = text.partition("?>")[2].lstrip()  # the text is decoded by now, whatever the declaration says
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def _values(element: ElementTree.Element) -> dict[str, str]:
    values: dict[str, str] = {}
    for node in element.iter():
        for name, value in node.attrib.items():
            values.setdefault(_local(name), value)
        if (text := (node.text or "").strip()) and not len(node):
            values.setdefault(_local(node.tag), text)
        if len(values) >= _VALUES:
            break
    return values


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
