"""Tables: CSV with a header, Zeek TSV, W3C extended. `text` is one JSON line that carries the column names."""

import csv
import re
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.readers.schemas import map_record, schema_name
from logfm.corpus.times import Clock, parse_time

_NAME = re.compile(r"(?!.*\d:\d)[A-Za-z_@#][\w .:@/()%#-]{0,63}")
_CSV_LIMIT = 131_072  # characters, the default of the module csv
_DELIMITERS = (",", "\t", ";", "|")


def recognise_csv(leaf: Leaf) -> str | None:
    """The first line has column names and the next lines as many columns."""
    delimiter = _delimiter(leaf)
    if delimiter is None:
        return None
    names = _split(to_text(leaf.sample[0]), delimiter)
    return f"header with {len(names)} columns separated by {delimiter!r} ({schema_name(dict.fromkeys(names, ''))})"


def read_csv(leaf: Leaf) -> Iterator[Event]:
    """One event a row; `offset` is the row's first byte, also where quoted values go over several lines."""
    delimiter = _delimiter(leaf) or ","
    place = [0, 0]  # where the row began, whether a row is open
    names: list[str] | None = None
    # The limit holds for the whole process: never below what others may count on.
    csv.field_size_limit(max(leaf.limit, _CSV_LIMIT))
    lines = leaf.lines()
    while True:
        rows = csv.reader(_tracked(lines, place), delimiter=delimiter)
        try:
            for row in rows:
                offset, place[1] = place[0], 0
                if names is None:
                    names = _unique(row)
                elif any(row):
                    yield _event(leaf, offset, _row(names, row))
            return
        except csv.Error as error:
            leaf.reject(place[0], f"malformed CSV ({error})")
            place[1] = 0


def _tracked(lines: Iterator[tuple[int, bytes]], place: list[int]) -> Iterator[str]:
    for offset, line in lines:
        if not place[1]:
            place[0], place[1] = offset, 1
        yield to_text(line) + "\n"


def _row(names: list[str], row: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {name: value for name, value in zip(names, row, strict=False) if value}
    if len(row) > len(names):
        record["_more"] = row[len(names) :]
    return record


def _unique(row: list[str]) -> list[str]:
    names: list[str] = []
    for number, name in enumerate(cell.strip().lstrip("\ufeff") for cell in row):
        name = name or f"column{number}"
        names.append(f"{name}_{number}" if name in names else name)
    return names


def _delimiter(leaf: Leaf) -> str | None:
    if len(leaf.sample) < 2:
        return None
    head = to_text(leaf.sample[0])
    best: tuple[int, str] | None = None
    for delimiter in _DELIMITERS:
        names = _split(head, delimiter)
        if len(names) < 2 or len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
            continue
        widths = [len(_split(to_text(line), delimiter)) for line in leaf.sample[1:21]]
        fitting = sum(width == len(names) for width in widths)
        if fitting * 2 >= len(widths) and (best is None or len(names) > best[0]):
            best = len(names), delimiter
    return best[1] if best else None


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def recognise_zeek(leaf: Leaf) -> str | None:
    """A `#separator` line and a `#fields` line."""
    head = leaf.sample[:10]
    if any(line.startswith(b"#separator") for line in head) and any(line.startswith(b"#fields") for line in head):
        return "#separator and #fields lines"
    return None


def read_zeek(leaf: Leaf) -> Iterator[Event]:
    """One event a row, typed by `#types` as Zeek's own JSON writer does; unset values are left out."""
    separator, unset, empty, within = "\t", "-", "(empty)", ","
    names: list[str] = []
    types: list[str] = []
    path = ""
    for offset, line in leaf.lines():
        text = to_text(line)
        if text.startswith("#"):
            key, _, rest = text[1:].partition(" " if text.startswith("#separator") else separator)
            if key == "separator":
                separator = rest.encode().decode("unicode_escape") if re.fullmatch(r"\\x[0-9a-fA-F]{2}", rest) else "\t"
            elif key == "fields":
                names = rest.split(separator)
            elif key == "types":
                types = rest.split(separator)
            elif key == "path":
                path = rest
            elif key == "unset_field":
                unset = rest
            elif key == "empty_field":
                empty = rest
            elif key == "set_separator":
                within = rest or ","
            continue
        cells = text.split(separator)
        if len(cells) != len(names):
            leaf.reject(offset, "row and #fields differ in their number of columns", line)
            continue
        record = {
            name: _zeek_value(cell, kind, empty, within)
            for name, kind, cell in zip(names, types or ["string"] * len(names), cells, strict=False)
            if cell != unset
        }
        event = _event(leaf, offset, record)
        event.source, event.log_type = "zeek", path or event.log_type
        yield event


def _zeek_value(cell: str, kind: str, empty: str, within: str) -> Any:
    if kind.startswith(("set[", "vector[")):
        inner = kind[kind.index("[") + 1 : -1]
        return [] if cell == empty else [_zeek_value(part, inner, empty, within) for part in cell.split(within)]
    if cell == empty:
        return ""
    convert = _ZEEK.get(kind)
    try:
        return convert(cell) if convert else cell
    except ValueError:
        return cell


_ZEEK: dict[str, Callable[[str], Any]] = {
    "time": float, "interval": float, "double": float, "count": int, "int": int, "port": int,
    "bool": lambda cell: cell == "T",
}  # fmt: skip


def recognise_w3c(leaf: Leaf) -> str | None:
    """A `#Fields:` line of the W3C extended log file format."""
    for line in leaf.sample[:20]:
        if line.startswith(b"#Fields:"):
            software = next(
                (to_text(one[10:]).strip() for one in leaf.sample[:20] if one.startswith(b"#Software:")), ""
            )
            return f"#Fields line ({software})" if software else "#Fields line"
    return None


def read_w3c(leaf: Leaf) -> Iterator[Event]:
    """One event a row; `date` and `time` columns are UTC as the format says, unless the file says `Local`."""
    names: list[str] = []
    date = software = ""
    clock = Clock(UTC, leaf.clock.modified)
    for offset, line in leaf.lines():
        text = to_text(line)
        if text.startswith("#"):
            key, _, rest = text[1:].partition(":")
            if key == "Fields":
                names = rest.split()
            elif key == "Date":
                date = rest.strip().partition(" ")[0]
            elif key == "Software":
                software = rest.strip()
            elif key == "Time Format" and "Local" in rest:
                clock = leaf.clock
            continue
        cells = text.split("\t") if "\t" in text else _cells(text)
        if not names or len(cells) != len(names):
            leaf.reject(offset, "row and #Fields differ in their number of columns", line)
            continue
        record = {name: cell for name, cell in zip(names, cells, strict=True) if cell != "-"}
        event = _event(leaf, offset, record)
        if "time" in record:
            event.timestamp = parse_time(f"{record.get('date', date)} {record['time']}", clock)
        event.source = _w3c_source(software) or event.source
        event.log_type = "w3c"
        yield event


def _cells(text: str) -> list[str]:
    """Values between spaces; a value may be quoted."""
    return text.split() if '"' not in text else _split(text, " ")


def _w3c_source(software: str) -> str | None:
    for word, source in (
        ("Internet Information", "iis"),
        ("Firewall", "windows_firewall"),
        ("SGOS", "bluecoat"),
    ):
        if word in software:
            return source
    return None


def _event(leaf: Leaf, offset: int, record: dict[str, Any]) -> Event:
    return leaf.event(offset, orjson.dumps(record).decode(), **map_record(record, leaf.clock))
