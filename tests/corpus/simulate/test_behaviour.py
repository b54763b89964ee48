import re
from pathlib import Path

import pytest

from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate import load_scenarios, simulate
from logfm.corpus.simulate.templates import load_routines
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
  - - {event: process, image: 'C:\\{tool}.exe', command: '{tool} {user}'}
- name: second
  technique: [T1071.004]
  tactic: command-and-control
  variants:
  - - {event: dns, query: '{domain}'}
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
        ("name: small", "name: [", "cannot read the scenario"),
    ],
)
def test_a_typo_in_a_scenario_is_refused(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO.replace(right, wrong))
    with pytest.raises(UserError, match=re.escape(message)):
        load_scenarios(folder=tmp_path)


def test_a_scenario_of_ones_own_loads(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    assert [one.name for one in load_scenarios(["small"], tmp_path)] == ["small"]
