"""Text, line by line: the line formats of `formats/lines`, and plain lines."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field

from logfm.configs import Config
from logfm.configs.base import parse, read_yaml
from logfm.corpus.events import Event
from logfm.corpus.leaf import Columns, Leaf, text_of
from logfm.corpus.lines import to_text
from logfm.corpus.readers.json_window import parse_object
from logfm.corpus.readers.payload import parse_payload
from logfm.corpus.readers.schemas import map_record
from logfm.corpus.times import Clock, find_time, parse_time

FOLDER = Path(__file__).parents[1] / "formats" / "lines"
LAST = 95  # the order from which on formats are so general that any other one goes first
HEAD = 4096  # characters of a line that are looked at to recognise it
_COLUMNS = ("host", "user", "process", "log_type")


class LineFormat(Config):
    """A line format: what lines look like, and which of their parts are which columns."""

    name: str
    source: str | None = None
    order: int = 50
    """Formats of lower order come first where several fit equally many lines; those from 95 on are tried last."""
    pattern: str
    """Matches the whole line. Groups `host`, `user`, `process`, `log_type` are columns; all groups are fields."""
    time: tuple[str, ...] = ("timestamp",)
    """Groups that make up the time, joined by a space."""
    bias: str | None = None
    """Group of the minutes to add for UTC, as Windows writes its zone; without it the clock's zone holds."""
    log_type: str | None = None
    continuation: bool = False
    """Lines that do not match belong to the record before them (stack traces)."""
    reach: int = Field(default=4096, ge=256, le=65536)
    """Characters of a record that the pattern sees: a hostile line of a megabyte costs no more than its head."""
    start: str | None = None
    """What a record's first line begins with, where that is less than the pattern."""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Compiled:
    spec: LineFormat
    pattern: re.Pattern[str]
    start: re.Pattern[str]


@lru_cache(maxsize=1)
def line_formats() -> tuple[_Compiled, ...]:
    """The line formats that ship, in the order in which they are tried."""
    found = [parse(LineFormat, read_yaml(path), path) for path in sorted(FOLDER.glob("*.yaml"))]
    return tuple(
        _Compiled(
            one,
            re.compile(one.pattern, re.DOTALL),
            re.compile(one.start or one.pattern, re.DOTALL),
        )
        for one in sorted(found, key=lambda one: one.order)
    )


def fitting_formats(leaf: Leaf) -> list[tuple[_Compiled, int]]:
    """The line formats that fit some of the sampled lines, and how many; the one that fits the most comes first."""
    lines = [to_text(line[:HEAD]) for line in leaf.sample]
    hits = [(one, sum(one.pattern.match(line) is not None for line in lines)) for one in line_formats()]
    return sorted(((one, count) for one, count in hits if count), key=lambda hit: (hit[0].spec.order >= LAST, -hit[1]))


def _best(leaf: Leaf, fitting: list[tuple[_Compiled, int]]) -> tuple[_Compiled, int] | None:
    """The first format that fits enough lines, and how many; a record of several lines has few that begin one.

    Where none does alone, formats that together do (a log of mixed layouts) count as the first of them.
    """
    for one, count in fitting:
        if count >= len(leaf.sample) * (0.04 if one.spec.continuation else 0.3):
            return one, count
    singles = [one for one, _ in fitting if not one.spec.continuation]
    lines = [to_text(line[:HEAD]) for line in leaf.sample] if len(singles) > 1 else []
    count = sum(any(one.pattern.match(line) for one in singles) for line in lines)
    return (singles[0], count) if count and count >= len(lines) * 0.3 else None


def recognise(leaf: Leaf) -> str | None:
    """Whether a line format fits."""
    best = _best(leaf, fitting_formats(leaf))
    return f"{best[1]} of the first {len(leaf.sample)} lines are {best[0].spec.name}" if best else None


def format_name(leaf: Leaf) -> str:
    """The name of the line format that fits."""
    best = _best(leaf, fitting_formats(leaf))
    return best[0].spec.name if best else "text"


def recognise_text(leaf: Leaf) -> str | None:
    """Everything that is text."""
    return "text of no known format"


def read(leaf: Leaf) -> Iterator[Event]:
    """One event a line, or a record of several lines where the format says so; `text` is the raw line.

    A line that the file's format does not fit is tried with the others seen in the file's sample; if none fits it
    is a plain line, whose time is looked for near its head.
    """
    fitting = fitting_formats(leaf)
    best = _best(leaf, fitting)
    if best is not None and best[0].spec.continuation:
        yield from _records(leaf, best[0])
        return
    order = tuple(one for one, _ in fitting)
    for offset, line in leaf.lines():
        yield line_event(leaf, offset, to_text(line), order)


def line_event(leaf: Leaf, offset: int, text: str, order: tuple[_Compiled, ...]) -> Event:
    """The event of one line, by the first format that fits."""
    for one in order:
        if match := one.pattern.match(text[: one.spec.reach]):
            return leaf.event(offset, text, **_columns(one.spec, match, text, leaf.clock))
    if text.lstrip()[:1] == "{" and (record := parse_object(text.encode())) is not None:
        return leaf.event(offset, text, **map_record(record, leaf.clock))
    return leaf.event(offset, text, timestamp=find_time(text, leaf.clock))


def _records(leaf: Leaf, best: _Compiled) -> Iterator[Event]:
    held: list[str] = []
    place = size = 0
    for offset, line in leaf.lines():
        text = to_text(line)
        if held and (best.start.match(text[:HEAD]) or size + len(text) > leaf.limit):
            yield line_event(leaf, place, "\n".join(held), (best,))
            held = []
        if not held:
            place, size = offset, 0
        held.append(text)
        size += len(text) + 1
    if held:
        yield line_event(leaf, place, "\n".join(held), (best,))


def _unbiased(stamp: str, minutes: int, clock: Clock) -> datetime | None:
    local = parse_time(stamp, Clock(UTC, clock.modified, clock.year))
    return local and local + timedelta(minutes=minutes)


def _columns(spec: LineFormat, match: re.Match[str], text: str, clock: Clock) -> Columns:
    groups: dict[str, Any] = {name: value for name, value in match.groupdict().items() if value is not None}
    columns: Columns = {"source": spec.source, "log_type": spec.log_type}
    if (stamp := " ".join(groups[name] for name in spec.time if name in groups)) and (
        moment := parse_time(stamp, clock)
    ):
        columns["timestamp"] = moment
        if spec.bias and (minutes := groups.get(spec.bias)):
            columns["timestamp"] = _unbiased(stamp, int(minutes), clock)
    for name in _COLUMNS:
        if (value := text_of(groups.get(name))) is not None:
            columns[name] = value
    message = groups.get("message")
    if message is not None:
        if match.end("message") == spec.reach:
            groups["message"] = message = text[match.start("message") :]
        for name, found in parse_payload(message, groups, clock).items():
            if found is not None and columns.get(name) is None:
                columns[name] = found
    if "timestamp" not in columns:
        columns["timestamp"] = find_time(text, clock)
    for name in (*spec.time, *_COLUMNS):
        groups.pop(name, None)
    columns["fields"] = orjson.dumps(groups).decode()
    return columns
