"""ATLAS and ATLASv2: Windows security, DNS and browser logs of attacks on one or two hosts."""

import csv
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Treatment, record_of, skipping
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.readers.registry import Format
from logfm.corpus.times import parse_time
from logfm.errors import UserError

_ENTITIES = "malicious_labels.txt"
_RECORD = re.compile(
    r"(?P<level>Audit Success|Audit Failure|Information)\t(?P<time>[^\t]{8,32})\t(?P<source>[^\t]{0,128})\t"
    r"(?P<id>\d{1,6})\t(?P<task>[^\t]{0,128})"
)
_HEADER = re.compile(r"(?:Keywords|Level)\tDate and Time\t")
_SCENARIO = re.compile(r"(?<![a-z0-9])([sm]\d)(?![0-9])", re.IGNORECASE)


def atlas(copy: Copy) -> Layout:
    """ATLAS: `SCENARIO/{security_events.txt,dns,firefox.txt}`; `malicious_labels.txt` beside them lists entities.

    As in the authors' code an event is part of the attack where its text, in lower case and with `/` for `\\`,
    contains one of them (Alsaheel et al., USENIX Security 2021).
    """

    def open(leaf: Leaf, path: str) -> Treatment:
        security = PurePosixPath(path).name.lower().startswith("security_events")
        return Treatment(_by_entity(copy, path), _SECURITY if security else None)

    pattern = r"(?:^|/)(?:malicious_labels|user_artifact)\.txt$|(?:^|/)output/|\.(?:h5|dot|json)$"
    return Layout(skipping(pattern, "labels or results of the data set"), open)


def _by_entity(copy: Copy, path: str) -> Edit | None:
    beside = next((found for folder in PurePosixPath(path).parents if copy.has(found := str(folder / _ENTITIES))), None)
    if beside is None:
        return None
    entities = [line.strip().lower().replace("\\", "/") for line in copy.lines(beside) if line.strip()]
    scenario = PurePosixPath(beside).parent.name or None

    def edit(event: Event) -> Event:
        text = event.text.lower().replace("\\", "/")
        event.label = "attack" if any(one in text for one in entities) else "normal"
        event.session_id = scenario
        return event

    return edit


def _read_security(leaf: Leaf) -> Iterator[Event]:
    """Records of several lines, as Event Viewer saves them as text; the first line has the columns."""
    held: list[str] = []
    place = size = 0
    for offset, line in leaf.lines():
        text = to_text(line)
        if _HEADER.match(text):
            continue
        if held and (_RECORD.match(text) or size + len(text) > leaf.limit):
            yield _security_event(leaf, place, held)
            held = []
        if not held:
            place, size = offset, 0
        held.append(text)
        size += len(text) + 1
    if held:
        yield _security_event(leaf, place, held)


def _security_event(leaf: Leaf, offset: int, lines: list[str]) -> Event:
    match = _RECORD.match(lines[0])
    time = parse_time(match["time"], leaf.clock) if match else None
    text = "\n".join(lines)
    return leaf.event(offset, text, source="windows", timestamp=time, log_type=match["task"] if match else None)


_SECURITY = Format("windows_text", lambda leaf: "security events saved as text", _read_security)


def atlas_v2(copy: Copy) -> Layout:
    """ATLASv2: `data/{benign,attack}/{h1,h2}/SENSOR/`; REAPr's `*.labels` name processes of the Carbon Black logs.

    What lies under `benign` is normal. Under `attack` only events of a process that REAPr labels have a label:
    the identifiers of the other sensors do not match, and the days hold benign work as well.
    """
    held: list[dict[str, str]] = []

    def open(leaf: Leaf, path: str) -> Treatment:
        parts = PurePosixPath(path).parts
        if not held:
            held.append(_processes(copy))
        match = _SCENARIO.search(parts[-1])
        session = match[1].lower() if match else None
        return Treatment(_by_process(held[0], "benign" in parts, session))

    return Layout(skipping(r"\.(?:labels|seeds)$|igraph", "labels of the data set"), open)


def _by_process(processes: dict[str, str], benign: bool, session: str | None) -> Edit:
    def edit(event: Event) -> Event:
        if benign:
            event.label = "normal"
            return event
        event.session_id = session
        guid = str(record_of(event).get("process_guid", "")).lower()
        event.label = processes.get(guid)
        return event

    return edit


def _processes(copy: Copy) -> dict[str, str]:
    """Process identifier -> label; the tables have attack, process_name, process_id, process_uuid and label."""
    found: dict[str, str] = {}
    for path in copy.find(r"\.labels$"):
        for row in csv.DictReader(copy.lines(path), skipinitialspace=True):
            clean = {str(key).strip(): str(value).strip() for key, value in row.items()}
            if not {"process_uuid", "label"} <= clean.keys():
                raise UserError("a table of labels without process_uuid and label", path)
            found[clean["process_uuid"].lower()] = clean["label"]
    return found
