"""Labelled events of a group: what every kind of data set is read into."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from logfm.corpus.events import Event
from logfm.finetune.decoder.answers import LabelledBy

Counts = Counter[str]
_SEPARATORS = str.maketrans(dict.fromkeys(",;", " "))


@dataclass(frozen=True, slots=True)
class Labelled:
    """One event and what its data set says of it."""

    event: Event
    suspicious: bool
    techniques: tuple[str, ...] = ()
    """Ids as the data set writes them."""
    reason: str = ""
    tactics: tuple[str, ...] = ()
    """Ids or short names, the first one first."""
    severity: str = ""
    product: str = ""


@dataclass(frozen=True)
class Group:
    """Events that a split keeps together: an archive, a file, a rule, a session."""

    name: str
    source: str
    events: list[Labelled]
    labelled_by: LabelledBy
    by: tuple[str, ...] | None = None
    """Columns whose values the events of a chunk share; None leaves it to the configuration, and () is all of them."""
    part: str | None = None
    """The part of a split that the data set itself puts it in."""


def words_in(cell: str) -> tuple[str, ...]:
    """The parts of a cell that commas, semicolons or spaces separate."""
    return tuple(cell.translate(_SEPARATORS).split())


def first_of(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """The first of some columns that holds anything, as text; a list's values are separated by spaces."""
    for name in columns:
        value = row.get(name)
        text = " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value).strip()
        if text:
            return text
    return ""
