"""Values in log text that differ from event to event while its meaning stays: found, and replaced within their type."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# (type, pattern), the first that fits wins. Quantifiers are bounded: log text is written by attackers.
_TYPES = (
    ("iso", r"(?<!\d)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d"),
    ("syslog", rf"\b(?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d"),
    ("web", rf"(?<!\d)\d\d/(?:{_MONTHS})/\d{{4}}:\d\d:\d\d:\d\d"),
    ("epoch", r"(?<![\w.])1[4-9]\d{8}(?:\d{3})?(?![\w])"),
    ("guid", r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"),
    ("mac", r"\b[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}\b"),
    ("ipv4", r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])"),
    ("ipv6", r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F]{1,4}(?![\w:])"),
    ("hex", r"\b(?:0x[0-9a-fA-F]{4,64}|[0-9a-fA-F]{16,128})\b"),
    # Shorter numbers are codes, ports, levels and event ids as often as not: they carry the meaning.
    ("number", r"(?<![\w.])\d{5,20}(?![\w.])"),
    # JSON writes each backslash twice.
    ("person", r"(?:(?<=\bUsers\\\\)|(?<=\bUsers\\)(?!\\)|(?<=/home/))[^\\\"\s/]{1,64}"),
)
_VALUE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _TYPES))
_TIMES: dict[str, str] = {"iso": "%Y-%m-%d %H:%M:%S", "syslog": "%b %d %H:%M:%S", "web": "%d/%b/%Y:%H:%M:%S"}

Pools = Mapping[str, Sequence[str]]
"""Values by type, to draw from."""


def pools(texts: Sequence[str]) -> dict[str, list[str]]:
    """All values in some texts, by type, each once and in order; times are left out, as they are shifted."""
    found: dict[str, dict[str, None]] = {}
    for text in texts:
        for match in _VALUE.finditer(text):
            kind = str(match.lastgroup)
            if kind not in _TIMES and kind != "epoch":
                found.setdefault(kind, {})[match[0]] = None
    return {kind: list(values) for kind, values in found.items()}


def swapped(text: str, drawn: Pools, share: float, shift: timedelta, rng: np.random.Generator) -> str:
    """The text with each value replaced, with probability `share`, by another of its type, and all times moved by one
    `shift`. Equal values are replaced by equal ones.
    """
    chosen: dict[tuple[str, str], str] = {}

    def replace(match: re.Match[str]) -> str:
        kind, value = str(match.lastgroup), match[0]
        if kind in _TIMES or kind == "epoch":
            return _moved(kind, value, shift)
        if (kind, value) not in chosen:
            pool = drawn.get(kind, ())
            swap = len(pool) > 0 and rng.random() < share
            chosen[kind, value] = pool[int(rng.integers(len(pool)))] if swap else value
        return chosen[kind, value]

    return _VALUE.sub(replace, text)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The text with whole names, such as its user and host, replaced by others."""
    usable = {old: new for old, new in names.items() if len(old) > 2}
    if not usable:
        return text
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(re.escape(name) for name in usable)})(?![\w-])")
    return pattern.sub(lambda match: usable[match[0]], text)


def _moved(kind: str, value: str, shift: timedelta) -> str:
    """A time moved, in its own layout; one that is none stays as it is."""
    try:
        if kind == "epoch":
            scale = 1000 if len(value) == 13 else 1
            return str(int(value) + round(shift.total_seconds()) * scale)
        layout = _TIMES[kind]
        # Without a year, as in syslog, one has to stand in; a leap year has all days.
        moment = datetime.strptime(f"2024 {value}" if kind == "syslog" else value.replace("T", " "),
                                   f"%Y {layout}" if kind == "syslog" else layout) + shift  # fmt: skip
        return _WRITTEN[kind](moment, value)
    except (ValueError, OverflowError):
        return value


_WRITTEN: dict[str, Callable[[datetime, str], str]] = {
    "iso": lambda moment, value: f"{moment:%Y-%m-%d}{value[10]}{moment:%H:%M:%S}",
    "syslog": lambda moment, value: f"{moment:%b} {moment.day:>2} {moment:%H:%M:%S}",
    "web": lambda moment, value: f"{moment:%d/%b/%Y:%H:%M:%S}",
}
