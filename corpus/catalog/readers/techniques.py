"""Events that carry ATT&CK techniques one by one: CasinoLimit, and the multi-source set of 870 sessions."""

import re
from pathlib import PurePosixPath
from typing import Any

import orjson

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import Edit, Layout, Treatment, label_of, skipping, take, techniques_in
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.errors import UserError

_SERIAL = re.compile(r"audit\(\d+(?:\.\d+)?:(\d+)\)")
_LABELLED = ("label", "labels", "is_malicious", "malicious", "technique", "techniques", "technique_id",
             "technique_ids", "attack_technique", "attack_techniques", "mitre_technique", "mitre_techniques",
             "mitre_attack_technique", "attack_id", "technique_name", "tactic", "tactics", "attack_tactic",
             "mitre_tactic")  # fmt: skip
_FLAGS = {"true": "attack", "1": "attack", "yes": "attack"}
_Serials = dict[tuple[str, str], list[str]]


def casinolimit(copy: Copy) -> Layout:
    """CasinoLimit: `syslogs/INSTANCE/MACHINE-N/audit.log`; `system_labels/INSTANCE.json` names audit events.

    Events that no label names have none: the set has no benign activity by its design. Labelled flows give up
    their label columns.
    """
    held: dict[str, _Serials] = {}
    tables: dict[str, str] = {}  # instance -> its label file

    def open(leaf: Leaf, path: str) -> Treatment:
        if not tables:
            tables[""] = ""
            tables.update((PurePosixPath(found).stem, found) for found in copy.find(r"system_labels/[^/]+\.json$"))
        parts = PurePosixPath(path).parts
        instance = next((part for part in reversed(parts[:-2]) if part in tables), None)
        if instance is None:
            return Treatment(_carried(None, None))
        if instance not in held:
            held[instance] = _audit_labels(copy, tables[instance])
        return Treatment(_by_serial(held[instance], parts[-2].rsplit("-", 1)[0], instance))

    return Layout(skipping(r"system_labels/|(?:^|/)(?:cache|output)(?:\.zip)?/", "labels of the data set"), open)


def _audit_labels(copy: Copy, path: str) -> _Serials:
    """(machine, serial number of the audit event) -> techniques."""
    found: _Serials = {}
    try:
        labels = orjson.loads(copy.text(path))
        for label in labels.values():
            techniques = techniques_in(label["technique"]) or []
            for machine, serials in label["auditd_events"].items():
                for serial in serials:
                    known = found.setdefault((machine, str(serial)), [])
                    known.extend(one for one in techniques if one not in known)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise UserError("not labels with a technique and auditd_events", path) from None
    return found


def _by_serial(serials: _Serials, machine: str, instance: str) -> Edit:
    def edit(event: Event) -> Event:
        event.session_id = instance
        match = _SERIAL.search(event.text)
        techniques = serials.get((machine, match[1])) if match else None
        if techniques is not None:
            event.label, event.techniques = "attack", list(techniques) or None
        return event

    return edit


def multi_source(copy: Copy) -> Layout:
    """The multi-source set: system, network and browser logs a session, techniques in a column of each event.

    Its files could not be seen: columns are found by name, the kind of a session and its name by its folders.
    """

    def open(leaf: Leaf, path: str) -> Treatment:
        folders = [part.lower() for part in PurePosixPath(path).parts[:-1]]
        benign = any(re.search(r"benign|(?<!ab)normal", part) for part in folders)
        named = [part for part in PurePosixPath(path).parts[:-1] if re.search(r"session|\d", part, re.IGNORECASE)]
        return Treatment(_carried("normal" if benign else None, "/".join(named) or None))

    return Layout(skipping(r"(?:^|/)(?:metadata|labels)\.(?:csv|json)$", "metadata of the data set"), open)


def _carried(otherwise: str | None, session: str | None) -> Edit:
    """Labels that events carry in columns of their own; `otherwise` is the label of those that carry none."""

    def edit(event: Event) -> Event:
        found = take(event, _LABELLED)
        techniques = techniques_in(list(found.values()))
        event.techniques, event.session_id = techniques, session
        event.label = _label(found) or ("attack" if techniques else otherwise)
        return event

    return edit


def _label(found: dict[str, Any]) -> str | None:
    for name in ("label", "labels", "is_malicious", "malicious"):
        label = label_of(found.get(name))
        if label is not None and not techniques_in(label):
            return _FLAGS.get(label.lower(), label)
    return None
