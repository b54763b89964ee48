"""The message behind a log line's header: headers vary in every line and would hide which lines say the same."""

import re
from typing import Any

import orjson

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = r"\d{2}:\d{2}:\d{2}(?:[.,]\d{1,9})?"
_ISO = rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_TIME}(?: ?(?:Z|[+-]\d{{2}}:?\d{{2}}))?"
_LEVEL = r"(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL)"
# Tags end in a colon. Old daemons put a version behind the name ("syslogd 1.4.1:").
_TAG = r"(?:-- )?[^\s:\[]{1,64}(?: \d[\w.]{0,15})?(?:\[[^\]\s]{0,64}\])?:(?=\s|$)"
_LABEL = r"(?:-|[A-Z][A-Z0-9_]{0,31})"
_SUPERCOMPUTER = r"\d{9,10} \d{4}\.\d{2}\.\d{2} \S{1,64} "

_LABELLED = re.compile(rf"{_LABEL} (?={_SUPERCOMPUTER})")

# Every pattern is anchored by `match`, starts at the header's first byte and has bounded repeats: linear time.
_HEADERS = tuple(
    (name, re.compile(pattern, re.DOTALL))
    for name, pattern in (
        (
            "bgl",
            rf"{_SUPERCOMPUTER}\d{{4}}-\d{{2}}-\d{{2}}-\d{{2}}\.\d{{2}}\.\d{{2}}\.\d+ \S{{1,64}} \S+ \S+ \S+ ?(.*)",
        ),
        ("syslog", rf"{_SUPERCOMPUTER}{_MONTH} +\d{{1,2}} {_TIME} \S+ (?:{_TAG}\s?)?(.*)"),
        (
            "syslog",
            # RFC 5424: structured data is "-" or bracketed groups whose values may hold an escaped "]".
            r"<\d{1,3}>\d{1,2} \S{1,64} \S{1,255} \S{1,64} \S{1,128} \S{1,64}"
            r' (?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+)(?: (?:\ufeff)?(.*))?$',
        ),
        (
            "syslog",
            rf"(?:<\d{{1,3}}>)?{_MONTH} +\d{{1,2}} (?:\d{{4}} )?{_TIME} \S{{1,255}} +(?:{_TAG}\s*)?(.*)",
        ),
        ("android", rf"\d{{2}}-\d{{2}} {_TIME} +\d+ +\d+ [VDIWEFA] [^:]{{0,128}}: ?(.*)"),
        ("cbs", rf"\d{{4}}-\d{{2}}-\d{{2}} {_TIME}, \w{{1,16}} +\w{{1,16}} +(.*)"),
        (
            "log4j",
            rf"(?:{_ISO}|\d{{2}}/\d{{2}}/\d{{2}} {_TIME}|\d{{6}} \d{{6}}(?: \d+)?)(?: -)?"
            rf" +(?:\[.{{1,512}}?\] +)?{_LEVEL} +(?:\[.{{1,512}}?\] )?(?:- |[^\s:]{{1,200}}(?:: | - |:$))?(.*)",
        ),
        ("syslog", rf"(?:<\d{{1,3}}>)?{_ISO} \S{{1,255}} {_TAG}\s*(.*)"),
        (
            "apache",
            rf"\[\w{{3}} {_MONTH} \d{{2}} {_TIME} \d{{4}}\] \[[\w:]{{1,64}}\] (?:\[pid \d+(?::tid \d+)?\] )?(.*)",
        ),
        ("timestamped", rf"\[?{_ISO}\]?[:,]? +(.*)"),
        # An access line has no message: what was asked for and the answer's status stand for it.
        ("access", r'\S{1,255} \S{1,255} [^\[]{1,255}\[[^\]]{1,64}\] ("(?:[^"\\]|\\.)*" \d{3})'),
    )
)

# The keys that name an event's kind in common JSON logs: Windows, CloudTrail, Suricata, Cowrie, Zeek.
_KINDS = (
    ("channel", "eventid"),
    ("channel", "event_id"),
    ("providername", "eventid"),
    ("provider_name", "event_id"),
    ("sourcename", "eventid"),
    ("source_name", "event_id"),
    ("eventid",),
    ("event_id",),
    ("eventsource", "eventname"),
    ("event_type",),
    ("_path",),
    ("@stream",),
)


def strip_label(text: str) -> str:
    """Remove the alert label that BGL and Thunderbird lines start with; other lines come back as they are.

    The label is the answer: no encoder may see it.
    """
    return _LABELLED.sub("", text, count=1) if _LABELLED.match(text) else text


def split_header(text: str) -> tuple[str, str]:
    """The format of a line ("json", "syslog", ...; "plain" if unknown) and the message behind its header.

    A JSON event has no header: its kind (channel and event id, or what the product calls it) stands for the
    message; without a kind, its key names do.
    """
    line = strip_label(text).strip()
    if line.startswith("{"):
        kind = json_kind(line)
        if kind is not None:
            return "json", kind
    name, found = _header(line)
    return name, line if found is None else (found[1] or "").strip()


def message_of(text: str) -> str:
    """The message behind a log line's header, by format; the line itself where no header is recognised."""
    return split_header(text)[1]


def without_header(text: str) -> str:
    """The message of a line that has one: JSON, whose fields are the message, and what would be empty stay whole."""
    format_name, message = split_header(text)
    return text if format_name == "json" or not message else message


def message_start(text: str) -> int:
    """Where in a line what `without_header` gives of it begins."""
    if without_header(text) == text:
        return 0
    line = strip_label(text)
    start = len(text) - len(line.lstrip())
    _, found = _header(line.strip())
    if found is not None:
        start += found.end(1) - len(found[1].lstrip())
    return start


def _header(line: str) -> tuple[str, re.Match[str] | None]:
    """The format of a line that is no JSON, and the header with the message as its group 1."""
    for name, pattern in _HEADERS:
        found = pattern.match(line)
        if found:
            return name, found
    return "plain", None


def json_kind(text: str) -> str | None:
    """What kind of event a JSON object is, or None where `text` is no JSON object."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    values = _lowered(document)
    for keys in _KINDS:
        parts = [_scalar(values.get(key)) for key in keys]
        if all(parts):
            return "/".join(part for part in parts if part)
    return ",".join(sorted(document))


def _lowered(document: dict[str, Any]) -> dict[str, Any]:
    """The keys in lower case, with the columns that EVTX and winlogbeat nest lifted to the top."""
    values: dict[str, Any] = {}
    for inner in (document.get("Event"), document.get("System"), document.get("winlog"), document):
        if isinstance(inner, dict):
            system = inner.get("System")
            if isinstance(system, dict):
                values.update({key.lower(): value for key, value in system.items()})
            values.update({key.lower(): value for key, value in inner.items()})
    return values


def _scalar(value: Any) -> str | None:
    """A kind's part as text; EVTX wraps numbers that have attributes in an object."""
    if isinstance(value, dict):
        value = value.get("#text", value.get("Value"))
    return str(value) if isinstance(value, str | int) and value != "" else None
