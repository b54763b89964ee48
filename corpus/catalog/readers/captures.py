"""Captures of one attack each: OTRF Security-Datasets, EVTX-ATTACK-SAMPLES, Splunk attack_data.

A label holds for the whole capture, background included, so the label is the capture and not "attack".
"""

import re
from pathlib import PurePosixPath
from typing import Any

import yaml

from logfm.corpus.catalog.copies import Copy
from logfm.corpus.catalog.layouts import TECHNIQUE, Edit, Layout, Treatment, skipping, techniques_in
from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.errors import UserError

_TABLES = r"(?:^|/)(?:labels|evtx_data)\.csv$|\.ya?ml$"
_TACTICS = frozenset(
    ("reconnaissance", "resource_development", "initial_access", "execution", "persistence", "privilege_escalation",
     "defense_evasion", "credential_access", "discovery", "lateral_movement", "collection", "command_and_control",
     "exfiltration", "impact")
)  # fmt: skip
_Capture = tuple[str, list[str] | None]


def _as(label: str | None, techniques: list[str] | None, session: str | None) -> Edit:
    def edit(event: Event) -> Event:
        event.label, event.session_id = label, session
        event.techniques = None if techniques is None else list(techniques)
        return event

    return edit


def otrf(copy: Copy) -> Layout:
    """OTRF: `metadata/*.yaml` names archives and their techniques. Archives without metadata have no label."""
    held: list[dict[str, _Capture]] = []

    def open(leaf: Leaf, path: str) -> Treatment:
        if not held:
            held.append(_otrf_captures(copy))
        for part in reversed(PurePosixPath(path).parts):
            if part in held[0]:
                identity, techniques = held[0][part]
                return Treatment(_as(identity, techniques, identity))
        return Treatment()

    return Layout(skipping(_TABLES, "metadata of the data set"), open)


def _otrf_captures(copy: Copy) -> dict[str, _Capture]:
    """Archive name -> identity and techniques. An archive that several entries name keeps all their techniques."""
    captures: dict[str, _Capture] = {}
    for path in copy.find(r"\.ya?ml$"):
        document = _yaml(copy, path)
        found = [_technique(one) for one in _listed(document.get("attack_mappings")) if isinstance(one, dict)]
        for file in _listed(document.get("files")):
            name = PurePosixPath(_word(file.get("link"))).name if isinstance(file, dict) else ""
            if name:
                identity, before = captures.get(name, (_word(document.get("id")) or PurePosixPath(path).stem, None))
                techniques = dict.fromkeys([*(before or []), *(one for one in found if one)])
                captures[name] = identity, list(techniques) or None
    return captures


def _technique(mapping: dict[str, Any]) -> str | None:
    technique, sub = _word(mapping.get("technique")), _word(mapping.get("sub-technique"))
    name = f"{technique}.{sub.zfill(3)}" if sub else technique
    # A placeholder that the origin uses.
    return name if TECHNIQUE.fullmatch(name) and not name.startswith("T0000") else None


def evtx_samples(copy: Copy) -> Layout:
    """EVTX-ATTACK-SAMPLES: the folder is the tactic, technique ids stand in some file names."""

    def open(leaf: Leaf, path: str) -> Treatment:
        folders = [part.lower().replace(" ", "_").replace("-", "_") for part in PurePosixPath(path).parts[:-1]]
        tactic = next((part for part in reversed(folders) if part in _TACTICS), "attack")
        return Treatment(_as(tactic, techniques_in(_spaced(path).upper()), path))

    return Layout(skipping(_TABLES, "labels of the data set"), open)


def _spaced(path: str) -> str:
    """A path whose words are apart: ids in names follow an underscore."""
    return re.sub(r"[_/ ]", " ", path)


def attack_data(copy: Copy) -> Layout:
    """Splunk attack_data: `attack_techniques/TECHNIQUE/NAME/` holds logs and a YAML file that describes them."""
    described: dict[str, list[str]] = {}  # folder -> YAML files
    held: dict[str, list[str]] = {}  # folder -> techniques

    def open(leaf: Leaf, path: str) -> Treatment:
        if not described:
            described[""] = []
            for found in copy.find(r"\.ya?ml$"):
                described.setdefault(str(PurePosixPath(found).parent), []).append(found)
        parts = PurePosixPath(path).parts
        folder = str(PurePosixPath(path).parent)
        if folder not in held:
            held[folder] = _techniques(copy, described.get(folder, []))
        named = [one for part in parts[:-1] for one in TECHNIQUE.findall(_spaced(part))]
        techniques = list(dict.fromkeys([*(named or TECHNIQUE.findall(_spaced(path))), *held[folder]])) or None
        begin = next((place for place, part in enumerate(parts) if TECHNIQUE.fullmatch(part)), 0)
        scenario = "/".join(parts[begin:-1]) or parts[0].split(".tar")[0].split(".zip")[0]
        return Treatment(_as(scenario, techniques, scenario))

    return Layout(skipping(_TABLES, "metadata of the data set"), open)


def _techniques(copy: Copy, paths: list[str]) -> list[str]:
    """The techniques that YAML files name."""
    named = (_listed(_yaml(copy, path).get("mitre_technique")) for path in paths)
    return [one for values in named for value in values for one in TECHNIQUE.findall(_word(value))]


def _yaml(copy: Copy, path: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(copy.text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError("not YAML", path, " ".join(str(error).split())[:200]) from None
    return document if isinstance(document, dict) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _word(value: Any) -> str:
    """A plain value as text. Nested ones are passed over: aliases can make them grow without end."""
    return str(value).strip() if isinstance(value, str | int | float) else ""
