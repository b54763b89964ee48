"""Events as the model reads them: a line an event, cut to so many tokens, what is cut counted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from logfm.configs.schema.cases import WritingConfig
from logfm.corpus.events import Event
from logfm.finetune.decoder.fields import FieldsSpec
from logfm.finetune.decoder.identity import Identities, is_address
from logfm.finetune.decoder.selecting import Selected, Value, names_in, select, shorten, values_of

CountTokens = Callable[[str], int]
_SHORTEST = 12


@dataclass(frozen=True)
class Written:
    """A case's text, and how many characters of its selected fields are not in it."""

    text: str
    left_out: int


@dataclass(frozen=True)
class _Line:
    """One event: when (seconds since the one before) and where, what, and its fields."""

    start: str
    title: str
    values: tuple[Value, ...]
    dropped: int
    """Characters of its fields that these values don't have."""

    def text(self, most: int, fields: int) -> str:
        """With values of at most so many characters and so many fields."""
        pairs = ((name, shorten(value, most)) for name, value in self.values[:fields])
        parts = [f"{name}={value}" if name else value for name, value in pairs]
        return " ".join(filter(None, [self.title, *parts]))


def write(
    events: Sequence[Event],
    specs: Sequence[FieldsSpec],
    config: WritingConfig,
    hide: re.Pattern[str] | None,
    count_tokens: CountTokens,
    seed: int,
) -> Written:
    """Write events, in their order, with at most `config.tokens` tokens as `count_tokens` counts them.

    Where they don't fit, the longest values are cut first, then the last fields go, at last the end of the text.
    What matches `hide` becomes X. Events without any field give no text.
    """
    identities = Identities(config.identity, seed)
    selected = [select(event, specs) for event in events]
    named = [names_in(one) for one in selected]
    hosts = [*(event.host for event in events), *(name for found, _ in named for name in found)]
    users = [*(event.user for event in events), *(name for _, found in named for name in found)]
    identities.know(hosts, users)
    clean = identities.clean if hide is None else _hiding(hide, identities)
    starts = _starts(events, config, clean)
    lines = [_line(one, start, clean) for one, start in zip(selected, starts, strict=True)]
    return _fitted(lines, config, count_tokens)


def _hiding(hide: re.Pattern[str], identities: Identities) -> Callable[[str], str]:
    return lambda text: identities.clean(hide.sub("X", text))


def _line(selected: Selected, start: str, clean: Callable[[str], str]) -> _Line:
    title, values, dropped = values_of(selected, clean)
    return _Line(start, title, tuple(values), dropped)


def _starts(events: Sequence[Event], config: WritingConfig, clean: Callable[[str], str]) -> list[str]:
    """Seconds since the event before, where there are any; the host, where there are several."""
    hosts = [None if event.host is None or is_address(event.host) else event.host for event in events]
    several = len({*hosts}) > 1
    before = None
    found = []
    for event, host in zip(events, hosts, strict=True):
        start = ""
        if config.times == "relative" and before is not None and event.timestamp is not None:
            seconds = round((event.timestamp - before).total_seconds())
            start = f"+{seconds}s " if seconds >= 1 else ""
        found.append(f"{start}{clean(host)} " if several and host else start)
        before = event.timestamp or before
    return found


def _fitted(lines: Sequence[_Line], config: WritingConfig, count_tokens: CountTokens) -> Written:
    longest = max((len(value) for line in lines for _, value in line.values), default=0)
    fields = max((len(line.values) for line in lines), default=0)

    def fits(text: str) -> bool:
        return count_tokens(text) <= config.tokens

    def text(most: int, few: int = fields) -> str:
        return _text(lines, most, few, config.repeats)

    if not any(line.values for line in lines):
        return Written("", 0)
    whole = cut = text(longest)
    if not fits(whole):
        most = _largest(_SHORTEST, longest, lambda most: fits(text(most)))
        cut = text(most)
        if not fits(cut):
            cut = text(most, _largest(0, fields, lambda few: fits(text(most, few))))
        if not fits(cut):
            cut = cut[: _largest(0, len(cut), lambda end: fits(cut[:end]))]
    return Written(cut, sum(line.dropped for line in lines) + len(whole) - len(cut))


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number that fits; `low` where none does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _text(lines: Sequence[_Line], most: int, fields: int, repeats: bool) -> str:
    found: list[tuple[str, str, int]] = []
    for line in lines:
        text = line.text(most, fields)
        if repeats and found and found[-1][1] == text:
            found[-1] = (found[-1][0], text, found[-1][2] + 1)
        else:
            found.append((line.start, text, 1))
    return "\n".join(f"{start}{text}{f' x{times}' if times > 1 else ''}" for start, text, times in found)
