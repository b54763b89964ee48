"""Symantec AntiVirus text log: values between commas, no header, times as six bytes in hexadecimal."""

import csv
import re
from collections.abc import Iterator
from datetime import datetime

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf, text_of
from logfm.corpus.lines import to_text
from logfm.corpus.times import Clock, local_to_utc

_LINE = re.compile(rb"[0-9A-F]{2}0[0-9AB](?:[01][0-9A-F]){2}(?:[0-3][0-9A-F]){2},\d{1,3},\d{1,2},\d{1,3},")
# The columns that Symantec documents first; those after them depend on the event.
_NAMES = ("time", "event", "category", "logger", "computer", "user", "virus", "file", "wanted_action_1",
          "wanted_action_2", "real_action", "virus_type", "flags", "description")  # fmt: skip


def recognise(leaf: Leaf) -> str | None:
    """At least half of the sampled lines begin with a time in hexadecimal and three numbers."""
    hits = sum(_LINE.match(line) is not None for line in leaf.sample)
    return f"{hits} of the first {len(leaf.sample)} lines begin with a time in hexadecimal" if hits * 2 >= max(
        len(leaf.sample), 1
    ) else None  # fmt: skip


def read(leaf: Leaf) -> Iterator[Event]:
    """One event a line: `text` is the line, `fields` its first columns by name; the time is the computer's own."""
    for offset, line in leaf.lines():
        text = to_text(line)
        if _LINE.match(line) is None:
            yield leaf.event(offset, text)
            continue
        record = {name: cell for name, cell in zip(_NAMES, _cells(text), strict=False) if cell}
        yield leaf.event(
            offset,
            text,
            source="symantec",
            timestamp=_moment(text[:12], leaf.clock),
            host=text_of(record.get("computer")),
            user=text_of(record.get("user")),
            log_type="antivirus",
            fields=orjson.dumps(record).decode(),
        )


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error:
        return []


def _moment(digits: str, clock: Clock) -> datetime | None:
    """Years since 1970, months from 0, days, hours, minutes, seconds: a byte each."""
    year, month, day, hour, minute, second = bytes.fromhex(digits)
    try:
        return local_to_utc(datetime(1970 + year, month + 1, day, hour, minute, second), clock)
    except (ValueError, OverflowError):
        return None
