"""The formats, in the order in which they are tried. A new format is one file and one entry here; a new line
format or JSON product is one YAML file in `formats/`."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import UTF8
from logfm.corpus.readers import (
    activitywatch,
    audit,
    evtx_reader,
    json_reader,
    pcap,
    symantec_av,
    tables,
    text,
    xml_events,
    xml_lines,
)


class Format(NamedTuple):
    """A format: `recognise` gives the reason in words or None, `read` the events."""

    name: str
    recognise: Callable[[Leaf], str | None]
    read: Callable[[Leaf], Iterator[Event]]


FORMATS = (
    Format("evtx", evtx_reader.recognise, evtx_reader.read),
    Format("pcap", pcap.recognise, pcap.read),
    Format("zeek", tables.recognise_zeek, tables.read_zeek),
    Format("w3c", tables.recognise_w3c, tables.read_w3c),
    Format("activitywatch", activitywatch.recognise, activitywatch.read),
    Format("json_lines", json_reader.recognise_lines, json_reader.read_lines),
    Format("json_document", json_reader.recognise_document, json_reader.read_document),
    Format("windows_xml", xml_events.recognise, xml_events.read),
    Format("xml_lines", xml_lines.recognise, xml_lines.read),
    Format("symantec_av", symantec_av.recognise, symantec_av.read),
    Format("auditd", audit.recognise, audit.read),
    Format("lines", text.recognise, text.read),
    Format("csv", tables.recognise_csv, tables.read_csv),
    Format("text", text.recognise_text, text.read),
)
_BINARY = {"evtx", "pcap"}  # formats that are no text


def recognise(leaf: Leaf) -> tuple[Format | None, str]:
    """The format of a file and the reason in words; None and the reason if it is no log."""
    if not leaf.head:
        return None, "empty file"
    binary = _binary(leaf)
    for form in FORMATS:
        if (binary is None or form.name in _BINARY) and (why := form.recognise(leaf)):
            return form, why
    return None, f"not a log ({binary})"


_SIGNATURES = (
    (b"\x7fELF", "ELF program"), (b"MZ", "Windows program"), (b"\x89PNG", "PNG image"), (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"), (b"%PDF-", "PDF document"), (b"SQLite format 3\0", "SQLite database"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive, unpack it first"), (b"Rar!\x1a\x07", "RAR archive, unpack it first"),
    (b"PAR1", "Parquet file"), (b"LPKSHHRH", "journald binary, export it with journalctl -o json"),
)  # fmt: skip
_CONTROL = re.compile(rb"[\x02-\x08\x0e-\x1a]")


def _binary(leaf: Leaf) -> str | None:
    """Why this is no text. Logs may hold some NULs and control bytes; programs and random bytes hold many."""
    for magic, title in _SIGNATURES:
        if leaf.head.startswith(magic) and (len(magic) > 2 or b"\0" in leaf.head[:64]):
            return title
    if leaf.encoding != UTF8:
        return None
    rest = leaf.head.replace(b"\0", b"")
    if len(rest) < 0.7 * len(leaf.head) or len(_CONTROL.findall(rest)) > 0.03 * len(rest):
        return "binary"
    return None
