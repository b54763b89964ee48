import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from logfm.cli import app
from logfm.configs.base import parse
from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus import Corpus, build
from logfm.corpus.simulate import simulate
from logfm.errors import UserError

SMALL = {"events": 600, "hours": 4, "hosts": 5}


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = simulate(SimulateConfig(**SMALL), tmp_path / "a")
    again = simulate(SimulateConfig(**SMALL), tmp_path / "b")
    other = simulate(SimulateConfig(**SMALL, seed=1), tmp_path / "c")
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")
    assert first.hash == again.hash != other.hash
    for name, content in _bytes(tmp_path / "a").items():
        assert content != _bytes(tmp_path / "c")[name]


def test_a_finished_run_is_reused_and_another_one_refused(tmp_path: Path) -> None:
    first = simulate(SimulateConfig(**SMALL), tmp_path / "a")
    assert simulate(SimulateConfig(**SMALL), tmp_path / "a") == first
    with pytest.raises(UserError, match="another simulate run"):
        simulate(SimulateConfig(**SMALL, seed=1), tmp_path / "a")


def test_a_corpus_of_the_logs_joins_with_the_truth(telemetry: Path, truth: list[dict], tmp_path: Path) -> None:
    build([str(telemetry / "logs")], tmp_path / "corpus", workers=1)
    corpus = Corpus.open(tmp_path / "corpus")
    columns = ["event_id", "file", "offset", "timestamp", "source", "label", "techniques"]
    events = [event for batch in corpus.batches(columns) for event in batch.to_pylist()]
    assert corpus.rejects().num_rows == 0
    assert {event["event_id"] for event in events} == {row["event_id"] for row in truth}
    assert len(events) == len(truth)
    offsets = {row["event_id"]: row["offset"] for row in truth}
    assert all(event["offset"] == offsets[event["event_id"]] for event in events)
    start = datetime(2025, 3, 3, tzinfo=UTC)
    assert all(event["timestamp"] and 0 <= (event["timestamp"] - start).total_seconds() <= 86400 for event in events)
    assert len({event["source"] for event in events}) == 4
    # The truth lies beside the logs, never inside.
    assert not any(event["label"] or event["techniques"] for event in events)


def test_the_offsets_lead_to_the_events(lines: list[tuple[dict, str]]) -> None:
    for row, line in lines:
        if row["file"] == "windows/events.json":
            event = json.loads(line)
            assert {"@timestamp", "EventID", "Channel", "Hostname"} <= event.keys()
        elif row["file"] == "dns/dns.log":
            assert line.count("\t") == 23 and line.startswith("17")
        elif row["file"] == "linux/auth.log":
            assert line.startswith("Mar ")
        else:
            assert '] "' in line
    assert any(row["step"] == "dump_memory" and "lsass" in line for row, line in lines)
    assert all("lsass" in line for row, line in lines if row["step"] == "dump_memory" and '"EventID":10,' in line)


def test_shares_sizes_and_labels(telemetry: Path, truth: list[dict], tmp_path: Path) -> None:
    metrics = simulate(SimulateConfig(events=6000), tmp_path / "a").metrics
    assert 5400 <= metrics["events"] <= 6600
    shares = {name: count / metrics["events"] for name, count in metrics["sources"].items()}
    expected = {"windows/events.json": 0.35, "linux/auth.log": 0.20, "web/access.log": 0.25, "dns/dns.log": 0.20}
    assert shares == pytest.approx(expected, abs=0.05)
    mean = (telemetry / "logs/windows/events.json").stat().st_size / sum("windows" in row["file"] for row in truth)
    assert 450 <= mean <= 900
    attacks = [row for row in truth if row["label"] == "attack"]
    assert all(row["techniques"] and row["tactic"] and row["scenario"] and row["step"] for row in attacks)
    benign = [row for row in truth if row["label"] == "benign"]
    assert len(benign) + len(attacks) == len(truth)
    assert not any(row["techniques"] or row["tactic"] or row["scenario"] or row["step"] for row in benign)
    assert len({name for row in attacks for name in row["techniques"]}) >= 25


def test_files_are_in_order_of_time(telemetry: Path) -> None:
    events = [json.loads(line) for line in (telemetry / "logs/windows/events.json").read_text().splitlines()]
    assert [event["@timestamp"] for event in events] == sorted(event["@timestamp"] for event in events)
    times = [
        line.split("\t")[0] for line in (telemetry / "logs/dns/dns.log").read_text().splitlines() if line[0] != "#"
    ]
    assert times == sorted(times)
    last: dict[tuple[str, str], int] = {}
    for event in events:
        place = (event["Hostname"], event["Channel"])
        assert event["RecordNumber"] == last.get(place, event["RecordNumber"] - 1) + 1
        last[place] = event["RecordNumber"]


def test_more_in_working_hours_than_at_night(tmp_path: Path) -> None:
    simulate(SimulateConfig(events=4000, attacks=0), tmp_path / "a")
    logs = (tmp_path / "a/logs/windows/events.json").read_text().splitlines()
    hours = [int(json.loads(line)["@timestamp"][11:13]) for line in logs]
    assert sum(9 <= hour < 12 for hour in hours) > 3 * sum(hour < 3 for hour in hours)
    assert set(pq.read_table(tmp_path / "a/truth.parquet")["label"].to_pylist()) == {"benign"}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"events": 10}, "events"),
        ({"events": 1000, "attacks": 6}, "6 attacks need at least 1200 events"),
        ({"events": 1000, "hosts": 100}, "100 hosts need at least 1500 events"),
        ({"attacks": -1}, "attacks"),
        ({"hosts": 1}, "hosts"),
        ({"hours": 0}, "hours"),
        ({"start": "2025-03-03T00:00:00"}, "start"),
        ({"scenarios": []}, "scenarios"),
        ({"evnts": 1000}, "did you mean events"),
    ],
)
def test_impossible_settings_are_refused(document: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(SimulateConfig, document, "options")


def test_the_command(tmp_path: Path) -> None:
    options = ["--events", "400", "--attack", "1", "--seed", "2", "--scenario", "web_shell", "--json"]
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "a"), *options])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["attacks"] == ["web_shell"]
    rows = pq.read_table(tmp_path / "a/truth.parquet").to_pylist()
    assert {row["scenario"] for row in rows} == {None, "web_shell"}
    assert document["attack_events"] == sum(row["label"] == "attack" for row in rows) > 20
