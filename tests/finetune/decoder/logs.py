"""Small labelled data sets: captures with a table, rule tests, sentences, simulated sessions, an ATT&CK release."""

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from logfm.artifacts import produce
from logfm.configs.schema.cases import CasesConfig
from logfm.corpus.events import Event, event_id

START = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SYSMON = "Microsoft-Windows-Sysmon/Operational"


def windows(number: int, seconds: int, host: str = "WS5.lab.example", **data: Any) -> dict[str, Any]:
    """A flat Sysmon event."""
    time = (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    head = {"@timestamp": time, "EventID": number, "Channel": SYSMON, "Hostname": host}
    return head | {"SourceName": "Microsoft-Windows-Sysmon", **data}


def event(record: dict[str, Any], name: str = "e", **columns: Any) -> Event:
    given = {"source": "windows", "host": "WS5.lab.example", "user": "LAB\\ada", "timestamp": START}
    return Event(event_id=name, text=json.dumps(record), file="f", offset=0, **given | columns)


def write_lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def release(folder: Path) -> Path:
    """An ATT&CK release of four techniques, one of them revoked twice over, one deprecated."""
    folder.mkdir()
    live = [
        ("T1003", "OS Credential Dumping", ["credential-access"], "live"),
        ("T1003.001", "LSASS Memory", ["credential-access"], "live"),
        ("T1059", "Command and Scripting Interpreter", ["execution"], "live"),
        ("T1562", "Impair Defenses", ["defense-evasion"], "live"),
        ("T1999", "Old", ["impact"], "deprecated"),
    ]
    rows = [dict(zip(("id", "name", "tactics", "status"), row, strict=True)) for row in live]
    with gzip.open(folder / "techniques.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    with gzip.open(folder / "revoked_by.jsonl.gz", "wt") as stream:
        for old, new in (("T1086", "T1087"), ("T1087", "T1059"), ("G0001", "G0002")):
            stream.write(json.dumps({"old": old, "new": new, "kind": "attack-pattern"}) + "\n")
    return folder


def captures(folder: Path, count: int = 6) -> dict[str, Any]:
    """Captures of 20 events, one of which runs procdump; a source of them."""
    rows = []
    for number in range(count):
        events = [windows(5, place, Image=f"C:\\Windows\\System32\\calm{number}.exe") for place in range(20)]
        tool = f"procdump64 -ma lsass.exe out{'xyz'[number % 3]}.dmp"
        events[9] = windows(1, 9, Image="C:\\Tools\\procdump64.exe", CommandLine=tool, User="LAB\\ada")
        write_lines(folder / "data" / f"capture{number}.json", events)
        technique = ("T1003.001", "T1059", "T1086")[number % 3]
        rows.append({"file": f"capture{number}.json", "techniques": technique, "title": f"Title {number % 3}"})
    labels = write_csv(folder / "labels.csv", rows)
    return {"kind": "captures", "name": "lab", "input": str(folder / "data"), "labels": str(labels)}


def rule_tests(folder: Path, rules: int = 10) -> dict[str, Any]:
    """Alerts and near misses of some rules; a source of them."""
    rows = []
    for number in range(rules):
        for alert in (True, False):
            log = {"action": f"do{'abc'[number % 3]}", "allowed": alert, "actor": {"email": "ada@lab.example"}}
            rows.append(
                {
                    "kind": "rule",
                    "rule_id": f"Rule.{number}",
                    "severity": ("High", "Info")[number % 2],
                    "mitre": [("TA0006:T1003", "TA0002:T1059", "TA0005:T1562")[number % 3]],
                    "expected_alert": alert,
                    "log_type": "Product.Audit",
                    "log": log | {"rule_id": f"Rule.{number}"},
                }
            )
    rows.append({"kind": "policy", "rule_id": "Policy", "log": {"a": 1}, "expected_alert": True})
    path = write_lines(folder / "tests.jsonl", rows)
    return {
        "kind": "rows",
        "name": "tests",
        "input": str(path),
        "text": "log",
        "where": {"kind": ["rule"]},
        "techniques": "mitre",
        "severity": "severity",
        "alert": "expected_alert",
        "product": "log_type",
        "group": "rule_id",
        "drop": ["rule_id"],
    }


def sessions(folder: Path, count: int = 6) -> dict[str, Any]:
    """What the simulator writes: two sources a session, half of the sessions with an attack; a source of them."""
    truth, summary = [], []
    with produce(folder, stage="simulate", config={}, inputs={}) as work:
        for number in range(count):
            name = f"{number:05d}"
            for kind, begin in (("windows", 0), ("other", 1)):
                path = work.path / "logs" / kind / name / "events.json"
                records = [windows(5, begin + 2 * one, Image=f"C:\\{kind}{number}.exe") for one in range(10)]
                write_lines(path, records)
                offset = 0
                for place, line in enumerate(path.read_bytes().splitlines(keepends=True)):
                    attack = number % 2 == 1 and place == 3 and kind == "windows"
                    file = f"{kind}/{name}/events.json"
                    techniques = ["T1003.001"] if attack else []
                    row = {"event_id": event_id(file, offset), "session": name, "file": file, "offset": offset}
                    row |= {"label": "attack" if attack else "benign", "techniques": techniques}
                    truth.append(row | {"tactic": None, "scenario": None, "step": "dump_it" if attack else None})
                    offset += len(line)
            attack = f"attack{number // 2 % 2}" if number % 2 else None
            summary.append({"session": name, "split": "test" if number >= count - 2 else "train", "scenario": attack})
        pq.write_table(pa.Table.from_pylist(truth), work.path / "truth.parquet")
        pq.write_table(pa.Table.from_pylist(summary), work.path / "sessions.parquet")
    return {"kind": "simulated", "name": "simulated", "input": str(folder)}


def config(task: str, *sources: dict[str, Any], **more: Any) -> CasesConfig:
    return CasesConfig.model_validate({"task": task, "sources": list(sources), **more})
