"""Views: the same event written differently."""

import json
import re
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.schema.contrast import ContrastConfig
from logfm.pretrain.contrast.values import pools, renamed, swapped
from logfm.pretrain.contrast.views import Line, Material, said, view

SSH = "Jan  5 10:11:12 web1 sshd[412]: Failed password for root from 203.0.113.9 port 51234 ssh2"
SYSMON = json.dumps({
    "EventID": 1, "UtcTime": "2026-01-05 10:11:12.345", "Image": "C:\\Users\\alice\\AppData\\tool.exe",
    "ProcessGuid": "{365abb72-4b9b-5f5a-9a5a-000000000500}", "Hashes": "SHA1=" + "ab" * 20, "ProcessId": "7412",
})  # fmt: skip
IPTABLES = "kernel: IN=eth0 OUT= SRC=10.0.0.7 DST=192.168.1.1 LEN=60 TTL=64 PROTO=TCP SPT=443 DPT=51234"
NEVER = ContrastConfig(swap=0, drop=0, reorder=0, shift_days=0)


def draw(line, config=None, seed=0, others=()):
    lines = [line, *others]
    return view(line, Material.of(lines), config or ContrastConfig(), np.random.default_rng(seed))


def test_values_are_found_by_type():
    found = pools([SSH, SYSMON, IPTABLES])
    assert found["ipv4"] == ["203.0.113.9", "10.0.0.7", "192.168.1.1"]
    assert found["guid"] == ["365abb72-4b9b-5f5a-9a5a-000000000500"]
    assert found["person"] == ["alice"] and found["hex"] == ["ab" * 20]
    # Event ids, ports and codes are short, and carry the meaning.
    assert found["number"] == ["51234"]


def test_a_swap_stays_within_the_type_and_is_consistent():
    text = "from 10.0.0.1 to 10.0.0.2, again 10.0.0.1, job 99999"
    drawn = {"ipv4": ["172.16.0.1"], "number": ["12345"]}
    found = swapped(text, drawn, 1.0, timedelta(0), np.random.default_rng(0))
    assert found == "from 172.16.0.1 to 172.16.0.1, again 172.16.0.1, job 12345"
    many = pools([f"10.1.0.{n}" for n in range(200)])
    found = swapped(text, many, 1.0, timedelta(0), np.random.default_rng(0))
    first, _, again = re.findall(r"[\d.]{7,}", found)[:3]
    assert first == again


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-05T10:11:12.345Z up", "2026-01-06T11:11:12.345Z up"),
        ("2026-01-05 10:11:12,345 up", "2026-01-06 11:11:12,345 up"),
        ("Jan  5 10:11:12 up", "Jan  6 11:11:12 up"),
        ("[05/Jan/2026:10:11:12 +0000] up", "[06/Jan/2026:11:11:12 +0000] up"),
        ('{"ts": 1767607872.5}', '{"ts": 1767697872.5}'),
        ('{"ts": 1767607872000}', '{"ts": 1767697872000}'),
        ("9999-12-31 23:59:59 up", "9999-12-31 23:59:59 up"),
        ("2026-99-99 10:11:12 up", "2026-99-99 10:11:12 up"),
    ],
)
def test_times_move_in_their_own_layout(text, expected):
    assert swapped(text, {}, 1.0, timedelta(hours=25), np.random.default_rng(0)) == expected


def test_names_are_replaced_whole():
    assert renamed("root on rooted, user=root", {"root": "eve"}) == "eve on rooted, user=eve"
    assert renamed("a b", {"a": "x"}) == "a b"


def test_json_keeps_its_values_and_half_of_its_fields():
    config = ContrastConfig(swap=0, shift_days=0, drop=0.9, reorder=1)
    for seed in range(20):
        found = json.loads(draw(Line(SYSMON), config, seed))
        whole = json.loads(SYSMON)
        assert len(found) >= len(whole) / 2
        assert all(whole[key] == value for key, value in found.items())
    orders = {tuple(json.loads(draw(Line(SYSMON), config, seed))) for seed in range(20)}
    assert len(orders) > 5


def test_pairs_lose_fields_and_the_rest_stays():
    config = ContrastConfig(swap=0, shift_days=0, drop=0.5, reorder=0)
    found = {draw(Line(IPTABLES), config, seed) for seed in range(20)}
    assert len(found) > 5
    for one in found:
        assert one.startswith("kernel: ") and set(one.split()) <= set(IPTABLES.split())


def test_a_header_goes_where_there_are_no_fields():
    config = ContrastConfig(swap=0, shift_days=0, drop=0.99)
    assert draw(Line(SSH), config) == SSH.split(": ", 1)[1]


def test_without_any_chance_a_view_is_the_event():
    for text in (SSH, IPTABLES, "", "plain"):
        assert draw(Line(text, "root", "web1"), NEVER) == text
    assert json.loads(draw(Line(SYSMON), NEVER)) == json.loads(SYSMON)


def test_users_and_hosts_come_from_the_batch():
    config = ContrastConfig(swap=1, drop=0, shift_days=0)
    others = [Line("x", "mallory", "db7")]
    found = {draw(Line(SSH, "root", "web1"), config, seed, others) for seed in range(30)}
    assert any("mallory" in one and "db7" in one and "root" not in one for one in found)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=300), st.integers(0, 5))
def test_any_text_has_a_view(text, seed):
    found = draw(Line(text, text[:5] or None, text[-5:] or None), seed=seed)
    assert isinstance(found, str) and bool(found) == bool(text)


@pytest.mark.parametrize(
    ("record", "words", "rest"),
    [
        ({"EventID": 4624, "Message": "A user logged on.\r\nSubject:\tx y"}, "A user logged on", {"EventID": 4624}),
        (
            {"alert": {"signature": "ET SCAN Nmap", "gid": 1}, "port": 22},
            "ET SCAN Nmap",
            {"alert": {"gid": 1}, "port": 22},
        ),
        ({"title": "x", "a": {"b": {"c": {"message": "too deep here"}}}}, None, None),
        ({"message": "one two"}, None, None),
        ({"message": 5, "port": 1}, None, None),
    ],
)
def test_plain_words_are_taken_out_of_a_record(record, words, rest):
    found = said(json.dumps(record))
    assert found == (None if words is None else (words, json.dumps(rest, separators=(",", ":"))))


@pytest.mark.parametrize("text", ["", "{", "[1]", "plain message: two words", '{"a"'])
def test_what_is_no_record_says_nothing_apart(text):
    assert said(text) is None
