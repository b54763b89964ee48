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
from logfm.corpus.simulate.world import make_world

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


def _addresses(row: dict[str, Any], text: str) -> list[str]:
    """What stands where a record holds addresses."""
    file = row["file"].rsplit("/", 1)[1]
    if file == "firewall.log":
        return re.findall(r"(?:SRC|DST)=(\S*)", text)
    if file == "packets.json":
        return list(json.loads(text)["layers"]["ip"].values())
    if file == "dns.log":
        one = json.loads(text)
        answers = one.get("answers") or [] if one["qtype_name"] == "A" else []
        return [one["id.orig_h"], one["id.resp_h"], *answers]
    if file == "events.json":
        one = json.loads(text)
        found = [one[name] for name in ("SourceIp", "DestinationIp", "SourceAddress", "DestAddress") if name in one]
        found += [one["IpAddress"]] if one.get("IpAddress", "-") != "-" else []
        return found + re.findall(r"[^;]+", one.get("QueryResults", ""))
    if file == "mail.log":
        return re.findall(r"[a-z]\[([^\]/]*)\](?::25)?[,\s]", text.split(": ", 1)[1] + " ")
    return []


def test_addresses_are_addresses(found: list[tuple[dict[str, Any], str]]) -> None:
    checked = 0
    for row, text in found:
        for address in _addresses(row, text):
            ipaddress.ip_address(address)
            checked += 1
    assert checked > 10_000


def test_a_name_has_one_address(found: list[tuple[dict[str, Any], str]]) -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for row, text in found:
        if row["file"].endswith("dns.log"):
            one = json.loads(text)
            if one["qtype_name"] == "A" and one.get("answers"):
                asked[one["query"]] |= set(one["answers"])
    assert any("sharepoint" in name for name in asked)
    assert all(len(addresses) == 1 for addresses in asked.values())


def test_cloud_calls_of_both_classes_have_the_same_people_places_and_tools(
    found: list[tuple[dict[str, Any], str]],
) -> None:
    seen: dict[str, list[tuple[str, str, str]]] = {"attack": [], "benign": []}
    for row, text in found:
        if row["file"].endswith("cloudtrail.json"):
            one = json.loads(text)
            tool = re.sub(r"\d+", "0", one["userAgent"])
            seen[row["label"]].append((one["userIdentity"]["userName"], one["sourceIPAddress"], tool))
    assert seen["attack"]
    people, places, tools = ({one[at] for one in seen["benign"]} for at in range(3))
    assert {one[0] for one in seen["attack"]} <= people
    assert {one[2] for one in seen["attack"]} <= tools and len(tools) >= 3
    # From outside too, in many sessions.
    assert len(places) > 3


def test_mail_within_the_company_does_not_leave_it(found: list[tuple[dict[str, Any], str]]) -> None:
    labels = set()
    for row, text in found:
        if row["file"].endswith("mail.log") and (to := re.search(r": to=<[^>]*@([^>]+)>, relay=(\S+?)\[", text)):
            ours = to[1] == f"{make_world(13, 6).company}.example"
            assert ours == ("/lmtp[" in text) == (to[2] == "mail01")
            labels |= {row["label"]} if ours else set()
    assert labels == {"attack", "benign"}


def test_the_firewall_drops_what_knocks(found: list[tuple[dict[str, Any], str]]) -> None:
    lines = [text for row, text in found if row["file"].endswith("firewall.log")]
    assert any("FW-DROP IN=eth0" in text and "DPT=23 " in text for text in lines)
    assert any("FW-ACCEPT" in text for text in lines)
