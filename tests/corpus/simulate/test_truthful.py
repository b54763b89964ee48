"""What the records say: nothing of the truth, nothing that contradicts itself or that no product would write."""

import ipaddress
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate import simulate_sessions

SETTINGS = {"seed": 13, "sessions": 22, "attacks": 11, "minutes": 12, "events": 1100, "hosts": 6, "days": 14}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each scenario once, and as many sessions without one."""
    out = tmp_path_factory.mktemp("truthful") / "made"
    simulate_sessions(SessionsConfig(**SETTINGS), out, workers=1)
    return out


@pytest.fixture(scope="module")
def found(made: Path) -> list[tuple[dict[str, Any], str]]:
    """The rows of the truth with the texts of their events."""
    rows = {row["event_id"]: row for row in pq.read_table(made / "truth.parquet").to_pylist()}
    return [(rows[one.event_id], one.text) for one in read_events([made / "logs"]) if isinstance(one, Event)]


@pytest.fixture(scope="module")
def windows(found: list[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows and fields of the Windows events."""
    return [(row, json.loads(text)) for row, text in found if row["file"].startswith("windows/")]


def test_no_log_names_a_technique(found: list[tuple[dict[str, Any], str]]) -> None:
    assert not [text for _, text in found if re.search(r"\bT1\d{3}\b", text)]


def test_a_changed_time_of_creation_is_a_time_before_the_event(
    windows: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    changed = [one for _, one in windows if one["EventID"] == 2]
    assert changed
    for one in changed:
        assert one["CreationUtcTime"] < one["PreviousCreationUtcTime"] < one["UtcTime"]
        assert all(re.fullmatch(r"\d{4}-[01]\d-[0-3]\d [0-2]\d(:[0-5]\d){2}\.\d{3}", one[name])
                   for name in ("CreationUtcTime", "PreviousCreationUtcTime"))  # fmt: skip
        assert one["PreviousCreationUtcTime"][:7] == one["UtcTime"][:7]


def test_who_acts_by_sysmon_is_a_process_that_is_there(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    started: dict[tuple[str, str], str] = {}
    acted = 0
    for row, one in windows:
        if row["label"] == "attack" and one["EventID"] == 1:
            started[row["session"], one["ProcessGuid"]] = one["Image"]
        if row["label"] == "attack" and one["EventID"] in (2, 8, 24):
            guid = one.get("ProcessGuid") or one["SourceProcessGuid"]
            assert started[row["session"], guid] == (one.get("Image") or one["SourceImage"])
            acted += 1
    assert acted


def test_every_event_of_sysmon_has_its_time(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    sysmon = [one for _, one in windows if one["Channel"].startswith("Microsoft-Windows-Sysmon")]
    assert {2, 8, 9, 17, 18, 20} <= {one["EventID"] for one in sysmon}
    assert all(one["UtcTime"] and one["RuleName"] in ("-", "Usermode") for one in sysmon)
