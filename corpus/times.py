"""Timestamps of all kinds to UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

MAX_STAMP = 64
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1
    )
}
_ZONES = {"Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "CET": 1, "BST": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
          "IST": 5.5, "JST": 9, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8,
          "PDT": -7, "BRT": -3, "BRST": -2, "ART": -3, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13, "KST": 9,
          "SGT": 8, "HKT": 8, "SAST": 2}  # fmt: skip

# With a year. Day before month only where the month's place holds no month: `25/12/2020`.
_FORMATS = (
    "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S.%f %z", "%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%dT%H:%M:%S.%f", "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S", "%d/%b/%Y:%H:%M:%S.%f",
    "%d/%b/%Y:%H:%M:%S.%f %z", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S.%f %Y", "%a %b %d %H:%M:%S %z %Y",
    "%a, %d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S %z", "%b %d %Y %H:%M:%S", "%b %d %Y %H:%M:%S.%f",
    "%b %d, %Y %H:%M:%S", "%b %d, %Y %H:%M:%S.%f", "%b %d, %Y %I:%M:%S %p", "%b %d, %Y, %I:%M:%S %p",
    "%Y %b %d %H:%M:%S", "%Y %b %d %H:%M:%S.%f", "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M:%S.%f",
    "%d-%b-%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S.%f", "%b-%d-%y %H:%M:%S", "%Y-%m-%d-%H.%M.%S.%f",
    "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S.%f", "%m/%d/%y %H:%M:%S.%f",
    "%m/%d/%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y %I:%M:%S %p", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S.%f",
    "%d/%m/%Y", "%m/%d/%y %H:%M:%S", "%y/%m/%d %H:%M:%S", "%m/%d/%Y-%H:%M:%S.%f", "%y/%m/%d-%H:%M:%S.%f",
    "%m/%d/%y-%H:%M:%S.%f", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M:%S %z", "%m-%d-%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f", "%Y.%m.%d %H:%M:%S", "%Y:%m:%d-%H:%M:%S", "%m-%d-%y %H:%M:%S.%f",
    "%y%m%d %H%M%S", "%y%m%d %H:%M:%S", "%Y%m%d-%H:%M:%S:%f", "%Y%m%d %H%M%S", "%m-%d-%Y %H:%M:%S.%f",
    "%H:%M:%S.%f %m-%d-%Y", "%d %B %Y %H:%M:%S", "%B %d %Y %H:%M:%S", "%B %d, %Y %H:%M:%S",
    "%Y%m%d %H%M", "%Y%m%d%H%M%S", "%Y-%m-%d-%H%M%S.%f", "%d-%b-%Y::%H:%M:%S", "%d-%m-%Y %H:%M:%S.%f",
)  # fmt: skip
_YEARLESS = ("%b %d %H:%M:%S", "%b %d %H:%M:%S.%f", "%m-%d %H:%M:%S.%f", "%m-%d %H:%M:%S", "%m%d %H:%M:%S.%f",
             "%a %b %d %H:%M:%S", "%a %b %d %H:%M:%S.%f", "%m/%d-%H:%M:%S.%f", "%m/%d %H:%M:%S",
             "%d %b %H:%M:%S.%f", "%d %b %H:%M:%S")  # fmt: skip
_NUMBER = re.compile(r"\d{9,10}(?:\.\d{1,9})?|\d{13}|\d{16}|\d{19}|\d\.\d+E[+]?\d\d?", re.IGNORECASE)
_DOTNET = re.compile(r"/Date\((\d{12,13})(?:[+-]\d{4})?\)/")
_LONG_FRACTION = re.compile(r"([.,]\d{6})\d+")
_COMMA = re.compile(r"(?<=\d),(?=\d)")
_OFFSET = re.compile(r"\s+(?=[+-]\d\d:?\d\d$)")
_BSD = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)")

# What may stand at the head of a line; the alternatives are tried where a token starts.
_STAMP = re.compile(
    r"(?<![\w.:/-])(?:"
    r"\d{4}[-/.:]\d\d[-/.:]\d\d(?:[T _-]|, ?| +)\d\d[:.]\d\d[:.]\d\d(?:[.,]\d{1,9})?(?: ?(?:Z\b|[+-]\d\d:?\d\d\b))?"
    r"|(?:[A-Z][a-z]{2},? )?[A-Z][a-z]{2} +\d{1,2},? (?:\d{4},? )?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: (?:19|20)\d\d\b)?"
    r"|\d{4} [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
    r"|(?:[A-Z][a-z]{2}, )?\d{1,2}[/ -][A-Z][a-z]{2}[/ -]\d{4}[: ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: [+-]\d\d:?\d\d)?"
    r"|[A-Z][a-z]{2}-\d\d-\d\d \d\d:\d\d:\d\d"
    r"|\d{1,2}[/.-]\d{1,2}[/.-](?:\d{4}|\d\d)[ \t,-]+\d{1,2}:\d\d:\d\d(?:[.,]\d{1,9})?(?: [AP]M)?(?: [+-]\d{4}\b)?"
    r"|\d{8}[- ]\d\d:?\d\d:?\d\d(?::\d{3}\b)?"
    r"|\d{6} +\d{1,2}:\d\d:\d\d|\d{6} \d{6}\b"
    r"|\d\d[-/]\d\d[ -]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?!\d)"
    r"|1\d{9}(?:\.\d{1,9}|\d{3})?(?![\w.-])"
    r")"
)


@dataclass(frozen=True)
class Clock:
    """What a file's timestamps leave out: the zone, and the moment that bounds those without a year."""

    zone: tzinfo
    modified: datetime
    year: int | None = None


def parse_time(value: object, clock: Clock) -> datetime | None:
    """A timestamp of any common form (text, or epoch seconds to nanoseconds) in UTC; None if it is none."""
    if isinstance(value, str):
        return _parse_text(value, clock) if len(value) <= MAX_STAMP else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_epoch(value)
    return None


def from_epoch(number: float) -> datetime | None:
    """Epoch seconds, milliseconds, microseconds or nanoseconds, told apart by their size, in UTC."""
    if not 1e8 <= number < 1e19:
        return None
    for limit, scale in ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e19, 1_000_000_000)):
        if number < limit:
            if isinstance(number, int):
                whole, rest = divmod(number, scale)
                return _EPOCH + timedelta(seconds=whole, microseconds=rest * 1_000_000 // scale)
            return _EPOCH + timedelta(microseconds=round(number / scale * 1_000_000))
    return None


def find_time(text: str, clock: Clock) -> datetime | None:
    """The first timestamp near the head of a line (160 characters), in UTC."""
    for match in _STAMP.finditer(text[:160]):
        if (found := _parse_text(match[0].strip(), clock)) is not None:
            return found
    return None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8192)
def _parse_text(text: str, clock: Clock) -> datetime | None:
    if bsd := _BSD.fullmatch(text):
        month, day, hour, minute, second = bsd.groups()
        return _place(clock, _MONTHS.get(month, 0), int(day), int(hour), int(minute), int(second))
    text = text.strip().replace("\t", " ")
    try:
        return (
            local_to_utc(datetime.fromisoformat(text), clock)
            if len(text) >= 10 and text[4] == "-"
            else _other(text, clock)
        )
    except (ValueError, OverflowError):
        return _other(text, clock)


def _other(text: str, clock: Clock) -> datetime | None:
    if dotnet := _DOTNET.fullmatch(text):
        return from_epoch(int(dotnet[1]))
    if _NUMBER.fullmatch(text):
        return from_epoch(int(text) if text.isdigit() else float(text))
    if len(text) < 10 or not any(char.isdigit() for char in text):
        return None
    text = _COMMA.sub(".", " ".join(_LONG_FRACTION.sub(r"\1", text).split()))
    text, zone = _named_zone(text, clock)
    clock = Clock(zone, clock.modified, clock.year)
    try:
        return local_to_utc(datetime.fromisoformat(_OFFSET.sub("", text)), clock)
    except (ValueError, OverflowError):
        return _by_format(text, clock)


def _named_zone(text: str, clock: Clock) -> tuple[str, tzinfo]:
    head, _, last = text.rpartition(" ")
    if head and last in _ZONES:
        return head, timezone(timedelta(hours=_ZONES[last]))
    return text, clock.zone


_DIRECTIVES = {"%Y": r"\d{4}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}", "%a": "[A-Za-z]{3}", "%p": "[AaPp][Mm]",
               "%f": r"\d{1,6}", "%z": r"(?:Z|[+-]\d\d:?\d\d)"}  # fmt: skip
_ALL_FORMATS = tuple(
    (
        form,
        re.compile(
            "".join(
                _DIRECTIVES.get(part, r"\d{1,2}") if part.startswith("%") else re.escape(part)
                for part in re.split("(%[A-Za-z])", form)
            )
        ),
    )
    for form in (*_FORMATS, *_YEARLESS)
)
_SHAPE = str.maketrans("0123456789", "0000000000")


def _by_format(text: str, clock: Clock) -> datetime | None:
    for form in _candidates(text.translate(_SHAPE)):
        if found := _strptime(text, form, clock):
            return found
    return None


@lru_cache(maxsize=4096)
def _candidates(shape: str) -> tuple[str, ...]:
    """The formats that texts of this shape (every digit a 0) can have, whatever was parsed before."""
    return tuple(form for form, pattern in _ALL_FORMATS if pattern.fullmatch(shape))


def _strptime(text: str, form: str, clock: Clock) -> datetime | None:
    try:
        if form in _YEARLESS:
            # A leap year, so that 29 February parses.
            at = datetime.strptime(f"2000 {text}", f"%Y {form}")
            return _place(clock, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
        return local_to_utc(datetime.strptime(text, form), clock)
    except (ValueError, OverflowError):
        return None


def _place(clock: Clock, month: int, day: int, hour: int, minute: int, second: int, micro: int = 0) -> datetime | None:
    """Give a moment without a year the latest year in which it is not after the file's modification."""
    first = clock.year or clock.modified.year + 1
    for year in range(first, first - 1 if clock.year else first - 10, -1):
        try:
            moment = local_to_utc(datetime(year, month, day, hour, minute, min(second, 59), micro), clock)
        except (ValueError, OverflowError):
            continue
        if moment and (clock.year or moment <= clock.modified + timedelta(days=1)):
            return moment
    return None


def local_to_utc(moment: datetime, clock: Clock) -> datetime | None:
    """A moment in UTC; one without a zone is in the clock's. None where the year cannot be.

    Raises:
        OverflowError: it lies outside the calendar in UTC.
    """
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=clock.zone)
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment if moment.year >= 1900 else None
