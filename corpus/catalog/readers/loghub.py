"""Loghub: labels as the first word of a line (BGL, Thunderbird, Spirit, Liberty), by block (HDFS), by application
(Hadoop) and by instance (OpenStack); no labels elsewhere."""

import re
from functools import cache
from pathlib import PurePosixPath

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Treatment, label_of, take
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.errors import UserError

_TAGGED = re.compile(r"(\S{1,64}) (?=\d{9,10} )")
_TAGGED_LINE = re.compile(rb"\S{1,64} \d{9,10} \d{4}\.\d\d\.\d\d ")
_TAGGED_SYSTEM = re.compile(r"bgl|thunderbird|tbird|spirit|liberty", re.IGNORECASE)
_BLOCK = re.compile(r"blk_-?\d{1,20}")
_INSTANCE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_APPLICATION = re.compile(r"application_\d+_\d+")
_STRUCTURED = re.compile(r"\.log_(?:structured|templates)(?:_corrected)?\.csv$", re.IGNORECASE)
_LABELS = re.compile(
    r"(?:^|/)(?:anomaly_labels?\.(?:csv|txt)|abnormal_label\.txt|preprocessed/.*|.*_templates?(?:_corrected)?\.csv)$",
    re.IGNORECASE,
)
# What a parser is trained to find is an answer too.
_ANSWERS = ("label", "eventid", "eventtemplate", "parameterlist", "lineid")


def loghub(copy: Copy) -> Layout:
    """Every system of Loghub, told apart by the content of its files and by their names."""
    anomalous_blocks = cache(lambda: _blocks(copy))
    faults = cache(lambda: _applications(copy))
    instances = cache(lambda: _instances(copy))

    def skip(path: str) -> str | None:
        if _LABELS.search(path):
            return "labels or templates of the data set"
        if _STRUCTURED.search(path) and copy.has(_STRUCTURED.sub(".log", path)):
            return "the parsed form of a log that is there"
        return None

    def open(leaf: Leaf, path: str) -> Treatment:
        if _STRUCTURED.search(path):
            return Treatment(_structured)
        tagged = sum(_TAGGED_LINE.match(line) is not None for line in leaf.sample)
        if tagged and (tagged * 2 > len(leaf.sample) or _TAGGED_SYSTEM.search(path)):
            return Treatment(_tagged)
        if "hdfs" in path.lower():
            return Treatment(_by_block(anomalous_blocks()))
        if match := _APPLICATION.search(path):
            return Treatment(_constant(faults().get(match[0]), match[0]))
        if "openstack" in path.lower():
            return Treatment(_by_instance(instances(), PurePosixPath(path).name.lower()))
        return Treatment()

    return Layout(skip, open)


def _tagged(event: Event) -> Event:
    """The first word is the alert's category, `-` for none: it is cut off the text and out of the fields."""
    if match := _TAGGED.match(event.text):
        event.label = label_of(match[1])
        event.text = event.text[match.end() :]
    take(event, ("label",))
    return event


def _structured(event: Event) -> Event:
    found = take(event, _ANSWERS)
    event.label = label_of(found.get("label"))
    return event


def _blocks(copy: Copy) -> frozenset[str] | None:
    """The anomalous blocks; None where the labels are not in the copy."""
    paths = copy.find(r"(?:^|/)anomaly_label\.csv$")
    if not paths:
        return None
    rows = [line.split(",") for line in copy.lines(paths[0])]
    if not rows or len(rows[0]) != 2:
        raise UserError("not a table of BlockId and Label", paths[0])
    return frozenset(row[0].strip() for row in rows[1:] if len(row) == 2 and row[1].strip().lower() == "anomaly")


def _by_block(anomalous: frozenset[str] | None) -> Edit:
    def edit(event: Event) -> Event:
        blocks = _BLOCK.findall(event.text)
        if blocks:
            event.session_id = blocks[0]
            if anomalous is not None:
                event.label = "anomaly" if anomalous.intersection(blocks) else "normal"
        return event

    return edit


def _applications(copy: Copy) -> dict[str, str]:
    """Application -> the fault that was injected, from the headings of `abnormal_label.txt`."""
    faults: dict[str, str] = {}
    for path in copy.find(r"(?:^|/)abnormal_label\.txt$"):
        fault = ""
        for line in copy.lines(path):
            if match := _APPLICATION.search(line):
                faults[match[0]] = fault
            elif line.strip().endswith(":"):
                fault = line.strip(" #:").lower().replace(" ", "_")
    return faults


def _instances(copy: Copy) -> frozenset[str] | None:
    paths = copy.find(r"(?:^|/)anomaly_labels\.txt$")
    return frozenset(_INSTANCE.findall(copy.text(paths[0]))) if paths else None


def _by_instance(anomalous: frozenset[str] | None, name: str) -> Edit:
    normal = "normal" in name and "abnormal" not in name

    def edit(event: Event) -> Event:
        found = _INSTANCE.findall(event.text)
        event.session_id = next((one for one in found if f"instance: {one}" in event.text), None)
        if anomalous is not None and anomalous.intersection(found):
            event.label = "anomaly"
        elif normal or (anomalous is not None and event.session_id):
            event.label = "normal"
        return event

    return edit


def _constant(label: str | None, session: str) -> Edit:
    def edit(event: Event) -> Event:
        event.label, event.session_id = label, session
        return event

    return edit
