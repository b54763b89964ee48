"""What attacks say and how processes start: no ordinary word is an attack's alone, no process tree is absurd."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import load_scenarios, simulate_sessions
from logfm.corpus.simulate.session import HERE
from logfm.corpus.simulate.templates import Routine, Step, load_routines, tactic_of, texts_of

WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]{2,}")
TELLING = {
    "credential_theft": "comsvcs full minidump sam debug_",
    "phishing_rat": "compress-archive",
    "cloud_theft": "ismultiregiontrail",
    "domain_takeover": "all_trusts domain_trusts active directory dit full ifm",
    "insider": "",
    "ransomware": "crypt locked sqlservr recoveryenabled shadowcopy readme_",
    "spy": "decode _classes ms-settings get-clipboard bookmarks get-process mainwindowtitle",
    "tunnel": "client bash_history id_ed25519 hosts plink wstunnel dat socks",
}
"""Words that a technique, a tool or its output cannot do without."""


def _words(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in WORD.findall(re.sub(r"\{[a-z0-9_]+\}", " ", text))}


def _said(behaviour: Routine | Step) -> Iterator[str]:
    for variant in behaviour.variants:
        for event in variant:
            yield from texts_of(event.model_dump(exclude={"name", "technique", "pid"}))


def _choices(values: Any) -> Iterator[str]:
    for texts in values.values():
        yield from texts


def test_attacks_use_the_words_of_honest_people() -> None:
    honest: set[str] = set()
    for routine in [*load_routines(), *load_routines(HERE / "routines" / "wide")]:
        honest |= _words((*_said(routine), *_choices(routine.values), *routine.encoded.values()))
    for scenario in load_scenarios(wide=True):
        names = {event.name for step in scenario.steps for variant in step.variants for event in variant
                 if event.event == "process" and event.name}  # fmt: skip
        said = _words(text for step in scenario.steps for text in _said(step)) | _words(_choices(scenario.values))
        assert said - honest - names <= set(TELLING.get(scenario.name, "").split()), scenario.name


def test_every_event_of_an_attack_has_a_tactic_of_its_techniques() -> None:
    for scenario in load_scenarios(wide=True):
        for step in scenario.steps:
            own = {event.technique for variant in step.variants for event in variant if event.technique}
            for techniques in (step.technique, *own):
                tactic = tactic_of(techniques, step.tactic)
                assert any(tactic_of((name,), tactic) == tactic for name in techniques), (scenario.name, step.name)
            assert tactic_of(step.technique, step.tactic) == step.tactic, (scenario.name, step.name)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Starts of processes (Sysmon 1)."""
    out: Path = tmp_path_factory.mktemp("trees") / "out"
    simulate_sessions(SessionsConfig(sessions=8, attacks=4, events=1500, seed=17), out)
    found = []
    for path in sorted((out / "logs/windows").rglob("*.json")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["EventID"] == 1 and "Sysmon" in event["Channel"]:
                found.append(event)
    return found


def test_processes_are_started_by_what_starts_them(started: list[dict[str, Any]]) -> None:
    by_system = {"svchost.exe": {"services.exe"}, "wmiprvse.exe": {"svchost.exe"}, "taskhostw.exe": {"svchost.exe"}}
    assert len(started) > 100
    for event in started:
        image, parent = event["Image"].rsplit("\\", 1)[-1].lower(), event["ParentImage"].rsplit("\\", 1)[-1].lower()
        if event["Image"].lower().startswith("c:\\windows\\system32\\") and image in by_system:
            assert parent in by_system[image] and event["IntegrityLevel"] == "System", (image, parent)
        owner = re.match(r"C:\\Users\\([^\\]+)\\", event["Image"])
        if owner and owner[1] != "Public":
            assert event["User"].rsplit("\\", 1)[-1] == owner[1], event["Image"]


def test_installers_are_of_their_makers(started: list[dict[str, Any]]) -> None:
    setups = [event for event in started if "SoftwareDistribution" in event["Image"]]
    assert setups and all(event["Company"] != "Microsoft Corporation" for event in setups)
