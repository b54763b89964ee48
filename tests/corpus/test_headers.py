import csv
import os
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logfm.configs.schema.evaluation import TemplateConfig
from logfm.corpus.headers import json_kind, message_of, message_start, split_header, strip_label, without_header
from logfm.evaluation.templates import template_labels

LOGHUB = Path(os.environ.get("LOGFM_DATA", Path(__file__).parents[3] / "shared" / "data")) / "loghub_2k"

LINES = [
    ("syslog", "<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed", "'su root' failed"),
    ("syslog", "Jun  9 06:06:20 combo syslogd 1.4.1: restart.", "restart."),
    ("syslog", "Jun 14 15:16:01 combo sshd(pam_unix)[19939]: check pass; user unknown", "check pass; user unknown"),
    ("syslog", "Jun 14 15:16:01 combo last message repeated 3 times", "last message repeated 3 times"),
    ("syslog", "2024-05-01T10:00:00.123456+02:00 web1 sshd[7]: Accepted publickey", "Accepted publickey"),
    (
        "syslog",
        '<165>1 2003-10-11T22:14:15.003Z host app - ID47 [x@1 a="q\\"]]" b="2"] An event',
        "An event",
    ),
    ("syslog", "<13>1 2003-10-11T22:14:15Z host app 12 - - \ufeffbooted", "booted"),
    ("apache", "[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init() ok", "workerEnv.init() ok"),
    (
        "apache",
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 43280] [client 1.2.3.4] File missing",
        "[client 1.2.3.4] File missing",
    ),
    ("log4j", "2015-10-18 18:01:47,978 INFO [main] org.apache.App: Created app_1", "Created app_1"),
    ("log4j", "2015-10-18 18:01:47,978 WARN [IPC [x]/1:2] org.apache.App: Slow: 3 s", "Slow: 3 s"),
    ("log4j", "2024-01-01 00:00:00.5 [pool-1] ERROR com.x.Main - it broke: badly", "it broke: badly"),
    ("log4j", "081109 203615 148 INFO dfs.DataNode$PacketResponder: done", "done"),
    ("log4j", "17/06/09 20:10:40 INFO executor.Backend: Registered", "Registered"),
    ("android", "03-17 16:13:38.811  1702  2395 D WindowManager: print: x", "print: x"),
    ("cbs", "2016-09-28 04:30:30, Info                  CBS    Loaded Stack", "Loaded Stack"),
    (
        "bgl",
        "- 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO cache parity error",
        "cache parity error",
    ),
    (
        "syslog",
        "- 1131566461 2005.11.09 dn228 Nov 9 12:01:01 dn228/dn228 crond(pam_unix)[2915]: session closed",
        "session closed",
    ),
    ("timestamped", "2024-05-01T10:00:00Z nothing more is known", "nothing more is known"),
    (
        "access",
        '1.2.3.4 - bob [10/Oct/2000:13:55:36 -0700] "GET /a?x=1 HTTP/1.0" 404 2326 "-" "curl"',
        '"GET /a?x=1 HTTP/1.0" 404',
    ),
    ("plain", "no header here: at all", "no header here: at all"),
]


@pytest.mark.parametrize(("form", "line", "message"), LINES)
def test_the_header_is_removed_and_the_message_kept(form: str, line: str, message: str) -> None:
    assert split_header(line) == (form, message)
    assert message_of(line) == message


def test_the_label_of_bgl_and_thunderbird_is_stripped_and_nothing_else_is() -> None:
    rest = "1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO cache parity error"
    assert strip_label(f"- {rest}") == rest
    assert strip_label(f"KERNDTLB {rest}") == rest
    assert strip_label(rest) == rest
    for _, line, _ in LINES:
        if not line.startswith("- 11"):
            assert strip_label(line) == line


def test_the_label_decides_neither_message_nor_template() -> None:
    rest = "1117838570 2005.06.03 R02 2005-06-03-15.42.50.675872 R02 RAS KERNEL INFO cache parity error"
    labels = template_labels([f"- {rest}", f"KERNDTLB {rest}", rest])
    assert len(set(labels)) == 1


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"EventID": 4624, "Channel": "Security", "x": 1}, "Security/4624"),
        ({"EventID": "4624", "SourceName": "Audit"}, "Audit/4624"),
        ({"Event": {"System": {"EventID": {"#text": 7, "#attributes": {}}, "Channel": "System"}}}, "System/7"),
        ({"winlog": {"channel": "Security", "event_id": 4688}, "message": "m"}, "Security/4688"),
        ({"eventSource": "s3.amazonaws.com", "eventName": "GetObject"}, "s3.amazonaws.com/GetObject"),
        ({"eventid": "cowrie.login.failed", "src_ip": "1.2.3.4"}, "cowrie.login.failed"),
        ({"b": 1, "a": {"c": 2}}, "a,b"),
        ({"EventID": None, "Channel": ""}, "Channel,EventID"),
        ({}, ""),
    ],
)
def test_json_events_are_named_by_their_kind(document: dict[str, object], kind: str) -> None:
    assert json_kind(orjson.dumps(document).decode()) == kind


@pytest.mark.parametrize("text", ["{broken", "{} trailing", "[1, 2]", '"text"', "{" * 5000, ""])
def test_what_is_no_json_object_is_no_json_event(text: str) -> None:
    assert json_kind(text) is None
    assert split_header(text)[0] == "plain"


def test_json_kinds_that_differ_by_a_number_are_different_templates() -> None:
    logon, failure = '{"EventID":4624,"Channel":"Security"}', '{"EventID":4625,"Channel":"Security"}'
    labels = template_labels([logon, failure, logon])
    assert labels[0] == labels[2] != labels[1]


def test_templates_ignore_headers_and_values_and_keep_meanings_apart() -> None:
    labels = template_labels(
        [
            "Jun 14 15:16:01 combo sshd[1]: Failed password for root from 1.2.3.4 port 22",
            "Jul  2 01:02:03 other sshd[777]: Failed password for root from 5.6.7.8 port 4711",
            "Jun 14 15:16:02 combo sshd[1]: Connection closed by 1.2.3.4",
        ]
    )
    assert labels[0] == labels[1] != labels[2]


def test_only_the_start_of_a_huge_message_and_its_first_line_are_looked_at() -> None:
    config = TemplateConfig(max_message=20)
    huge = "alpha beta gamma del" + "ta " * 300_000
    labels = template_labels([huge, "alpha beta gamma del", "alpha beta gamma del\n\tat com.x.Main"], config)
    assert len(set(labels)) == 1


@pytest.mark.parametrize(
    ("line", "before"),
    [
        *((line, line[: line.rindex(message)]) for _, line, message in LINES if message in line),
        ("Jan  5 10:00:02 x x: x", "Jan  5 10:00:02 x x: "),
        ('a "GET /" 200 [x] "GET /" 200 7 "-" "GET /" 200', 'a "GET /" 200 [x] '),
        ("  <13>1 2003-10-11T22:14:15Z host app 12 - -   booted  ", "  <13>1 2003-10-11T22:14:15Z host app 12 - -   "),
        ("  no header  ", "  "),
        ("Jan  5 10:00:02 web1 app:", ""),
        (' {"EventID": 1}', ""),
        (" ", ""),
    ],
)
def test_the_message_begins_behind_its_header(line: str, before: str) -> None:
    start, read = message_start(line), without_header(line)
    assert line[:start] == before
    assert line[start : start + len(read)] == read


@given(st.text())
def test_any_text_has_a_message_within_it_or_a_kind(text: str) -> None:
    form, message = split_header(text)
    assert form == "json" or message in text
    read, start = without_header(text), message_start(text)
    assert text[start : start + len(read)] == read
    assert len(template_labels([text])) == 1


@pytest.mark.parametrize(
    "line",
    [
        "<1>1 a b c d e " + '[x="' * 30_000,
        "[" * 50_000,
        "Jun 14 15:16:01 " + "a" * 100_000,
        "2024-01-01 00:00:00" + " " * 50_000 + "[",
    ],
)
def test_hostile_headers_end(line: str) -> None:
    assert message_of(line) in line


@pytest.mark.parametrize(
    ("system", "clusters", "gold_recall"),
    [("Linux", 111, 0.999), ("Android", 164, 0.86), ("BGL", 105, 0.999), ("Hadoop", 100, 0.999)],
)
def test_templates_agree_with_loghubs_gold_event_ids(system: str, clusters: int, gold_recall: float) -> None:
    folder = LOGHUB / system
    if not folder.is_dir():
        pytest.skip("needs the Loghub 2k samples (set LOGFM_DATA)")
    lines = (folder / f"{system}_2k.log").read_text("utf-8", "replace").splitlines()
    with (folder / f"{system}_2k.log_structured_corrected.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    labels, gold = template_labels(lines), [row["EventId"] for row in rows]
    wrong = [line for line, row in zip(lines, rows, strict=True) if message_of(line).split() != row["Content"].split()]
    assert wrong == []
    assert len(set(labels)) == clusters
    assert _pairs(zip(labels, gold, strict=True)) / _pairs(gold) >= gold_recall


def _pairs(keys: object) -> int:
    return sum(count * (count - 1) // 2 for count in Counter(keys).values())  # type: ignore[call-overload]
