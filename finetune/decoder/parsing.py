"""Generated text read as an answer, strictly or tolerantly; what can't be read is invalid, which is not wrong.

The same outputs can score 0 % under a strict pattern and 76 % under a tolerant one ("When the ruler is broken", arXiv
2605.07293), so both are reported beside each other, with the rate of what neither reads.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from logfm.finetune.decoder.answers import NONE, Answer, Grammar, Slot

Mode = Literal["strict", "tolerant"]

_TECHNIQUE = re.compile(r"(?<![A-Za-z0-9])[Tt]\d{4}(?:\.\d{3})?(?![0-9])")
_NEGATED = re.compile(r"(?:\bnot|\bno|\bnon|n't|\bnever)[\s-]+(?:\w+\s+)?$")
_EMPTY = re.compile(r"(?<![a-z0-9])(?:none|n/a|no techniques?)(?![a-z0-9])")
_LINE = 4096


@dataclass(frozen=True)
class Parsed:
    """An answer, or why there is none."""

    answer: Answer | None
    reason: str = ""
    """Empty where there is an answer: `no label`, `unknown label`, `several labels`, `other text`."""
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each slot what looked like a technique and is none of its labels; a tolerant reader leaves them out."""


def parse(raw: str, grammar: Grammar, mode: Mode) -> Parsed:
    """Read generated text.

    Strict: the grammar's lines, in order, letter for letter, and nothing else but white space at the end. Tolerant:
    the first line that names the slot (any case, any of `:`, `=`, `-` behind it, markup around it), or the whole text
    where no line does; labels as whole words in any case, those behind a "not" left out; of a set every label, of
    techniques without their parents where a child is named. Several labels for one place are no answer.
    """
    return _strict(raw, grammar) if mode == "strict" else _tolerant(raw, grammar)


def _strict(raw: str, grammar: Grammar) -> Parsed:
    lines = raw.rstrip().split("\n")
    if not raw.strip():
        return Parsed(None, "no label")
    if len(lines) != len(grammar.slots):
        return Parsed(None, "other text")
    answer: dict[str, tuple[str, ...]] = {}
    for slot, line in zip(grammar.slots, lines, strict=True):
        name, separator, rest = line.partition(": ")
        if name != slot.name or not separator:
            return Parsed(None, "other text")
        if slot.kind == "text":
            answer[slot.name] = () if rest == NONE else (rest,)
            continue
        labels = () if slot.kind == "set" and rest == NONE else tuple(rest.split(", "))
        if any(label not in _known(slot) for label in labels):
            return Parsed(None, "unknown label")
        if len(set(labels)) < len(labels) or (slot.kind == "one" and len(labels) > 1):
            return Parsed(None, "several labels")
        answer[slot.name] = _ordered(slot, labels)
    return Parsed(answer)


def _tolerant(raw: str, grammar: Grammar) -> Parsed:
    answer: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    for slot in grammar.slots:
        line = _line(raw, slot, grammar)
        if slot.kind == "text":
            answer[slot.name] = (line.strip(),) if line and line.strip().lower() != NONE else ()
            continue
        part = raw[:_LINE] if line is None else line
        found = _labels(part, slot)
        strange = tuple(dict.fromkeys(one for one in _techniques(part) if one not in _known(slot)))
        if strange and _is_techniques(slot):
            unknown[slot.name] = strange
        if slot.kind == "one" and len(found) > 1:
            return Parsed(None, "several labels", unknown)
        if not found and not (slot.kind == "set" and not strange and _EMPTY.search(part.lower())):
            return Parsed(None, "unknown label" if slot.name in unknown else "no label", unknown)
        answer[slot.name] = _ordered(slot, found)
    return Parsed(answer, "", unknown)


def _line(raw: str, slot: Slot, grammar: Grammar) -> str | None:
    """What stands behind the slot's name, up to the end of the line or the next slot's name; None without the name."""
    names = "|".join(re.escape(one.name) for one in grammar.slots)
    for line in raw.splitlines():
        found = re.search(rf"(?i)(?<!\w){re.escape(slot.name)}\W{{0,3}}[:=\-]\W{{0,3}}", line[:_LINE])
        if found:
            rest = line[found.end() : _LINE]
            following = re.search(rf"(?i)(?<!\w)(?:{names})\W{{0,3}}[:=]", rest)
            return rest[: following.start()] if following else rest
    return None


def _labels(part: str, slot: Slot) -> list[str]:
    """The slot's labels in a text, in the order of their first occurrence."""
    if _is_techniques(slot):
        found = [one for one in dict.fromkeys(_techniques(part)) if one in _known(slot)]
        # "T1059 (T1059.001)" names one technique twice.
        found = [one for one in found if not any(other.startswith(f"{one}.") for other in found)]
        none = NONE in slot.labels and not _techniques(part) and _EMPTY.search(part.lower()) is not None
        return [NONE] if none else found
    low = part.lower()
    places: dict[str, int] = {}
    for match in _words(slot.labels).finditer(low):
        if not _NEGATED.search(low[: match.start()]):
            places.setdefault(_by_lower(slot.labels)[match.group()], match.start())
    return list(places)


@lru_cache(maxsize=64)
def _words(labels: Sequence[str]) -> re.Pattern[str]:
    """Any of the labels as whole words, the longest first."""
    ordered = sorted((re.escape(label.lower()) for label in labels), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(ordered)})(?![\w-])")


@lru_cache(maxsize=64)
def _by_lower(labels: tuple[str, ...]) -> dict[str, str]:
    return {label.lower(): label for label in labels}


@lru_cache(maxsize=64)
def _places(labels: tuple[str, ...]) -> dict[str, int]:
    return {label: place for place, label in enumerate(labels)}


def _known(slot: Slot) -> dict[str, int]:
    return _places(slot.labels)


def _ordered(slot: Slot, labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(labels, key=_known(slot).__getitem__))


def _techniques(part: str) -> list[str]:
    return [match.group().upper() for match in _TECHNIQUE.finditer(part)]


def _is_techniques(slot: Slot) -> bool:
    return is_technique_set(slot.labels)


@lru_cache(maxsize=64)
def is_technique_set(labels: tuple[str, ...]) -> bool:
    """Whether labels are ids of ATT&CK techniques, `none` beside them allowed."""
    names = [label for label in labels if label != NONE]
    return bool(names) and all(_TECHNIQUE.fullmatch(label) is not None for label in names)
