"""JSON of any schema: lines, arrays, documents that wrap an array, and objects printed over several lines."""

import codecs
import json
import re
from collections.abc import Iterator

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import UTF8, to_text
from logfm.corpus.readers.json_window import Window, decoder, one_line, parse_object
from logfm.corpus.readers.schemas import map_record, schema_name

# {"Records": [ ... ]} and its relatives: the events are the elements of the array.
_WRAPPED = re.compile(r'\s*\{\s*"(?:Records|records|value|events|Events|logs|results|data)"\s*:\s*(?=\[\s*\{)')
_ARRAY = re.compile(r"\s*\[\s*(?=[{\]])")


def recognise_lines(leaf: Leaf) -> str | None:
    """JSON lines: at least half of the sampled lines are JSON objects."""
    sample = leaf.sample[:20]
    if len(sample) == 1 and _WRAPPED.match(head_text(leaf)):
        return None
    objects = [record for line in sample if _starts_object(line) and (record := parse_object(line)) is not None]
    if not objects and len(sample) == 1 and len(leaf.head) > len(sample[0]) and _cut_object(sample[0]):
        return "the first line begins a JSON object"
    if not objects or len(objects) * 2 < len(sample):
        return None
    return f"{len(objects)} of the first {len(sample)} lines are JSON objects ({schema_name(objects[0])})"


def read_lines(leaf: Leaf) -> Iterator[Event]:
    """One event a line; `text` is the line as it is."""
    clock = leaf.clock
    for offset, line in leaf.lines():
        record = parse_object(line)
        if record is None:
            if line.strip():
                leaf.reject(offset, "malformed JSON", line)
            continue
        yield leaf.event(offset, to_text(line), **map_record(record, clock))


def recognise_document(leaf: Leaf) -> str | None:
    """A JSON array, a document that wraps one, or objects that go over several lines."""
    start = head_text(leaf)
    if _ARRAY.match(start):
        return "a JSON array of objects"
    if _WRAPPED.match(start):
        return "a JSON document that wraps an array of objects"
    if re.match(r'\s*\{\s*(?:"|\}|$)', start):
        try:
            decoder.raw_decode(start, len(start) - len(start.lstrip()))
        except (json.JSONDecodeError, RecursionError):
            return "a JSON object over several lines" if len(start) >= 4096 and start.count('":') > 4 else None
        return "JSON objects over several lines"
    return None


def read_document(leaf: Leaf) -> Iterator[Event]:
    """One event an element or object; `text` is its one-line form, `offset` its first byte."""
    window = Window(leaf)
    window.more()
    opening = _WRAPPED.match(window.text) or _ARRAY.match(window.text)
    wrapped = opening is not None and "{" in opening[0]
    if opening is not None:
        window.skip(opening.end() + wrapped)
    for offset, piece, record in window.objects(only_first_array=wrapped):
        yield leaf.event(offset, one_line(piece, record), **map_record(record, leaf.clock))


def _starts_object(line: bytes) -> bool:
    """Whether a JSON object begins here, perhaps behind a byte-order mark and the cookie of structured syslog."""
    return line.lstrip().removeprefix(codecs.BOM_UTF8).removeprefix(b"@cee:").lstrip()[:1] == b"{"


def _cut_object(line: bytes) -> bool:
    return re.match(rb'\s*\{\s*"[^"]{1,128}"\s*:', line) is not None


def head_text(leaf: Leaf) -> str:
    """The head of a file as characters, one a byte where it is UTF-8."""
    codec = "latin-1" if leaf.encoding == UTF8 else leaf.encoding
    return leaf.head[leaf.bom :].decode(codec, "replace")
