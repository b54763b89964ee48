import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate import load_scenarios, simulate
from logfm.corpus.simulate.templates import Routine, Scenario, load_routines
from logfm.corpus.simulate.world import make_world
from logfm.errors import UserError

SCENARIO = """
name: small
title: Two steps.
values: {tool: [a, b]}
steps:
- name: first
  technique: [T1033]
  tactic: discovery
  variants:
  - - {event: process, image: 'C:\\{tool}.exe', command: '{tool} {user}', name: tool}
- name: second
  technique: [T1071.004]
  tactic: command-and-control
  needs: [first]
  variants:
  - - {event: network, by: tool, to: '{domain}'}
    - {event: dns, query: '{domain}'}
"""


def _tokens(line: str) -> set[str]:
    return {token.rstrip(".-") for token in re.findall(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", line)}


def test_no_host_user_address_or_domain_occurs_in_attacks_only(lines: list[tuple[dict, str]]) -> None:
    world = make_world(3, 12)
    names = {*world.users, *world.hosts, *world.domains, *world.visitors, *world.addresses.values()}
    names |= {host.address for host in world.hosts.values()} | {user.sid for user in world.users.values()}
    names |= {name for name in world.addresses if name.endswith(world.realm)}
    seen: dict[str, set[str]] = {"attack": set(), "benign": set()}
    for row, line in lines:
        seen[row["label"]] |= names & _tokens(line)
    assert len(seen["attack"]) > 20
    assert seen["attack"] <= seen["benign"]


@pytest.mark.parametrize(
    "pattern",
    [
        r"powershell\.exe .*-(enc|ec|EncodedCommand) [A-Za-z0-9+/=]{40}",
        r"Failed password for",
        r'"EventID":4625,',
        r"COMMAND=/usr/bin/",
        r"net (user|group|view) ",
        r"(POST|GET) /upload",
        r"\t[0-9a-f]{32}\.h\.",
        r'"TargetImage":"[^"]*lsass\.exe"',
    ],
)
def test_both_classes_hold_what_looks_like_an_attack(pattern: str, many_lines: list[tuple[dict, str]]) -> None:
    assert {row["label"] for row, line in many_lines if re.search(pattern, line)} == {"attack", "benign"}


def test_what_ships_is_valid_and_rich() -> None:
    scenarios = load_scenarios()
    assert len(scenarios) >= 3
    assert len({name for one in scenarios for step in one.steps for name in step.technique}) >= 25
    routines = load_routines()
    assert {one.source for one in routines} == {"windows", "linux", "web", "dns"}
    assert len({one.name for one in routines}) == len(routines)


def test_every_variant_can_be_played(tmp_path: Path) -> None:
    """Names of processes in one step are there whatever variants the steps before took."""
    for seed in range(6):
        metrics = simulate(SimulateConfig(seed=seed, events=4000, attacks=20, hosts=4), tmp_path / str(seed)).metrics
        assert len(metrics["attacks"]) == 20


def test_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown scenario: nothing\. Known: credential_theft"):
        simulate(SimulateConfig(scenarios=("nothing",)), tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("tactic: discovery", "tactics: discovery", "tactics: Extra inputs"),
        ("technique: [T1033]", "technique: [1033a]", "technique"),
        ("query:", "qery:", "qery: Extra inputs"),
        ("event: dns", "event: dsn", "dsn"),
        ("{user}", "{usr}", "unknown placeholder {usr}"),
        ("needs: [first]", "needs: [third]", "second needs third, which is no earlier step"),
        ("  needs: [first]\n", "", "second: process tool may not have been started"),
        ("name: tool}", "name: tool, chance: 0.5}", "second: process tool may not have been started"),
        ("by: tool", "host: '{server}', by: tool", "second: process tool runs on {host}, not on {server}"),
        ("name: second", "name: first", "two steps are called first"),
        ("name: small", "name: [", "cannot read the scenario"),
        ("name: tool}", "name: tool, technique: [T1046]}", "first has no technique T1046"),
    ],
)
def test_a_typo_in_a_scenario_is_refused(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO.replace(right, wrong))
    with pytest.raises(UserError, match=re.escape(message)):
        load_scenarios(folder=tmp_path)


def test_each_technique_of_a_step_is_shown_by_an_event(tmp_path: Path) -> None:
    text = SCENARIO.replace("technique: [T1033]", "technique: [T1033, T1082]")
    (tmp_path / "small.yaml").write_text(text)
    assert load_scenarios(folder=tmp_path)
    for name in ("T1033", "T1082"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "small.yaml").write_text(text.replace("name: tool}", f"name: tool, technique: [{name}]}}"))
        with pytest.raises(UserError, match=f"no event of first shows {'T1082' if name == 'T1033' else 'T1033'}"):
            load_scenarios(folder=tmp_path / name)


def test_a_routine_shows_no_technique() -> None:
    routine = load_routines()[0].model_dump()
    routine["variants"][0][0]["technique"] = ("T1033",)
    with pytest.raises(ValueError, match="a routine shows no technique"):
        Routine.model_validate(routine)


def test_an_event_has_the_techniques_that_it_shows(many_lines: list[tuple[dict, str]]) -> None:
    steps = {(one.name, step.name): step for one in load_scenarios() for step in one.steps}
    shown = set()
    for row, line in many_lines:
        if row["label"] == "attack":
            assert row["techniques"] and {*row["techniques"]} <= {*steps[row["scenario"], row["step"]].technique}
        if row["step"] == "look_around" and '"EventID":1,' in line and "systeminfo" in line:
            assert row["techniques"] == ["T1082"]
            shown.add("T1082")
        if row["step"] == "look_around" and '"EventID":1,' in line and "ipconfig" in line:
            assert row["techniques"] == ["T1016"]
            shown.add("T1016")
    assert shown == {"T1082", "T1016"}


def test_a_scenario_of_ones_own_loads(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    assert [one.name for one in load_scenarios(["small"], tmp_path)] == ["small"]


def test_a_step_takes_place_only_after_what_it_needs(many_lines: list[tuple[dict, str]]) -> None:
    for scenario in load_scenarios():
        steps = {row["step"] for row, _ in many_lines if row["scenario"] == scenario.name}
        assert len(steps) >= 4
        for step in scenario.steps:
            assert step.name not in steps or steps.issuperset(step.needs)
        always = {step.name for step in scenario.steps if step.chance == 1}
        assert {name for name in always if not _optional(scenario, name)} <= steps


def test_attacks_of_one_scenario_differ_in_their_steps(tmp_path: Path) -> None:
    found = set()
    for seed in range(6):
        simulate(SimulateConfig(seed=seed, events=400, scenarios=("credential_theft",)), tmp_path / str(seed))
        found.add(frozenset(pq.read_table(tmp_path / str(seed) / "truth.parquet")["step"].to_pylist()))
    assert len(found) > 1


def test_nothing_acts_after_its_end(many_lines: list[tuple[dict, str]]) -> None:
    ended: set[str] = set()
    children = 0
    for row, line in many_lines:
        if row["file"] == "windows/events.json":
            event = json.loads(line)
            names = ("ProcessGuid", "ParentProcessGuid", "SourceProcessGUID", "TargetProcessGUID")
            assert not ended & {event.get(name) for name in names}
            children += "ParentProcessGuid" in event
            if event["EventID"] == 5:
                ended.add(event["ProcessGuid"])
    assert children > 100 and len(ended) > 100


def _optional(scenario: Scenario, name: str) -> bool:
    """Whether a step, or one that it needs, may be left out."""
    step = next(step for step in scenario.steps if step.name == name)
    return step.chance < 1 or any(_optional(scenario, need) for need in step.needs)
