"""Los Alamos National Laboratory: the Unified Host and Network set (2017) and the Comprehensive set (2015)."""

import re
from functools import partial

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Treatment, record_of, seconds, skipping, table
from logfm.corpus.events import Event
from logfm.corpus.leaf import Columns, Leaf, text_of
from logfm.corpus.readers.registry import Format
from logfm.errors import UserError

_NETFLOW = ("Time", "Duration", "SrcDevice", "DstDevice", "Protocol", "SrcPort", "DstPort", "SrcPackets",
            "DstPackets", "SrcBytes", "DstBytes")  # fmt: skip
_AUTH = ("time", "source user@domain", "destination user@domain", "source computer", "destination computer",
         "authentication type", "logon type", "authentication orientation", "success/failure")  # fmt: skip
_PROC = ("time", "user@domain", "computer", "process name", "start/end")
_FLOWS = ("time", "duration", "source computer", "source port", "destination computer", "destination port",
          "protocol", "packet count", "byte count")  # fmt: skip
_DNS = ("time", "source computer", "computer resolved")
_RED = 4  # columns of redteam.txt: time, user@domain, source computer, destination computer
_Key = tuple[str, ...]


def _columns(record: dict[str, str], *, kind: str, host: str, user: str = "", process: str = "") -> Columns:
    """Event columns of a row. Times count from the start of the recording, which is not published."""
    time = record.get("time", record.get("Time"))
    return {
        "timestamp": seconds(time),
        "host": text_of(record.get(host)),
        "user": text_of(record.get(user)),
        "process": text_of(record.get(process)),
        "log_type": kind,
    }


_TABLES: dict[str, Format] = {
    "netflow": table(_NETFLOW, partial(_columns, kind="netflow", host="SrcDevice")),
    "auth": table(_AUTH, partial(_columns, kind="authentication", host="source computer", user="source user@domain")),
    "proc": table(
        _PROC, partial(_columns, kind="process", host="computer", user="user@domain", process="process name")
    ),
    "flows": table(_FLOWS, partial(_columns, kind="netflow", host="source computer")),
    "dns": table(_DNS, partial(_columns, kind="dns", host="source computer")),
}
_FILE = re.compile(r"(?:^|/)(netflow|auth|proc|flows|dns)(?:_day-\d+)?(?:\.txt|\.csv)?(?:\.gz|\.bz2)?$", re.IGNORECASE)


def lanl(copy: Copy) -> Layout:
    """Host events as JSON lines (`wls_day-*`) and tables without headers; `redteam.txt` names rows of `auth.txt`."""
    red: list[frozenset[_Key] | None] = []

    def open(leaf: Leaf, path: str) -> Treatment:
        match = _FILE.search(path)
        if match is None:
            return Treatment(_host_event if re.search(r"(?:^|/)wls_", path) else None)
        name = match[1].lower()
        if name == "auth":
            red.extend([_red_team(copy)] if not red else [])
            return Treatment(_authentication(red[0]), _TABLES[name])
        return Treatment(None, _TABLES[name])

    return Layout(skipping(r"(?:^|/)redteam\.txt", "labels of the data set"), open)


def _host_event(event: Event) -> Event:
    record = record_of(event)
    event.timestamp = seconds(record.get("Time"))
    event.host = text_of(record.get("LogHost")) or text_of(record.get("Computer"))
    event.user, event.process = text_of(record.get("UserName")), text_of(record.get("ProcessName"))
    event.log_type = text_of(record.get("EventID"))
    event.source = "windows"
    return event


def _red_team(copy: Copy) -> frozenset[_Key] | None:
    """The compromises: time, user, source and destination computer; None where the copy has no list."""
    paths = copy.find(r"(?:^|/)redteam\.txt(?:\.gz)?$")
    if not paths:
        return None
    rows = [tuple(line.strip().split(",")) for line in copy.lines(paths[0]) if line.strip()]
    if any(len(row) != _RED for row in rows):
        raise UserError("not rows of time, user, source and destination computer", paths[0])
    return frozenset(rows)


def _authentication(red: frozenset[_Key] | None) -> Edit | None:
    if red is None:
        return None
    names = ("time", "source user@domain", "source computer", "destination computer")

    def edit(event: Event) -> Event:
        record = record_of(event)
        event.label = "redteam" if tuple(record.get(name, "") for name in names) in red else "normal"
        return event

    return edit
