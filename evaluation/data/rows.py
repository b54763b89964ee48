"""What a reader makes of one event, and what readers share."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson

from logfm.configs.schema.suite import DataSpec
from logfm.errors import UserError

DEEPEST = 64
"""Levels of a nested record that are read."""
_LONGEST = 16 << 20


class Row(NamedTuple):
    """One event. Only `text` and `record` may reach an encoder; the other columns are for the metrics."""

    text: str
    template: str | None = None
    label: int | None = None
    """1 or 0."""
    group: str | None = None
    time: float | None = None
    """Seconds since the epoch."""
    source: str | None = None
    record: dict[str, Any] | None = None
    """Structured fields, stripped like the text."""
    query: str | None = None
    kind: str | None = None
    """What is behind the label."""


class Place(NamedTuple):
    """Where a data set lies: the data folder, its files (those that `path` matches, sorted), those beside them that
    hold labels or templates (`options.beside`), the most rows that are wanted, and what a reader saw there."""

    folder: Path
    files: list[Path]
    beside: list[Path]
    most: int | None
    unseen: set[str]
    """Names in `drop`, in lower case, that none of the records read so far had; `watched` keeps it."""


Read: TypeAlias = Callable[[DataSpec, Place], Iterator[Row | str]]
"""A reader gives a row an event, or the reason why there is none."""


OPTIONS = frozenset(
    (
        "anomalous",
        "attacks",
        "beside",
        "class",
        "collapse",
        "dataset",
        "events",
        "first",
        "group",
        "hosts",
        "kinds",
        "label",
        "leave_out",
        "normal",
        "parts",
        "query",
        "source",
        "sources",
        "tables",
        "template",
        "templates",
        "text",
        "time",
    )
)
"""What readers ask for; tasks have options of their own (`UnitConfig`)."""


def option(spec: DataSpec, name: str, default: str = "") -> str:
    """A reader's option as text."""
    return str(spec.options.get(name, default))


def listed(spec: DataSpec, name: str) -> list[str]:
    """A reader's option as a list: one value is a list of one."""
    value = spec.options.get(name, [])
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def stripped(value: Any, drop: Collection[str], depth: int = DEEPEST) -> Any:
    """JSON without the keys in `drop` (lower case), at any depth; what lies deeper than 64 levels becomes null."""
    if depth < 0:
        return None
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if str(key).strip().lower() not in drop}
        return {key: stripped(inner, drop, depth - 1) for key, inner in kept.items()}
    return [stripped(inner, drop, depth - 1) for inner in value] if isinstance(value, list) else value


def dropped(spec: DataSpec) -> frozenset[str]:
    """The names that are taken out of every record, in lower case."""
    return frozenset(name.lower() for name in spec.drop)


def only_drops(spec: DataSpec, possible: Collection[str]) -> None:
    """What a reader of raw lines can take out of them.

    Raises:
        UserError: `drop` names something else, which would stay in the line.
    """
    for name in dropped(spec) - {one.lower() for one in possible}:
        raise UserError(f"the reader {spec.reader} cannot drop {name} from a raw line", spec.name)


def watched(
    spec: DataSpec, place: Place, records: Iterable[Any], fields: Callable[[Any], Any] = lambda one: one
) -> Iterator[Any]:
    """The records as they come; `fields` gives the JSON of one.

    Who stops before the end must read on while `place.unseen` holds a name.

    Raises:
        UserError: at the end, if a name in `drop` was in none of them: misspelt, it would let a label through.
    """
    place.unseen.update(dropped(spec))
    for one in records:
        if place.unseen:
            place.unseen.difference_update(_keys(fields(one)))
        yield one
    if place.unseen:
        raise UserError(
            "a field to drop is in no record",
            min(place.unseen),
            f"Correct `drop` of {spec.name}, or give records that have it: a label is dropped, too.",
        )


def _keys(value: Any, depth: int = DEEPEST) -> set[str]:
    """The keys at any depth that is read, in lower case."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = {str(key).strip().lower() for key in value} if isinstance(value, dict) else set()
    return own.union(*(_keys(one, depth - 1) for one in inner)) if depth else own


def as_text(value: Any) -> str:
    """A record as the JSON line that an encoder reads; text as it is."""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # whole numbers above 64 bits, and lone surrogates
        return json.dumps(value, separators=(",", ":"))


@contextmanager
def opened(path: Path) -> Iterator[io.TextIOBase]:
    """A text file, unpacked where its name ends in `.gz`; bytes that are no UTF-8 are replaced.

    Raises:
        UserError: it cannot be read.
    """
    unpack: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with unpack(path, "rb") as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="\n")
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read the data set ({type(error).__name__})", path) from error


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, without their ends."""
    with opened(path) as stream:
        while line := stream.readline(_LONGEST):
            yield line.rstrip("\r\n")


def table(path: Path, needed: Collection[str]) -> Iterator[dict[str, str]]:
    """The rows of a CSV with a header.

    Raises:
        UserError: it cannot be read, or a needed column is missing.
    """
    with opened(path) as stream:
        reader = csv.DictReader(stream, restval="")
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise UserError(
                f"the table has no column {missing[0]}", path, "Name the columns in the data set's options."
            )
        try:
            for row in reader:
                row.pop(None, None)
                yield row
        except csv.Error as error:
            raise UserError(f"malformed CSV ({error})", path) from error


def documents(path: Path) -> Iterator[dict[str, Any] | str]:
    """The objects of a file of JSON lines; the reason where a line is none."""
    for line in lines(path):
        if not line.strip():
            continue
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield "not JSON"
            continue
        yield found if isinstance(found, dict) else "no JSON object"


def seconds(value: object) -> float | None:
    """Seconds since the epoch, None where it is no number."""
    try:
        return float(str(value))
    except ValueError:
        return None
