import json
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from logfm.artifacts import read_manifest
from logfm.configs.base import parse
from logfm.configs.schema.corpus import CorpusConfig, SetsConfig
from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus import Corpus, build
from logfm.corpus.labels import is_attack
from logfm.corpus.sessions.sets import make_sets
from logfm.corpus.simulate import simulate
from logfm.errors import UserError

START = datetime(2025, 3, 7, 23, 50, tzinfo=UTC)


def line(seconds: float | None, host="h1", user="u1", process="p1", **more) -> str:
    record = {"host": host, "user": user, "process": process, **more}
    if seconds is not None:
        record["timestamp"] = (START + timedelta(seconds=seconds)).isoformat()
    return json.dumps({name: value for name, value in record.items() if value is not None})


def built(tmp_path, lines, **settings) -> Corpus:
    (tmp_path / "a.json").write_text("\n".join(lines) + "\n")
    build([tmp_path / "a.json"], tmp_path / "corpus", CorpusConfig(sessions=300, **settings))
    return Corpus.open(tmp_path / "corpus")


def session_ids(corpus: Corpus) -> list[str | None]:
    return [one for batch in corpus.batches(["session_id"]) for one in batch["session_id"].to_pylist()]


def test_a_pause_of_five_minutes_ends_a_session_and_a_shorter_one_does_not(tmp_path):
    first, second, third, fourth = session_ids(built(tmp_path, [line(at, n=at) for at in (0, 299.9, 599.9, 900)]))
    assert first == second
    assert second != third
    assert third != fourth


def test_host_process_and_user_tell_sessions_apart_whatever_the_order_of_the_lines(tmp_path):
    lines = [line(10), line(0), line(5, host="h2"), line(6, user="u2"), line(7, process="p2"), line(8, user=None),
             line(9, user=None, n=1)]  # fmt: skip
    ids = session_ids(built(tmp_path, lines))
    assert ids[0] == ids[1]
    assert ids[5] == ids[6]
    assert len(set(ids)) == 5


def test_an_event_without_a_time_is_in_no_session(tmp_path):
    corpus = built(tmp_path, [line(0), line(None), line(1)])
    ids = session_ids(corpus)
    assert ids[1] is None and ids[0] == ids[2]
    assert corpus.sessions()["events"].to_pylist() == [2]


def test_the_table_says_what_a_session_is(tmp_path):
    lines = [line(0), line(240, n=2), line(10, host="h2", process="sshd"), line(480, n=3)]
    rows = built(tmp_path, lines).sessions().to_pylist()
    assert [row["hosts"] for row in rows] == [["h1"], ["h2"]]
    first = rows[0]
    assert first["duration_seconds"] == 480
    assert (first["start"], first["end"]) == (START, START + timedelta(seconds=480))
    assert (first["hour"], first["is_weekend"]) == (23, False)
    assert first["parsing_stats"] == {
        "events": 3, "timestamped": 3, "structured": 3, "text_bytes": sum(map(len, (lines[0], lines[1], lines[3]))),
    }  # fmt: skip
    assert first["is_attack"] is None
    assert rows[1]["processes"] == ["sshd"]


def test_parts_of_the_key_space_give_the_same_sessions(tmp_path, monkeypatch):
    lines = [line(at * 7, host=f"h{at % 13}", n=at) for at in range(400)]
    whole = built(tmp_path, lines)
    monkeypatch.setattr("logfm.corpus.sessions.grouping._PARTITION", 30)
    build([tmp_path / "a.json"], tmp_path / "parts", CorpusConfig(sessions=300))
    assert Corpus.open(tmp_path / "parts").sessions() == whole.sessions()
    assert session_ids(Corpus.open(tmp_path / "parts")) == session_ids(whole)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Corpus:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(SimulateConfig(events=12_000, attacks=12, hosts=12, seed=3), folder / "sim")
    config = CorpusConfig(sessions=300, licences=("CC0-1.0",))
    build([folder / "sim/logs"], folder / "corpus", config, labels=folder / "sim/truth.parquet")
    return Corpus.open(folder / "corpus")


def test_labels_reach_events_and_sessions(simulated):
    truth = pq.read_table(simulated.path.parent / "sim/truth.parquet").to_pylist()
    wanted = {row["event_id"]: row["scenario"] or row["label"] for row in truth}
    events = [row for batch in simulated.batches() for row in batch.to_pylist()]
    assert {row["event_id"]: row["label"] for row in events} == wanted
    techniques = {row["event_id"]: row["techniques"] for row in truth}
    assert all(row["techniques"] == techniques[row["event_id"]] for row in events)
    attacked = {row["session_id"] for row in events if is_attack(row["label"])}
    assert {row["session_id"] for row in simulated.sessions().to_pylist() if row["is_attack"]} == attacked


@pytest.mark.parametrize("by", ["time", "host", "scenario"])
def test_splits_share_nothing_and_hold_the_prevalence(simulated, tmp_path, by):
    manifest = make_sets(simulated.path, tmp_path / by, SetsConfig(kind="defense", split=by, prevalence=0.35))
    assert manifest.licences == ["CC0-1.0"]
    parts = {name: Corpus.open(tmp_path / by / name) for name in ("train", "validation", "test")}
    keys = defaultdict(set)
    spans = {}
    for name, part in parts.items():
        rows = part.sessions().to_pylist()
        share = sum(row["is_attack"] for row in rows) / len(rows)
        assert abs(share - 0.35) <= 0.5 / len(rows) + 0.02
        assert set(session_ids(part)) == {row["session_id"] for row in rows}
        assert part.rows == sum(row["events"] for row in rows) == part.manifest.metrics["events"]
        spans[name] = (min(row["start"] for row in rows), max(row["end"] for row in rows))
        for row in rows:
            keys[name, "session"].add(row["session_id"])
            keys[name, "host"].update(row["hosts"])
            keys[name, "scenario"].update(label for label in row["labels"] if is_attack(label))
    for first, second in (("train", "validation"), ("validation", "test"), ("train", "test")):
        assert not keys[first, "session"] & keys[second, "session"]
        if by != "time":
            assert not keys[first, by] & keys[second, by]
        else:
            assert spans[first][1] < spans[second][0]


def test_a_foundation_set_keeps_every_session_but_those_across_a_border(simulated, tmp_path):
    metrics = make_sets(simulated.path, tmp_path / "sets", SetsConfig(kind="foundation")).metrics
    total = len(simulated.sessions())
    assert sum(one["sessions"] for one in metrics["splits"].values()) + metrics["left_out"] == total
    assert metrics["not_drawn"] == 0


def test_sets_are_drawn_from_the_seed(simulated, tmp_path):
    first, again, other = (
        make_sets(simulated.path, tmp_path / name, SetsConfig(kind="defense", seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    sessions = [pq.read_table(tmp_path / name / "train/sessions.parquet") for name in ("first", "again", "other")]
    assert sessions[0] == sessions[1] != sessions[2]
    assert first.key == again.key != other.key
    assert first.hash == again.hash != other.hash
    files = [
        {name: file for name, file in one.outputs.items() if not name.endswith("manifest.json")}
        for one in (first, again)
    ]
    assert len(files[0]) >= 9
    assert files[0] == files[1]
    parts = [read_manifest(tmp_path / name / "test") for name in ("first", "again", "other")]
    assert parts[0].hash == parts[1].hash != parts[2].hash
    assert parts[0].key == parts[1].key


def test_a_host_is_the_same_in_capitals(tmp_path):
    lines = [line(at * 400, host=f"{'PC' if at % 2 else 'pc'}{at // 10}", n=at) for at in range(60)]
    make_sets(built(tmp_path, lines).path, tmp_path / "sets", SetsConfig(split="host"))
    hosts = [
        {host.lower() for row in Corpus.open(tmp_path / "sets" / name).sessions().to_pylist() for host in row["hosts"]}
        for name in ("train", "validation", "test")
    ]
    assert sorted(one for some in hosts for one in some) == [f"pc{number}" for number in range(6)]


def test_equal_builds_give_equal_sets(simulated, tmp_path):
    logs = simulated.path.parent / "sim"
    for name, workers in (("one", 1), ("two", 2)):
        config = CorpusConfig(sessions=300)
        build([logs / "logs"], tmp_path / name, config, workers=workers, labels=logs / "truth.parquet")
    one, two = (make_sets(tmp_path / name, tmp_path / f"{name}-sets", SetsConfig()) for name in ("one", "two"))
    assert (one.key, one.hash) == (two.key, two.hash)


def test_what_cannot_be_split_is_refused_in_one_line(tmp_path):
    corpus = built(tmp_path, [line(at * 400, n=at) for at in range(20)])
    with pytest.raises(UserError, match="no attack session"):
        make_sets(corpus.path, tmp_path / "sets", SetsConfig(kind="defense"))
    with pytest.raises(UserError, match="too few groups to split by host"):
        make_sets(corpus.path, tmp_path / "sets", SetsConfig(split="host"))
    build([tmp_path / "a.json"], tmp_path / "plain")
    with pytest.raises(UserError, match="no sessions"):
        make_sets(tmp_path / "plain", tmp_path / "sets", SetsConfig())
    with pytest.raises(UserError, match="sum to 1"):
        parse(SetsConfig, {"shares": [0.5, 0.5, 0.5]}, "options")
    assert not (tmp_path / "sets").exists()


def test_labels_come_from_a_csv_by_file_and_offset(tmp_path):
    lines = [line(0), line(1)]
    (tmp_path / "a.json").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels.csv").write_text(
        f"file,offset,label,techniques\na.json,{len(lines[0]) + 1},attack,T1059 T1003\n"
    )
    build([tmp_path / "a.json"], tmp_path / "corpus", labels=tmp_path / "labels.csv")
    batch = next(Corpus.open(tmp_path / "corpus").batches())
    assert batch["label"].to_pylist() == [None, "attack"]
    assert batch["techniques"].to_pylist() == [None, ["T1059", "T1003"]]
    assert read_manifest(tmp_path / "corpus").metrics["labelled"] == 1
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column event_id"):
        build([tmp_path / "a.json"], tmp_path / "other", labels=tmp_path / "bad.csv")
    (tmp_path / "no.csv").mkdir()
    with pytest.raises(UserError, match="not a table of labels"):
        build([tmp_path / "a.json"], tmp_path / "other", labels=tmp_path / "no.csv")


def test_the_command_line_makes_sessions_and_sets(simulated, tmp_path):
    from logfm.corpus.cli import app

    def run(*arguments):
        return CliRunner().invoke(app, [str(one) for one in arguments])

    logs = simulated.path.parent / "sim"
    out = tmp_path / "corpus"
    result = run("build", logs / "logs", "--sessions", "5m", "--labels", logs / "truth.parquet", "--out", out, "--json")
    assert json.loads(result.stdout)["sessions"] == len(simulated.sessions())
    result = run("sets", out, "--defense", "--prevalence", "0.2", "--out", tmp_path / "sets", "--json")
    assert abs(json.loads(result.stdout)["splits"]["train"]["attack_session_share"] - 0.2) < 0.02
    assert isinstance(run("sets", out, "--out", tmp_path / "x").exception, UserError)
    assert isinstance(run("build", logs / "logs", "--sessions", "5 days", "--out", tmp_path / "x").exception, UserError)
