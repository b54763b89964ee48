"""Tables with one case a row: rule tests with their rule, sentences with their techniques."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import orjson

from logfm.configs.schema.cases import RowsSource
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.errors import UserError
from logfm.finetune.decoder.groups import Counts, Group, Labelled, first_of

_TECHNIQUE = re.compile(r"(?<![A-Za-z0-9])T\d{4}(?:\.\d{3})?(?!\d)")
_TACTIC = re.compile(r"(?<![A-Za-z0-9])TA\d{4}(?!\d)")
_TRUE, _FALSE = frozenset(("true", "1", "yes")), frozenset(("false", "0", "no"))
_DEEPEST = 64


def read_rows(source: RowsSource, counts: Counts) -> Iterator[Group]:
    """A group of one event a row; rows of the same group come apart.

    Raises:
        UserError: no input, or no row with such a text and group.
    """
    found = False
    for event in read_events(source.input):
        row = _object(event.text) if isinstance(event, Event) else {}
        if not isinstance(event, Event) or not row:
            counts["rows that are no record"] += 1
            continue
        if any(_word(row.get(name)) not in values for name, values in source.where.items()):
            counts["rows that were not asked for"] += 1
            continue
        text, group = row.get(source.text), first_of(row, source.group)
        suspicious = _alert(row, source)
        if text in (None, "", {}) or not group or suspicious is None:
            counts["rows without text, group or label"] += 1
            continue
        found = True
        yield Group(group, source.name, [_labelled(event, row, source, suspicious)], _kind(source))
    if not found:
        raise UserError("no row with such a text and group", ", ".join(source.input), "See the source's columns.")


def without(value: Any, drop: Collection[str], depth: int = _DEEPEST) -> Any:
    """JSON without the keys in `drop` (lower case), at any depth; what lies deeper than 64 levels becomes null."""
    if depth < 0:
        return None
    if isinstance(value, dict):
        return {key: without(one, drop, depth - 1) for key, one in value.items() if str(key).lower() not in drop}
    return [without(one, drop, depth - 1) for one in value] if isinstance(value, list) else value


def _kind(source: RowsSource) -> Any:
    return "rule" if source.severity or source.alert else "sentence"


def _labelled(event: Event, row: dict[str, Any], source: RowsSource, suspicious: bool) -> Labelled:
    content = row[source.text]
    if isinstance(content, str) and content[:1] == "{":
        content = _object(content) or content
    content = without(content, {name.lower() for name in source.drop})
    plain = isinstance(content, str)
    product = first_of(row, [source.product]) if source.product else ""
    inner = replace(
        event,
        text=content if plain else orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS).decode(),
        source=product or source.name,
        log_type=product or None,
        host=None, user=None, process=None, timestamp=None, fields=None,
    )  # fmt: skip
    given = first_of(row, source.techniques)
    return Labelled(
        inner,
        suspicious,
        tuple(dict.fromkeys(_TECHNIQUE.findall(given))),
        first_of(row, source.reason),
        tuple(dict.fromkeys(_TACTIC.findall(given))),
        _word(row.get(source.severity)) if source.severity else "",
        product,
    )


def _alert(row: dict[str, Any], source: RowsSource) -> bool | None:
    if source.alert is None:
        return True
    word = _word(row.get(source.alert)).lower()
    return True if word in _TRUE else False if word in _FALSE else None


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    return "true" if value is True else "false" if value is False else "" if value is None else str(value)
