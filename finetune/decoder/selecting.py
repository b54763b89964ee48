"""The fields of an event that are written, in order, each clean and short."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from logfm.corpus.events import Event
from logfm.corpus.rules.shapes import windows_view
from logfm.finetune.decoder.fields import FieldSpec, FieldsSpec

Clean = Callable[[str], str]
Value = tuple[str, str]
"""A field's name, empty for none, and its value."""
_LONGEST = 4_096
"""What is looked at of a single value (characters)."""
_MOST_VALUES = 64
_DEEPEST = 12
_LARGEST_JSON = 65_536
"""A longer string that looks like JSON stays one (characters)."""
_TELLING = 4
"""A value that stands there already is not written again, if it is not shorter than this (characters)."""
_GAP = "…"
_SPACES = re.compile(r"\s+")


@dataclass(frozen=True)
class Selected:
    """An event's record and the selection that writes it."""

    event: Event
    spec: FieldsSpec
    title: str
    """Channel and event id of a Windows event."""
    record: dict[str, Any]


def select(event: Event, specs: Sequence[FieldsSpec]) -> Selected:
    """The first selection that fits an event; the last one fits every event."""
    record = _record(event)
    spec = next(one for one in specs if one.fits(event.source, event.log_type, record))
    if spec.shape != "windows":
        return Selected(event, spec, "", record)
    view = windows_view(record)
    channel = view.channel.removeprefix("Microsoft-Windows-").removesuffix("/Operational")
    title = f"{channel} {view.event_id}".strip()
    return Selected(event, spec, spec.called.get(title.casefold(), title), {**view.header, **view.data})


def names_in(selected: Selected) -> tuple[list[str], list[str]]:
    """The hosts and the users that an event's fields name."""
    found: tuple[list[str], list[str]] = ([], [])
    patterns = selected.spec.named
    if patterns != (None, None):
        for key, value in flattened(selected.record):
            for pattern, names in zip(patterns, found, strict=True):
                if pattern is not None and pattern.search(key):
                    names.append(value)
    return found


def values_of(selected: Selected, clean: Clean) -> tuple[str, list[Value], int]:
    """An event's title and its fields as they are written, identities taken out by `clean`; and how many characters of
    these fields are not: of long values, and of what stands behind the first values of a record without a selection."""
    spec, record, event = selected.spec, selected.record, selected.event
    title, dropped = _title(selected, clean)
    if spec.shape == "line" or not record:
        text, more = _plain(event.text, spec.line, spec, clean)
        return title, [("", text)], dropped + more
    if spec.shape == "flat":
        flat, more = _flat(selected, clean, names=True)
        return title, _different(flat), dropped + more
    values: list[Value] = []
    for name, field in spec.fields.items():
        if field.unless is not None and _inside(selected, field.unless) not in (None, ""):
            continue
        known = None if field.again else {value.casefold() for _, value in values}
        found, more = _value(field, _inside(selected, name), spec, clean, known)
        values, dropped = values + found, dropped + more
    if not values and spec.shape == "windows":
        message = record.get("Message")
        if not message:
            values, more = _flat(selected, clean, names=False)
            return title, values, dropped + more
        text, more = _plain(str(message), spec.most, spec, clean)
        return title, [("", text)], dropped + more
    return title, values, dropped


def flattened(value: Any, name: str = "", depth: int = _DEEPEST) -> Iterator[Value]:
    """The plain values inside a record, with the path of their keys (`a.b`); a string that holds JSON is opened."""
    if isinstance(value, str) and depth:
        value = _opened(value)
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield from flattened(inner, f"{name}.{key}" if name else str(key), depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            if isinstance(inner, dict) and set(inner) == {"name", "value"}:  # what some products call a parameter
                yield from flattened(inner["value"], f"{name}.{inner['name']}", depth - 1)
            else:
                yield from flattened(inner, name, depth - 1)
    elif value is not None:
        yield name, _word(value)


def _opened(text: str) -> Any:
    """The object or list that a string holds, as a policy in a request does; any other string as it is."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > _LARGEST_JSON:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def shorten(text: str, most: int) -> str:
    """At most so many characters: two thirds from the beginning, the rest from the end."""
    if len(text) <= most:
        return text
    behind = (most - 1) // 3
    return text[: most - 1 - behind] + _GAP + (text[len(text) - behind :] if behind else "")


def _record(event: Event) -> dict[str, Any]:
    text = event.fields if event.fields is not None else event.text
    if text.lstrip()[:1] != "{":
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _title(selected: Selected, clean: Clean) -> tuple[str, int]:
    if selected.title:
        return selected.title, 0
    spec = selected.spec
    values = [_inside(selected, name) for name in spec.title]
    parts = [_plain(_word(one), 80, spec, clean) for one in values if one not in (None, "", [], {})]
    found = " ".join(text for text, _ in parts)
    return spec.called.get(found.casefold(), found), sum(dropped for _, dropped in parts)


def _value(
    field: FieldSpec, value: Any, spec: FieldsSpec, clean: Clean, known: set[str] | None
) -> tuple[list[Value], int]:
    """One field as it is written, none where it says nothing new; an object's values follow each other."""
    if isinstance(value, dict | list):
        inner = (one for one in flattened(value) if not _skipped(spec, *one))
        text = " ".join(f"{name.rpartition('.')[2]}={one}" if name else one for name, one in inner)
    else:
        text = "" if value is None else _word(value)
    text = text.rstrip("\\/").replace("\\", "/").rpartition("/")[2] if field.cut == "file" else text
    text, dropped = _plain(text, field.most, spec, clean)
    if text in ("", "-") or text in field.hidden or (known and text.casefold() in known):
        return [], 0
    return [(field.name, text)], dropped


def _flat(selected: Selected, clean: Clean, names: bool) -> tuple[list[Value], int]:
    """All plain values, but not endlessly many; a key is written without what it lies in."""
    spec = selected.spec
    found: list[Value] = []
    dropped = 0
    for name, value in flattened(selected.record):
        if name in spec.title or value in ("", "-", "null") or _skipped(spec, name, value):
            continue
        if len(found) >= _MOST_VALUES:
            dropped += len(value)
            continue
        text, more = _plain(value, spec.most, spec, clean)
        dropped += more
        if text:
            found.append((name.rpartition(".")[2] if names else "", text))
    return found, dropped


def _different(values: Sequence[Value]) -> list[Value]:
    seen: set[str] = set()
    found = []
    for name, value in values:
        key = value.casefold()
        if len(key) < _TELLING or key not in seen:
            found.append((name, value))
        seen.add(key)
    return found


def _inside(selected: Selected, name: str) -> Any:
    if name[:1] == "@" and hasattr(selected.event, name[1:]):
        return getattr(selected.event, name[1:])
    record = selected.record
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _skipped(spec: FieldsSpec, name: str, value: str) -> bool:
    if spec.skipped is not None and spec.skipped.search(name):
        return True
    return spec.identifying is not None and "/" not in value and spec.identifying.search(name) is not None


def _plain(text: str, most: int, spec: FieldsSpec, clean: Clean) -> tuple[str, int]:
    """A value as it is written, and how many of its characters are not."""
    behind = max(0, len(text) - _LONGEST)
    text = clean(text[:_LONGEST])
    for pattern, instead in spec.shortened:
        text = pattern.sub(instead, text)
    text = _SPACES.sub(" ", text).strip()
    short = shorten(text, most)
    return short, behind + len(text) - len(short)


def _word(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)
