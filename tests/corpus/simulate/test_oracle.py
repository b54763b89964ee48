"""The benchmark's oracle: what it takes for evidence, by which sources, and what it finds."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import TypeAdapter

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import load_scenarios, simulate_sessions
from logfm.corpus.simulate.templates import AnyEvent

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SYSTEM, NETWORK = frozenset({"windows", "linux"}), frozenset({"network", "dns", "web", "mail", "cloud"})
EVENTS = {
    "process": {"image": "a.exe", "command": "a.exe", "name": "tool"},
    "network": {"by": "tool", "to": "{domain}", "port": 8443},
    "browse": {"url": "https://{domain}/a", "title": "A"},
    "logon": {"host": "{server}", "type": 3, "source": "{host}"},
    "auth": {"program": "sshd", "message": "Accepted password for root from {visitor} port {port} ssh2"},
    "traffic": {"to": "{domain}", "protocol": "icmp", "port": 0},
}


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(BENCHMARKS))
    names = ("simulate_shortcuts", "simulate_oracle", "simulate_evidence", "simulate_footprints")
    yield {name.partition("_")[2]: importlib.import_module(name) for name in names}
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def sessions(modules: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> list:
    """A session with an attack, and one without."""
    out = tmp_path_factory.mktemp("oracle") / "made"
    config = SessionsConfig(seed=11, sessions=2, attacks=1, minutes=6, events=400, hosts=6, scenarios=("extension",))
    simulate_sessions(config, out, workers=1)
    return sorted(modules["shortcuts"].read_sessions(out), key=lambda lines: not any(one.step for one in lines))


def _lines(session: tuple, sources: frozenset[str]) -> list[tuple[int, float, str, str, str]]:
    return [(number, one.time, one.source, one.host, one.text) for number, one in enumerate(session)
            if one.source in sources]  # fmt: skip


@pytest.mark.parametrize(
    ("sources", "kinds"),
    [
        (SYSTEM | NETWORK | {"browser"}, ["win1", "win3", "tab", "win4624", "auth", "begun"]),
        (SYSTEM, ["win1", "win3", "win3", "win4624", "auth", None]),
        (NETWORK, [None, "begun", "begun", "begun", "begun", "begun"]),
        (frozenset({"browser"}), [None, None, "tab", None, None, None]),
    ],
)
def test_an_event_is_looked_for_where_a_source_at_hand_shows_it(
    modules: dict[str, ModuleType], sources: frozenset[str], kinds: list[str | None]
) -> None:
    evidence = modules["evidence"].Evidence(sources=sources)
    events = [TypeAdapter(AnyEvent).validate_python({"event": kind} | given) for kind, given in EVENTS.items()]
    shows = [modules["footprints"].anchor(evidence, event) for event in events]
    assert [one and one[0] for one in shows] == kinds


def test_records_become_evidence_that_joins(modules: dict[str, ModuleType], sessions: list) -> None:
    found = modules["evidence"].gather(_lines(sessions[0], SYSTEM | NETWORK), SYSTEM | NETWORK)
    assert len(found.seen) == sum(one.source in SYSTEM | NETWORK for one in sessions[0])
    assert found.kinds["begun"] and all(one.fields["first"] for one in found.kinds["begun"])
    known = 0
    for one in found.kinds["win3"]:
        flow = found.keys["flow", one.fields["SourceIp"], one.fields["SourcePort"]]
        known += modules["footprints"].bytes_of(flow) is not None
        assert any(near.kind == "packet" for near in flow)
    assert known > 0.8 * len(found.kinds["win3"])


def test_some_steps_are_found_by_all_sources_and_by_no_kind_alone(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    scenarios = ("ransomware", "cloud_theft")
    config = SessionsConfig(seed=11, sessions=4, attacks=4, minutes=20, events=1800, scenarios=scenarios)
    simulate_sessions(config, tmp_path / "made", workers=1)
    made = dict(enumerate(modules["shortcuts"].read_sessions(tmp_path / "made")))
    shares = {}
    for view, sources in modules["shortcuts"].VIEWS.items():
        steps = {key: modules["shortcuts"]._steps(session, sources) for key, session in made.items()}
        shares[view] = modules["shortcuts"]._found(made, steps, sources)
    everything = shares.pop("all three")
    # Which ones depends on what the draws put beside them; those of accounts used from elsewhere are the usual ones.
    found = {name for name, share in everything.items() if share >= 0.5 > max(one[name] for one in shares.values())}
    assert len(found) >= 3 and found & {"ransomware.read_admin_mail", "ransomware.make_key_of_admin",
                                        "ransomware.delete_copies_in_cloud"}  # fmt: skip


def test_the_oracle_finds_an_attack_and_no_other(modules: dict[str, ModuleType], sessions: list) -> None:
    scenarios = load_scenarios(["extension"], wide=True)
    sources = SYSTEM | NETWORK | {"browser"}
    told = modules["oracle"].identify(_lines(sessions[0], sources), sorted(sources), scenarios)
    real = {number: (one.step, one.techniques) for number, one in enumerate(sessions[0]) if one.step}
    said = {number: (f"{one.scenario}.{one.step}", frozenset(one.techniques)) for number, one in told.items()}
    right = said.items() & real.items()
    assert len(right) > 0.7 * len(real) and len(right) > 0.7 * len(told)
    assert len(modules["oracle"].identify(_lines(sessions[1], sources), sorted(sources), scenarios)) < 0.2 * len(real)
