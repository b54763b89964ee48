"""Exports of ActivityWatch: buckets (a watcher on a host) that hold events, in one JSON document."""

import re
from collections.abc import Iterator

from logfm.corpus.events import Event
from logfm.corpus.leaf import Columns, Leaf
from logfm.corpus.readers.json_reader import head_text
from logfm.corpus.readers.json_window import Window, one_line
from logfm.corpus.readers.schemas import map_record

_START = re.compile(r'\s*\{\s*"buckets"\s*:\s*\{')
_EVENTS = re.compile(r'"events"\s*:\s*\[')
_HEAD = re.compile(r'"(hostname|type)"\s*:\s*"([^"\\]{1,255})"')
_KEPT = 4096  # characters of a bucket's description that are held while its events are looked for


def recognise(leaf: Leaf) -> str | None:
    """A JSON object whose first key is `buckets`."""
    return "a JSON document of ActivityWatch buckets" if _START.match(head_text(leaf)) else None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event an event of a bucket; host and log_type are the bucket's host name and type."""
    window = Window(leaf)
    window.more()
    while description := _next_bucket(window):
        for offset, piece, record in window.objects(only_first_array=True):
            columns = map_record(record, leaf.clock) | description
            yield leaf.event(offset, one_line(piece, record), **columns)


def _next_bucket(window: Window) -> Columns | None:
    """Go behind the next `"events": [`; the columns that the bucket gives, None at the end."""
    while not (match := _EVENTS.search(window.text, window.at)):
        window.skip(max(0, len(window.text) - window.at - _KEPT))
        if not window.more():
            return None
    found = dict(_HEAD.findall(window.text, window.at, match.start()))
    window.skip(match.end() - window.at)
    return {"source": "activitywatch", "host": found.get("hostname"), "log_type": found.get("type")}
