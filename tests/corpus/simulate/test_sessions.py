import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from typer.testing import CliRunner

from logfm.cli import app
from logfm.configs.base import parse, read_yaml, recipes
from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus import Corpus, build
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate import load_scenarios, running, simulate_sessions
from logfm.corpus.simulate.planning import is_held, plan, usual
from logfm.corpus.simulate.scheduling import busy
from logfm.corpus.simulate.sessions_run import source_of
from logfm.corpus.simulate.sources_of import check_record, record_specs
from logfm.corpus.simulate.templates import HERE, load_routines
from logfm.corpus.simulate.world import make_world
from logfm.errors import UserError

SMALL = {"seed": 4, "sessions": 13, "attacks": 11, "minutes": 10, "events": 900, "hosts": 6, "days": 7}
SOURCES = {
    "browser/web.json": "activitywatch",
    "browser/window.json": "activitywatch",
    "cloud/cloudtrail.json": "cloudtrail",
    "cloud/m365.json": "o365",
    "cloud/signins.json": "entra",
    "dns/dns.log": "zeek",
    "linux/audit.log": "auditd",
    "linux/auth.log": "linux",
    "mail/mail.log": "mail",
    "network/firewall.log": "iptables",
    "network/packets.json": "tshark",
    "network/vpn.log": "network",
    "web/access.log": "web",
    "windows/events.json": "windows",
}
ATTACK = yaml.safe_load((HERE / "attack.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each scenario once."""
    out = tmp_path_factory.mktemp("sessions") / "made"
    simulate_sessions(SessionsConfig(**SMALL), out, workers=1)
    return out


@pytest.fixture(scope="module")
def truth(made: Path) -> list[dict]:
    return pq.read_table(made / "truth.parquet").to_pylist()


@pytest.fixture(scope="module")
def sessions(made: Path) -> list[dict]:
    return pq.read_table(made / "sessions.parquet").to_pylist()


@pytest.fixture(scope="module")
def events(made: Path) -> list[Event]:
    found = list(read_events([made / "logs"]))
    assert all(isinstance(one, Event) for one in found)
    return found


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_the_readers_know_every_source_and_the_truth_has_every_event(events: list[Event], truth: list[dict]) -> None:
    rows = {row["event_id"]: row for row in truth}
    assert len(rows) == len(truth) == len(events)
    assert {event.event_id for event in events} == rows.keys()
    assert {(source_of(rows[one.event_id]["file"]), one.source) for one in events} == set(SOURCES.items())
    assert all(one.timestamp is not None and one.host for one in events)
    assert all(one.offset == rows[one.event_id]["offset"] for one in events)
    assert not any(one.label or one.techniques for one in events)


def test_events_lie_within_their_sessions_and_in_order(
    events: list[Event], truth: list[dict], sessions: list[dict]
) -> None:
    spans = {row["session"]: (row["start"], row["end"]) for row in sessions}
    times = {one.event_id: one.timestamp for one in events}
    last: dict[str, object] = {}
    for row in truth:
        start, end = spans[row["session"]]
        time = times[row["event_id"]]
        # Text formats show whole seconds.
        assert start.replace(microsecond=0) <= time < end
        if row["file"].startswith("windows/"):
            assert last.get(row["file"], time) <= time
            last[row["file"]] = time
    assert Counter(row["session"] for row in truth) == {row["session"]: row["events"] for row in sessions}


def test_a_corpus_of_the_logs_joins_with_the_truth(made: Path, truth: list[dict], tmp_path: Path) -> None:
    build([str(made / "logs")], tmp_path / "corpus", workers=1)
    corpus = Corpus.open(tmp_path / "corpus")
    assert corpus.rejects().num_rows == 0
    events = pa.Table.from_batches(list(corpus.batches(["event_id", "text", "techniques"])))
    joined = events.drop_columns(["techniques"]).join(
        pq.read_table(made / "truth.parquet").drop_columns(["techniques"]), "event_id", join_type="inner"
    )
    assert joined.num_rows == events.num_rows == len(truth)
    rows = joined.filter(pc.equal(joined["label"], "attack")).to_pylist()
    assert len(rows) == sum(row["label"] == "attack" for row in truth) > 100
    assert all(
        "lsass" in row["text"] for row in rows if row["step"] == "dump_memory" and '"EventID":10,' in row["text"]
    )


def test_the_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    config = SessionsConfig(**SMALL | {"sessions": 3, "attacks": 1, "events": 200})
    first = simulate_sessions(config, tmp_path / "a", workers=1)
    second = simulate_sessions(config, tmp_path / "b", workers=2)
    assert first.hash == second.hash
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    other = simulate_sessions(config.model_copy(update={"seed": 5}), tmp_path / "c", workers=1)
    assert other.hash != first.hash


def test_every_scenario_leaves_its_steps_in_several_sources(truth: list[dict], sessions: list[dict]) -> None:
    assert {row["scenario"] for row in sessions} == {None, *(one.name for one in load_scenarios(wide=True))}
    for scenario in {row["scenario"] for row in truth} - {None}:
        rows = [row for row in truth if row["scenario"] == scenario]
        assert len({row["step"] for row in rows}) >= 5
        assert len({source_of(row["file"]) for row in rows}) >= 3
    for row in truth:
        attack = row["label"] == "attack"
        assert attack == bool(row["techniques"]) == bool(row["tactic"]) == bool(row["step"])


def test_an_attack_takes_the_place_of_other_events(sessions: list[dict]) -> None:
    sizes = {label: [row["events"] for row in sessions if row["label"] == label] for label in ("attack", "benign")}
    assert min(sizes["attack"]) >= 450 and max(sizes["attack"]) <= 1800
    assert len(sizes["attack"]) == 11


def test_no_host_user_or_address_occurs_in_attacks_only(tmp_path: Path) -> None:
    config = SessionsConfig(seed=1, sessions=60, attacks=11, minutes=10, events=1000, hosts=4)
    simulate_sessions(config, tmp_path / "a", workers=1)
    rows = {row["event_id"]: row["label"] for row in pq.read_table(tmp_path / "a/truth.parquet").to_pylist()}
    world = make_world(1, 4)
    names = {*world.users, *world.hosts}
    seen: dict[str, set[str]] = {"attack": set(), "benign": set()}
    for event in read_events([tmp_path / "a/logs"]):
        assert isinstance(event, Event)
        found = seen[rows[event.event_id]]
        text = re.sub(r"FileVersion\W+[\d.]+", "", event.text)
        found |= {name for name in names if name in text}
        found |= set(re.findall(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", text))
    assert len(seen["attack"]) > 20
    assert any(re.fullmatch(r"10\.\d+\.9\.\d+", name) for name in seen["attack"])
    assert seen["attack"] <= seen["benign"]


def test_held_out_techniques_and_their_users_are_only_in_the_test_split(tmp_path: Path) -> None:
    settings = SMALL | {"sessions": 12, "attacks": 12, "events": 200, "test_share": 0.5}
    config = SessionsConfig(**settings, holdout_techniques=("T1071.001", "T1003"), scenarios=("phishing_rat",))
    with pytest.raises(UserError, match=r"no scenario has the technique: T1003\. Known: T1005, "):
        simulate_sessions(config, tmp_path / "x")
    config = SessionsConfig(**settings, holdout_techniques=("T1059.009",), scenarios=("phishing_rat",))
    with pytest.raises(UserError, match=r"no scenario has the technique: T1059\.009\. Known: T1059\.001\.$"):
        simulate_sessions(config, tmp_path / "x")
    config = SessionsConfig(**settings, holdout_techniques=("T1041", "T1087"), scenarios=("phishing_rat",))
    simulate_sessions(config, tmp_path / "a", workers=1)
    rows = pq.read_table(tmp_path / "a/sessions.parquet").to_pylist()
    found = {
        split: {name for row in rows if row["split"] == split for name in row["techniques"]}
        for split in ("train", "test")
    }
    assert {"T1041", "T1087.002"} <= found["test"]
    assert not {"T1041", "T1087.002"} & found["train"]
    users = {split: {row["user"] for row in rows if row["split"] == split} for split in found}
    assert users["train"] and users["test"] and not users["train"] & users["test"]


def test_what_is_held_out_occurs_in_the_test_split_however_few_attacks_there_are(tmp_path: Path) -> None:
    settings = SMALL | {"sessions": 12, "attacks": 4, "events": 300}
    for number, held in enumerate((("T1486",), ("T1566.002",), ("T1059", "T1003.006"))):
        simulate_sessions(SessionsConfig(**settings, holdout_techniques=held), tmp_path / str(number), workers=1)
        rows = pq.read_table(tmp_path / str(number) / "sessions.parquet").to_pylist()
        for split, there in (("test", True), ("train", False)):
            found = {name for row in rows if row["split"] == split for name in row["techniques"]}
            for technique in held:
                assert any(is_held(name, (technique,)) for name in found) == there, (split, technique)
        assert sum(row["label"] == "attack" for row in rows) == 4
    many = SessionsConfig(**settings, holdout_techniques=("T1486", "T1176.001", "T1572", "T1052.001"))
    with pytest.raises(UserError, match="too few attacks in the split test for all held-out techniques: 2 of"):
        simulate_sessions(many, tmp_path / "x")


def test_an_attack_session_is_never_benign_because_of_what_is_held_out() -> None:
    world = make_world(0, 6)
    config = SessionsConfig(sessions=40, attacks=30, test_share=0.5, holdout_techniques=("T1189", "T1110"))
    found = plan(config, world, load_scenarios(wide=True))
    taken = {split: {one.scenario for one in found if one.split == split} - {None} for split in ("train", "test")}
    assert not {"tunnel", "ssh_brute_force"} & taken["train"] and {"tunnel", "ssh_brute_force"} <= taken["test"]
    assert sum(one.scenario is not None for one in found) == 30
    with pytest.raises(UserError, match="every scenario begins with a held-out technique: tunnel"):
        plan(config, world, load_scenarios(["tunnel"], wide=True))


def test_attacks_that_need_somebody_at_work_lie_in_hours_of_work() -> None:
    scenarios = load_scenarios(wide=True)
    working = {one.name for one in scenarios if one.clock == "work"}
    assert {"insider", "spy", "cloud_theft"} <= working and "ssh_brute_force" not in working
    config, world = SessionsConfig(sessions=1500, attacks=700), make_world(0, 6)
    found = plan(config, world, scenarios)
    mean: dict[bool, float] = {}
    for kind in (True, False):
        hours = [busy("work", one.start) for one in found if one.scenario and (one.scenario in working) == kind]
        mean[kind] = sum(hours) / len(hours)
        alike = [busy("work", one.start) for one in found if not one.scenario and (one.like in working) == kind]
        # A session with room for an attack is at its hour, too.
        assert sum(alike) / len(alike) == pytest.approx(mean[kind], abs=0.05)
    assert mean[True] > mean[False] + 0.2
    # Which sessions are attacked has nothing to do with their hours.
    attacked = [busy("work", one.start) for one in found if one.scenario]
    assert sum(attacked) / len(attacked) == pytest.approx(usual("work"), abs=0.05)


def test_counts_do_not_tell_short_sessions_with_attacks(tmp_path: Path) -> None:
    config = SessionsConfig(seed=3, sessions=120, attacks=60, minutes=2, events=200, hosts=6)
    simulate_sessions(config, tmp_path / "a", workers=1)
    rows = pq.read_table(tmp_path / "a/sessions.parquet").to_pylist()
    truth = pq.read_table(tmp_path / "a/truth.parquet", columns=["session", "file"]).to_pylist()
    kinds = Counter((one["session"], Path(one["file"]).name.split("_")[0]) for one in truth)
    names = sorted({kind for _, kind in kinds})
    table = [[kinds[one["session"], kind] for kind in names] for one in rows]
    labels = [one["label"] == "attack" for one in rows]
    forest = RandomForestClassifier(200, min_samples_leaf=3, random_state=0)
    guesses = cross_val_predict(forest, table, labels, cv=5, method="predict_proba")[:, 1]
    # 0.8 and more where an attack just takes the place of other sources' events.
    assert roc_auc_score(labels, guesses) < 0.68
    pairs = [(one["events"], other["events"]) for one in rows for other in rows
             if one["label"] == "attack" and other["label"] == "benign"]  # fmt: skip
    assert 0.35 < sum((one > other) + 0.5 * (one == other) for one, other in pairs) / len(pairs) < 0.65


@pytest.mark.parametrize(
    ("document", "attacks", "events"),
    [
        ({}, 70, 2640),
        ({"sessions": 10}, 1, 2640),
        ({"sessions": 100, "minutes": 1}, 8, 132),
        ({"sessions": 4000, "minutes": 4.5}, 70, 594),
        ({"sessions": 10, "attacks": 0, "events": 300}, 0, 300),
        ({"sessions": 10, "prevalence": 0.5, "minutes": 60}, 5, 7920),
    ],
)
def test_what_is_not_said_follows_from_what_is(document: dict, attacks: int, events: int) -> None:
    config = parse(SessionsConfig, document, "options")
    assert (config.attack_sessions, config.session_events) == (attacks, events)


def test_other_code_is_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SessionsConfig(sessions=1, attacks=0, events=200, minutes=2, hosts=4)
    simulate_sessions(config, tmp_path / "a", workers=1)
    simulate_sessions(config, tmp_path / "a", workers=1)
    for file in HERE.glob("*.py"):
        (tmp_path / "changed").mkdir(exist_ok=True)
        (tmp_path / "changed" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "changed" / "tempo.py").write_text("# Another tempo.\n")
    monkeypatch.setattr(running, "HERE", tmp_path / "changed")
    with pytest.raises(UserError, match="its input `code` was another one"):
        simulate_sessions(config, tmp_path / "a", workers=1)


@pytest.mark.parametrize("name", ["simulate/paper870", "simulate/foundation", "simulate/defense"])
def test_recipes_hold(name: str) -> None:
    config = parse(SessionsConfig, read_yaml(recipes()[name]), name)
    expected = {"simulate/paper870": 70 / 870, "simulate/foundation": 0.02, "simulate/defense": 0.35}[name]
    assert config.attack_sessions / config.sessions == pytest.approx(expected, abs=0.001)


def test_sessions_are_spread_like_logatlas(tmp_path: Path) -> None:
    config = SessionsConfig(sessions=4000, prevalence=0.35, minutes=4.5, spread=0.6)
    found = plan(config, make_world(0, 40), load_scenarios(wide=True))
    lengths = sorted((one.end - one.start) / 1e6 for one in found)
    assert lengths[2000] == pytest.approx(270, rel=0.05)
    hours = Counter(one.start // 3_600_000_000 % 24 for one in found)
    assert sum(hours[hour] for hour in range(8, 18)) > 0.6 * len(found)
    assert hours[22] > 1.5 * max(hours[21], hours[23], hours[20])
    weekend = [(one.start // 86_400_000_000 + 3) % 7 >= 5 for one in found]
    assert sum(weekend) / len(found) == pytest.approx(0.348, abs=0.03)
    assert sum(one.scenario is not None for one in found) == 1400


def test_techniques_are_those_of_the_pinned_release() -> None:
    tactics = set()
    used = set()
    for scenario in load_scenarios(wide=True):
        for step in scenario.steps:
            used |= set(step.technique)
            tactics.add(step.tactic)
            assert any(step.tactic in ATTACK[name]["tactics"] for name in step.technique), (scenario.name, step.name)
    assert used == ATTACK.keys()
    assert len(used) >= 53 and len(tactics) >= 12


def test_the_pinned_list_is_attack(shared_data: Path) -> None:
    with gzip.open(shared_data / "threat_text/attack_kb/techniques.jsonl.gz", "rt", encoding="utf-8") as file:
        known = {row["id"]: row for row in map(json.loads, file)}
    for name, pinned in ATTACK.items():
        assert known[name]["status"] == "live"
        assert pinned == {"name": known[name]["name"], "tactics": known[name]["tactics"]}


def test_what_ships_is_valid() -> None:
    wide = load_routines(HERE / "routines" / "wide")
    assert {one.source for one in wide} == {"network", "browser", "mail", "cloud", "vpn"}
    assert any(one.since for one in wide)
    # Those of a single span stay as they are.
    assert len(load_scenarios()) == 4
    assert len(record_specs()) >= 12


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("mail.lost", {}, "no source has a record mail.lost"),
        ("vpn.left", {"who": "x"}, "vpn.left needs from"),
        ("vpn.left", {"who": "x", "from": "y", "to": "z"}, "vpn.left takes no to"),
    ],
)
def test_a_wrong_record_is_refused(name: str, data: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_record(name, data)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"sessions": 0}, "sessions"),
        ({"sessions": 5, "attacks": 6}, "6 attacks need at least 6 sessions"),
        ({"prevalence": 1.5}, "prevalence"),
        ({"minutes": 0}, "minutes"),
        ({"seed": 10**20}, "seed"),
        ({"attacks": 0, "holdout_techniques": ["T1041"]}, "holdout_techniques need attacks"),
        ({"test_share": 0, "holdout_techniques": ["T1041"]}, "holdout_techniques need attacks"),
        ({"events": 3}, "events"),
        ({"sesions": 3}, "did you mean sessions"),
    ],
)
def test_impossible_settings_are_refused(document: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(SessionsConfig, document, "options")


def test_the_command(tmp_path: Path) -> None:
    options = ["--sessions", "2", "--attack", "1", "--minutes", "5", "--events", "250", "--workers", "1", "--json"]
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "a"), *options])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["sessions"] == 2 and document["attack_sessions"] == 1
    assert document["events"] == pq.read_metadata(tmp_path / "a/truth.parquet").num_rows
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "b"), "--minutes", "5"])
    assert isinstance(result.exception, UserError) and "only for sessions: minutes" in str(result.exception)
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "b"), *options, "--prevalence", "0.5"])
    assert isinstance(result.exception, UserError) and "say the same thing twice" in str(result.exception)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/file").write_text("mine")
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "c"), *options])
    assert isinstance(result.exception, UserError)
    assert (tmp_path / "c/file").read_text() == "mine"
