"""Loghub: the 2k samples with their given templates, and full copies through the catalogue's reader."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from logfm.configs.schema.suite import DataSpec
from logfm.corpus.catalog import read_dataset
from logfm.corpus.events import Event
from logfm.corpus.times import Clock, find_time
from logfm.errors import UserError
from logfm.evaluation.data.rows import Place, Row, dropped, lines, only_drops, option, stripped, table

_NORMAL = "-"
_ANSWERS = ("LineId", "Label", "EventId", "EventTemplate")
# Years are missing in some; only differences between times count.
CLOCK = Clock(UTC, datetime(2026, 1, 1, tzinfo=UTC))


def loghub_2k(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """A raw log beside its structured table (corrected): the EventId is the template.

    Where the table has a column Label, the line starts with its value: that is cut off, and a line without it is
    left out.

    Raises:
        UserError: the log and its table have different numbers of rows.
    """
    only_drops(spec, _ANSWERS)
    path = place.files[0]
    parsed = list(table(_structured(path), ("EventId",)))
    raw = list(lines(path))
    if len(raw) != len(parsed):
        raise UserError(f"{len(raw)} lines, but {len(parsed)} rows in the table beside it", path)
    drop = dropped(spec) | {name.lower() for name in _ANSWERS}
    for line, columns in zip(raw, parsed, strict=True):
        tag = columns.get("Label")
        text = line if tag is None else _untagged(line, tag)
        if text is None:
            yield "the line does not start with its label"
            continue
        moment = find_time(text, CLOCK)
        yield Row(
            text=text,
            template=columns["EventId"],
            label=None if tag is None else int(tag != _NORMAL),
            time=None if moment is None else moment.timestamp(),
            source=option(spec, "source", spec.name),
            record=stripped(columns, drop),
            kind=None if tag is None else ("" if tag == _NORMAL else tag),
        )


def catalogued(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    """A downloaded copy of a data set of the catalogue (`options.dataset`); its reader strips the labels.

    With `options.first` only so many events are read from the start: 200 million fit no memory.
    """
    only_drops(spec, ("label",))
    yield from islice(_catalogued(spec, place), int(option(spec, "first", "0")) or None)


def _catalogued(spec: DataSpec, place: Place) -> Iterator[Row | str]:
    normal = ("normal", "benign")
    for path in place.files:
        # Label files in folders below are found where the whole folder is the copy.
        inside = any(path.parent in beside.parent.parents for beside in place.beside)
        for one in read_dataset(option(spec, "dataset"), path.parent if inside else path):
            if inside and Path(one.file) != path.absolute():
                continue
            if not isinstance(one, Event):
                yield one.reason
                continue
            attack = None if one.label is None else int(one.label not in normal)
            yield Row(
                text=one.text,
                label=attack,
                group=one.session_id or one.host,
                time=None if one.timestamp is None else one.timestamp.timestamp(),
                source=option(spec, "source", one.source),
                kind=None if one.label is None else ("" if not attack else one.label),
            )


def _structured(path: Path) -> Path:
    for ending in ("_structured_corrected.csv", "_structured.csv"):
        beside = path.with_name(path.name + ending)
        if beside.is_file():
            return beside
    raise UserError("no structured table beside the log", path)


def _untagged(line: str, tag: str) -> str | None:
    return line[len(tag) + 1 :] if tag and line.startswith(f"{tag} ") else None
