"""The columns of events: which are structured and which free text, and numbers for both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from logfm.errors import UserError

# What every event may carry, whatever its format.
COMMON = ("source", "log_type", "host", "user", "process")
_WORDS = 3.0
_DIFFERENT = 0.9
_FEW = 20
_MOST = 256
_DEPTH = 4


@dataclass(frozen=True)
class Columns:
    """The columns that tell events apart."""

    structured: dict[str, list[str]]
    """Values by name, one an event, empty where it has none."""
    free: dict[str, list[str]]
    """Columns of free text."""


def columns_of(records: Sequence[dict[str, Any]], chosen: Sequence[str] | None) -> Columns:
    """Sort the columns of events (with `text`, `fields` and COMMON) into structured ones and free text.

    Columns are COMMON and the fields of JSON, nested ones as `a.b`. Free text are the `chosen` ones; without a choice
    those whose values have more than three words on average, and `text` itself where there are none. Columns with one
    value, and structured ones whose values are nearly all different (times, identifiers), tell nothing and are left
    out.

    Raises:
        UserError: a chosen column does not exist.
    """
    rows = [_flat(record) for record in records]
    names = Counter(name for row in rows for name in row)
    frequent = [name for name, _ in names.most_common(_MOST)]
    if unknown := [name for name in chosen or () if name not in names and name != "text"]:
        raise UserError("no such column", unknown[0], f"There are: {', '.join(frequent[:30])}")
    structured, free = {}, {}
    for name in frequent:
        values = [row.get(name, "") for row in rows]
        filled = [value for value in values if value]
        words = sum(len(value.split()) for value in filled) / len(filled) if filled else 0.0
        own = len(filled) > _FEW and len(set(filled)) > _DIFFERENT * len(filled)
        if name in chosen if chosen is not None else words > _WORDS:
            free[name] = values
        elif len(set(values)) > 1 and not own:
            structured[name] = values
    if not free or "text" in (chosen or ()):
        free["text"] = [record["text"] for record in records]
    return Columns(structured, free)


def label_codes(columns: dict[str, list[str]]) -> np.ndarray:
    """Label encoding, float32 (events, columns), standardised: a value's rank by how often it occurs.

    The order makes rare values lie at one end, where few cuts of a random tree isolate them; equally frequent ones
    share a code.
    """
    coded = []
    for values in columns.values():
        counts = Counter(values)
        rank = {count: number for number, count in enumerate(sorted(set(counts.values()), reverse=True))}
        codes = np.array([rank[counts[value]] for value in values], dtype=np.float32)
        coded.append((codes - codes.mean()) / (codes.std() or 1.0))
    return np.stack(coded, axis=1)


def free_texts(columns: dict[str, list[str]]) -> list[str]:
    """One text an event of its free-text columns."""
    return [" ".join(value for value in values if value) for values in zip(*columns.values(), strict=True)]


def rarest(columns: dict[str, list[str]], row: int, most: int = 3) -> list[tuple[str, str, int]]:
    """The values of an event that occur least: column, value, events that have it."""
    found = [(name, values[row], values.count(values[row])) for name, values in columns.items() if values[row]]
    return sorted(found, key=lambda one: one[2])[:most]


def _flat(record: dict[str, Any]) -> dict[str, str]:
    flat = {name: str(record[name]) for name in COMMON if record[name]}
    document = _object(record["fields"]) or _object(record["text"])
    _spread(document, "", flat, _DEPTH)
    return flat


def flat_values(record: dict[str, Any]) -> dict[str, str]:
    """The values of a record as text, by column; nested columns as `a.b`, empty values left out."""
    flat: dict[str, str] = {}
    _spread(record, "", flat, _DEPTH)
    return flat


def _object(text: str | None) -> dict[str, Any]:
    if not text or not text.lstrip().startswith("{"):
        return {}
    try:
        found = orjson.loads(text.encode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _spread(document: dict[str, Any], prefix: str, into: dict[str, str], depth: int) -> None:
    for key, value in document.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and depth:
            _spread(value, f"{name}.", into, depth - 1)
        elif value is not None and value != "":
            into.setdefault(name, value if isinstance(value, str) else orjson.dumps(value).decode())
