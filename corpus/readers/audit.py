"""Linux audit logs: the records of one event, joined by their serial number."""

import re
from collections.abc import Iterator

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Columns, Leaf, text_of
from logfm.corpus.lines import to_text
from logfm.corpus.times import parse_time

_RECORD = re.compile(
    r"(?:node=(?P<node>\S+) )?(?:audit: )?type=(?P<type>\S+) "
    r"(?:msg=)?audit\((?P<time>\d+(?:\.\d+)?):(?P<serial>\d+)\): ?"
)
_PAIR = re.compile(r"""([A-Za-z][\w.\[\]-]*)=("[^"]*"|'[^']*'|\S*)""")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_ENCODED = frozenset(
    ("comm", "exe", "proctitle", "name", "cwd", "acct", "cmd", "data", "path", "dir", "old-name", "grp")
)
_PIECE = re.compile(r"(execve\.a\d{1,6})\[\d{1,6}\]")
_OPEN = 64  # records of one event can be apart by other events; this many events are held


def recognise(leaf: Leaf) -> str | None:
    """Lines of the form `type=T msg=audit(seconds:serial):`."""
    sample = [line for line in leaf.sample if not line.startswith(b"#")]
    hits = sum(_RECORD.match(to_text(line[:256])) is not None for line in sample)
    return f"{hits} of the first {len(sample)} lines are audit records" if hits * 2 >= len(sample) and hits else None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event a serial number: `text` is its raw lines, `offset` the first one's, `fields` the values by name.

    What is not an audit record (comments, kernel lines) is an event of its own.
    """
    held: dict[tuple[str, str, str], tuple[int, list[str]]] = {}
    size = 0
    for offset, line in leaf.lines():
        text = to_text(line)
        match = _RECORD.match(text)
        if match is None:
            yield leaf.event(offset, text, log_type="audit")
            continue
        key = (match["node"] or "", match["time"], match["serial"])
        held.setdefault(key, (offset, []))[1].append(text)
        size += len(text)
        while len(held) > _OPEN or (size > leaf.limit and held):
            oldest = next(iter(held))
            place, lines = held.pop(oldest)
            size -= sum(map(len, lines))
            yield _event(leaf, place, lines)
    for place, lines in held.values():
        yield _event(leaf, place, lines)


def records(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Each record of an event's `text`: its type, its values by the log's own names, and its line."""
    for line in text.split("\n"):
        match = _RECORD.match(line)
        if match is None:
            continue
        values: dict[str, str] = {}
        _add(values, line[match.end() :], match["type"])
        prefix = f"{match['type'].lower()}."
        yield match["type"], {name.removeprefix(prefix): value for name, value in values.items()}, line


def _event(leaf: Leaf, offset: int, lines: list[str]) -> Event:
    fields: dict[str, str] = {}
    types: list[str] = []
    node = time = None
    for line in lines:
        match = _RECORD.match(line)
        if match is None:
            continue
        node, time = match["node"], match["time"]
        if match["type"] not in types:
            types.append(match["type"])
        fields.setdefault("serial", match["serial"])
        _add(fields, line[match.end() :], match["type"])
    columns: Columns = {
        "timestamp": parse_time(time, leaf.clock),
        "host": node or _first(fields, "hostname", "addr"),
        "user": _first(fields, "acct", "AUID", "UID", "auid", "uid"),
        "process": _first(fields, "exe", "comm"),
        "log_type": types[0] if types else "audit",
        "fields": orjson.dumps({"type": ",".join(types)} | fields).decode(),
    }
    return leaf.event(offset, "\n".join(lines), source="auditd", **columns)


def _add(fields: dict[str, str], body: str, kind: str) -> None:
    """Add `key=value` pairs; the first value of a name stays, arguments and hex-encoded values are decoded."""
    for key, value in _PAIR.findall(body.replace("\x1d", " ")):
        if value[:1] == "'":
            _add(fields, value[1:-1], kind)
            continue
        if value[:1] == '"':
            value = value[1:-1]
        elif (key in _ENCODED or (kind == "EXECVE" and key[0] == "a" and key[1:2].isdigit())) and _HEX.fullmatch(value):
            value = bytes.fromhex(value).decode("utf-8", "backslashreplace")
        if kind in ("EXECVE", "PATH", "CWD", "SOCKADDR"):
            key = f"{kind.lower()}.{key}"
        if kind == "EXECVE" and (piece := _PIECE.fullmatch(key)):
            # An argument that was too long for one record comes as a1[0], a1[1], ...
            fields[piece[1]] = fields.get(piece[1], "") + value
        else:
            fields.setdefault(key, value)


def _first(fields: dict[str, str], *names: str) -> str | None:
    for name in names:
        value = text_of(fields.get(name))
        if value is not None and value not in ("4294967295", "-1", "unset"):
            return value
    return None
