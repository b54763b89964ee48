"""Two views of an event: what an analyst would call the same event, written differently.

Values are swapped within their type, users and hosts renamed, times shifted, fields left out and put in another order.
The contrastive objective on such pairs is SimCSE's (Gao et al., EMNLP 2021); the views are made for logs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import orjson

from logfm.configs.schema.contrast import ContrastConfig
from logfm.pretrain.contrast.values import Pools, pools, renamed, swapped

_PAIR = re.compile(r"(?<!\S)[A-Za-z_][\w.-]{0,63}=(?:\"[^\"]{0,2000}\"|\S+)")
_HEADER = re.compile(r"^.{8,80}?: (?=\S.{15})", re.DOTALL)
_FEWEST_PAIRS = 3
_SAID = frozenset({"message", "description", "signature", "summary", "title"})
_WORDS = re.compile(r"[A-Za-z]+(?:[^A-Za-z\r\n]+[A-Za-z]+)+")
"""At least two words; what follows in other lines are the fields again."""
_DEEPEST, _LONGEST = 3, 300


@dataclass(frozen=True)
class Line:
    """What a view is made from."""

    text: str
    user: str | None = None
    host: str | None = None


@dataclass(frozen=True)
class Material:
    """What the views of one batch draw from."""

    values: Pools
    users: Sequence[str]
    hosts: Sequence[str]

    @classmethod
    def of(cls, lines: Sequence[Line]) -> "Material":
        """Gather it."""
        users = dict.fromkeys(line.user for line in lines if line.user)
        hosts = dict.fromkeys(line.host for line in lines if line.host)
        return cls(pools([line.text for line in lines]), list(users), list(hosts))


def view(line: Line, material: Material, config: ContrastConfig, rng: np.random.Generator) -> str:
    """One view of an event; never empty where the event is not."""
    names = {}
    for own, others in ((line.user, material.users), (line.host, material.hosts)):
        if own and rng.random() < config.swap:
            names[own] = others[int(rng.integers(len(others)))]
    shift = timedelta(seconds=float(rng.uniform(-1, 1)) * 86_400 * config.shift_days)
    text = swapped(renamed(line.text, names), material.values, config.swap, shift, rng)
    return _fewer_fields(text, config, rng) or line.text


def said(text: str) -> tuple[str, str] | None:
    """What a JSON event says in plain words, and the event without that; None where it says nothing."""
    if text[:1] != "{":
        return None
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    sentence = _take_said(record, _DEEPEST) if isinstance(record, dict) else None
    return None if sentence is None or not record else (sentence, orjson.dumps(record).decode())


def _take_said(record: dict[str, Any], depth: int) -> str | None:
    """The plain words of a record, whose field goes; those nearest to its root."""
    for key, value in record.items():
        found = _WORDS.match(value[:_LONGEST]) if key.lower() in _SAID and isinstance(value, str) else None
        if found:
            del record[key]
            return found[0]
    inner = [value for value in record.values() if isinstance(value, dict)] if depth > 1 else []
    return next(filter(None, (_take_said(value, depth - 1) for value in inner)), None)


def _fewer_fields(text: str, config: ContrastConfig, rng: np.random.Generator) -> str:
    """The text without some of its fields, perhaps in another order; as it is where it has none."""
    if text[:1] == "{":
        try:
            record = orjson.loads(text)
        except orjson.JSONDecodeError:
            record = None
        if isinstance(record, dict) and record:
            keys = _kept(list(record), config, rng)
            return orjson.dumps({key: record[key] for key in keys}).decode()
    found = list(_PAIR.finditer(text))
    if len(found) < _FEWEST_PAIRS:
        header = _HEADER.match(text)
        return text[header.end() :] if header and rng.random() < config.drop else text
    kept = iter(_kept([match[0] for match in found], config, rng))
    # Pairs go where pairs were; what stands between them stays.
    return " ".join(_PAIR.sub(lambda _: next(kept, ""), text).split(" ")).strip()


def _kept(fields: list[str], config: ContrastConfig, rng: np.random.Generator) -> list[str]:
    """At least half of the fields, shuffled if the draw says so."""
    draws = rng.random(len(fields))
    dropped = draws < config.drop
    if dropped.sum() * 2 > len(fields):
        dropped = draws < np.sort(draws)[len(fields) // 2]
    kept = [field for field, gone in zip(fields, dropped, strict=True) if not gone]
    return [kept[place] for place in rng.permutation(len(kept))] if rng.random() < config.reorder else kept
