"""Values as people read them; log text made visible, since whoever wrote the log chose its bytes."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from logfm.evaluation.report_data import ScoredToken


def visible(text: str, limit: int = 400) -> str:
    """At most `limit` characters of `text`, with every character that does not print replaced by one that does.

    ASCII controls become their pictures (U+2400 block); text-direction marks, zero-width characters and lone
    surrogates become U+FFFD. What is cut is counted. Markup is not escaped here: the template does that.
    """
    shown = "".join(_visible(char) for char in text[:limit])
    return shown if len(text) <= limit else f"{shown}… (+{len(text) - limit:,} characters)"


def excerpt(tokens: Sequence[ScoredToken], budget: int = 900) -> list[ScoredToken | int]:
    """Tokens that fit `budget` characters: the beginning and the most surprising ones; an int counts those left out.

    A third of the budget goes to the beginning; the rest to surprising tokens with eight neighbours a side.
    """
    if sum(len(token.text) for token in tokens) <= budget:
        return list(tokens)
    kept: set[int] = set()
    left = budget
    for index, token in enumerate(tokens):
        if left - len(token.text) < budget * 2 // 3:
            break
        kept.add(index)
        left -= len(token.text)
    for index in sorted(range(len(tokens)), key=lambda i: -(tokens[i].nats or 0.0)):
        window = set(range(max(0, index - 8), min(len(tokens), index + 9))) - kept
        size = sum(len(tokens[i].text) for i in window)
        if size > left:
            break
        kept |= window
        left -= size
    return _with_gaps(tokens, kept)


def number(value: float) -> str:
    """1234567 -> 1,234,567."""
    return f"{value:,.0f}"


def compact(value: float) -> str:
    """1234567 -> 1.2M."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}" if abs(value) < 100 * size else f"{value / size:.0f}{unit}"
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes in binary units: 1536 -> 1.5 KiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as s, min or h: 75 -> 1 min 15 s."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def score(value: float | None, digits: int = 3) -> str:
    """A score with fixed digits; a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "–"


def percent(value: float, digits: int = 1) -> str:
    """A share of 1 as percent."""
    return f"{100 * value:.{digits}f} %" if math.isfinite(value) else "–"


def when(moment: datetime | None) -> str:
    """A time stamp in UTC, to the second; a dash where there is none."""
    if moment is None:
        return "–"
    utc = moment.astimezone(UTC) if moment.tzinfo else moment
    return utc.strftime("%Y-%m-%d %H:%M:%S")


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if char.isprintable():
        return char
    return " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"


def _with_gaps(tokens: Sequence[ScoredToken], kept: set[int]) -> list[ScoredToken | int]:
    shown: list[ScoredToken | int] = []
    last = -1
    for index in [*sorted(kept), len(tokens)]:
        if index > last + 1:
            shown.append(index - last - 1)
        if index < len(tokens):
            shown.append(tokens[index])
        last = index
    return shown
