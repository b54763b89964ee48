"""Sigma rules, written here, over events in the shapes that collectors give them."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import typer
import yaml
from typer.testing import CliRunner

pytest.importorskip("sigma.backends.sqlite", reason="needs the extra `rules`")
pytest.importorskip("duckdb")

from logfm.configs.schema.rules import RulesConfig
from logfm.corpus import Event
from logfm.corpus.rules import Counts, RuleSet, compile_rules, fired, load_rules, run_rules
from logfm.corpus.rules.cli import rules_command
from logfm.corpus.rules.documents import Document, read_documents
from logfm.corpus.shards import event_batch
from logfm.errors import UserError

SYSMON = "Microsoft-Windows-Sysmon/Operational"
PROCESS = {"product": "windows", "category": "process_creation"}


def rule(detection: Mapping[str, Any], logsource: Mapping[str, str] = PROCESS, **more: Any) -> dict[str, Any]:
    head = {"title": "a rule", "id": "00000000-0000-4000-8000-000000000001", "level": "high", "status": "test"}
    return {**head, "logsource": dict(logsource), "detection": dict(detection), **more}


def compiled(*contents: dict[str, Any]) -> RuleSet:
    documents = [
        Document(f"{number}.yml", {**content, "id": f"00000000-0000-4000-8000-{number:012d}"}, None)
        for number, content in enumerate(contents)
    ]
    return compile_rules(documents)


def evtx(channel: str, event_id: int, **data: Any) -> dict[str, Any]:
    system = {
        "Provider": {"#attributes": {"Name": "a provider"}},
        "EventID": event_id,
        "Channel": channel,
        "Computer": "pc1",
    }
    return {"Event": {"System": system, "EventData": data}}


def created(**data: Any) -> dict[str, Any]:
    return evtx(SYSMON, 1, **data)


def batch(*records: Any, source: str = "windows", **columns: Any) -> Any:
    return event_batch(
        [
            Event(
                str(number), one if isinstance(one, str) else orjson.dumps(one).decode(), source, "f", number, **columns
            )
            for number, one in enumerate(records)
        ]
    )


def hits(rules: RuleSet, *records: Any, config: RulesConfig | None = None, **columns: Any) -> list[tuple[str, str]]:
    """(Event number, file number of the rule), sorted."""
    found = [
        (event_id, rule_id.rsplit("-", 1)[1].lstrip("0") or "0")
        for part in fired([batch(*records, **columns)], rules, config)
        for event_id, rule_id in zip(part["event_id"].to_pylist(), part["rule_id"].to_pylist(), strict=True)
    ]
    return sorted(found)


def which(
    detection: Mapping[str, Any], *records: Any, logsource: Mapping[str, str] = PROCESS, **more: Any
) -> list[int]:
    """The numbers of the records on which a rule of this detection fires."""
    rules = compiled(rule(detection, logsource))
    assert rules.unsupported == []
    return [int(event_id) for event_id, _ in hits(rules, *records, **more)]


def one(item: Mapping[str, Any], *records: Any) -> list[int]:
    return which({"a": dict(item), "condition": "a"}, *records)


def test_text_is_compared_without_case_and_wildcards_stand_where_sigma_says():
    records = [created(Image=r"C:\Tools\Evil.EXE"), created(Image=r"C:\tools\evil.exe.bak"), created(Image="evil.exe")]
    assert one({"Image": r"c:\TOOLS\evil.exe"}, *records) == [0]
    assert one({"Image|endswith": r"\EVIL.exe"}, *records) == [0]
    assert one({"Image|startswith": "C:"}, *records) == [0, 1]
    assert one({"Image|contains": "vil"}, *records) == [0, 1, 2]
    assert one({"Image": r"C:\\*\e?il*"}, *records) == [0, 1]
    assert one({"Image": "evil.exe"}, *records) == [2]
    assert one({"Image": "*"}, *records, created(User="u")) == [0, 1, 2]


def test_signs_of_the_query_language_are_plain_text():
    records = [
        created(CommandLine="50%_off' OR 1=1 --"),
        created(CommandLine="50xx_off"),
        created(CommandLine="50%Xoff"),
    ]
    assert one({"CommandLine|contains": "50%_off"}, *records) == [0]
    assert one({"CommandLine": "50%_*' OR 1=1 --"}, *records) == [0]
    assert one({"CommandLine": "5?%_o*"}, *records) == [0]


def test_a_field_name_is_no_sql():
    assert one({'x" IS NULL OR 1=1 --': "v"}, created(Image="i"), created(**{'x" IS NULL OR 1=1 --': "V"})) == [1]


def test_contains_all_and_lists():
    records = [created(CommandLine="net user add"), created(CommandLine="add NET"), created(CommandLine="net")]
    assert one({"CommandLine|contains|all": ["net", "add"]}, *records) == [0, 1]
    assert one({"CommandLine|contains": ["user", "add net"]}, *records) == [0, 1]
    many = {"CommandLine|contains": [f"word{number}." for number in range(20)] + ["USER"]}
    assert one(many, *records, created(CommandLine="WORD7."), created(CommandLine="word7-")) == [0, 3]


def test_one_of_selections_not_and_or():
    detection = {
        "selection_a": {"Image|endswith": r"\a.exe"},
        "selection_b": {"Image|endswith": r"\b.exe", "CommandLine|contains": "-x"},
        "filter_main": {"ParentImage|endswith": r"\good.exe"},
        "condition": "1 of selection* and not 1 of filter_*",
    }
    records = [
        created(Image=r"c:\a.exe"),
        created(Image=r"c:\b.exe", CommandLine="b"),
        created(Image=r"c:\b.exe", CommandLine="b -X"),
        created(Image=r"c:\a.exe", ParentImage=r"c:\GOOD.exe"),
    ]
    assert which(detection, *records) == [0, 2]
    assert which({**detection, "condition": "all of selection_*"}, *records) == []
    assert which({**detection, "condition": "selection_a or (selection_b and filter_main)"}, *records) == [0, 3]


def test_a_filter_on_an_absent_field_does_not_hide_the_event():
    detection = {"a": {"Image": "i"}, "f": {"CommandLine|contains": ["x", "y"]}, "condition": "a and not f"}
    assert which(
        detection, created(Image="i"), created(Image="i", CommandLine="xx"), created(Image="i", CommandLine="")
    ) == [
        0,
        2,
    ]


def test_null_empty_exists_numbers_and_comparisons():
    records = [created(A=None, N=5, B=True), created(A="", N="12", B="false"), created(A="v", N="many")]
    assert one({"A": None}, *records) == [0]
    assert one({"A": ""}, *records) == [1]
    assert one({"A|exists": True}, *records) == [1, 2]
    assert one({"N": 5}, *records) == [0]
    assert one({"N|gt": 5}, *records) == [1]
    assert one({"N|lte": 12}, *records) == [0, 1]
    assert one({"B": True}, *records) == [0]


def test_regular_expressions_keep_case_unless_told_and_search_anywhere():
    records = [created(CommandLine="run AbC1 now"), created(CommandLine="abc1"), created(CommandLine="it's\nabc")]
    assert one({"CommandLine|re": r"A[a-z]C\d"}, *records) == [0]
    assert one({"CommandLine|re|i": r"a[a-z]c\d"}, *records) == [0, 1]
    assert one({"CommandLine|re": r"^it's.abc$"}, *records) == []
    assert one({"CommandLine|re|s": r"^it's.abc$"}, *records) == [2]
    assert one({"CommandLine|cased|contains": "AbC"}, *records) == [0]


def test_backtracking_is_no_danger_and_look_around_is_counted():
    evil = created(CommandLine="a" * 50_000 + "!")
    assert one({"CommandLine|re": r"^(a+)+$"}, evil) == []
    rules = compiled(rule({"a": {"CommandLine|re": r"(?=x)x"}, "condition": "a"}))
    assert rules.rules == []
    assert rules.reasons() == {"a regular expression that RE2 doesn't know": 1}


def test_wildcards_do_not_backtrack():
    evil = [created(CommandLine="a" * 60_000), created(CommandLine="a" * 60_000 + "\nB")]
    assert one({"CommandLine": "*" + "a*" * 12 + "b"}, *evil) == [1]
    assert one({"CommandLine": "a" + "*a" * 12 + "?b"}, *evil) == [1]


def test_a_query_that_the_database_refuses_is_counted_and_the_others_run():
    rules = compiled(*[rule({"a": {"Image": "i"}, "condition": "a"})] * 3)
    rules.queries[:] = [
        query._replace(sql="no_such_function(1)") if query.rule == 1 else query for query in rules.queries
    ]
    counts = Counts()
    (found,) = fired([batch(created(Image="i"))], rules, None, counts)
    assert [rule_id[-1] for rule_id in found["rule_id"].to_pylist()] == ["0", "2"]
    assert dict(counts.failed) == {rules.rules[1].rule_id: 1}


def test_hostile_rules_end_soon():
    contents = [
        rule({"a": {"Image": "i"}, "condition": "(" * 5000 + "a" + ")" * 5000}),
        rule({"a": {"Image": "i"}, "condition": "not " * 20_000 + "a"}),
        rule({"a": {"Image|cidr": "::/1"}, "condition": "a"}),
        rule({"a": {"Image|re": "((a{1,500}){1,500}){1,500}"}, "condition": "a"}),
        rule({"a": {"Image|re": "["}, "condition": "a"}),
        rule({"a": {"Image": "nul\0"}, "condition": "a"}),
        rule({"a": {"Image|no_such_modifier": "i"}, "condition": "a"}),
        rule({"a": {"Image|expand": "%place%"}, "condition": "a"}),
        rule({"a": {"Image": {"b": {"c": []}}}, "condition": "a"}),
        rule({"a": {"Image": "i"}, "condition": 5}),
        {"title": "t", "correlation": {"type": "event_count", "rules": ["a"], "group-by": ["b"], "timespan": "1h"}},
        {"title": {"a": 1}, "logsource": [1], "detection": "x", "tags": [1], "level": []},
    ]
    rules = compiled(*contents)
    assert len(rules.rules) + len(rules.unsupported) == len(contents)
    assert len(rules.unsupported) >= 8
    assert rules.reasons()["correlation of several events"] == 1
    assert hits(rules, created(Image="i"), created(Image="j")) == [("0", "0")]


def test_networks():
    records = [evtx(SYSMON, 3, DestinationIp=ip) for ip in ("10.1.2.3", "10.200.0.1", "11.1.2.3", "192.168.7.9")]
    network = {"product": "windows", "category": "network_connection"}
    detection = {"a": {"DestinationIp|cidr": ["10.0.0.0/9", "192.168.4.0/22"]}, "condition": "a"}
    assert which(detection, *records, logsource=network) == [0, 3]
    records = [
        evtx(SYSMON, 3, DestinationIp=ip) for ip in ("FE80::1", "fea0:0:0:0:0:0:0:1", "::1", "fed0::1", "10.com")
    ]
    detection = {"a": {"DestinationIp|cidr": ["fe80::/10", "::1/128", "10.0.0.0/8"]}, "condition": "a"}
    assert which(detection, *records, logsource=network) == [0, 1, 2]


def test_field_references_and_encodings():
    records = [created(User="bob", ParentUser="BOB"), created(User="bob", ParentUser="eve")]
    assert one({"User|fieldref": "ParentUser"}, *records) == [0]
    encoded = created(CommandLine="powershell -e L2Jpbi9iYXNoAA")
    assert one({"CommandLine|base64offset|contains": "/bin/bash"}, encoded, records[0]) == [0]
    assert one(
        {"CommandLine|windash|contains": " -enc "}, created(CommandLine="p /enc x"), created(CommandLine="enc")
    ) == [0]


def test_keywords_are_searched_in_all_values():
    detection = {"keywords": ["evil*word", "second"], "condition": "keywords"}
    records = [
        evtx("Application", 7, Data=["x", "an EVIL  Word"]),
        evtx("Application", 7, Data="evil"),
        evtx("Application", 7, second="x"),
        evtx("System", 7, Data="second"),
    ]
    application = {"product": "windows", "service": "application"}
    assert which(detection, *records, logsource=application) == [0]
    lines = ["%SYS-5-CONFIG_I: an Evil big word", "%SYS-5-CONFIG_I: nothing", "an evil word of no known source"]
    assert which(detection, *lines, logsource={"product": "cisco", "service": "aaa"}, source="other") == [0]


@pytest.mark.parametrize(
    "record",
    [
        created(Image=r"C:\x.exe"),
        {"EventID": 1, "Channel": SYSMON, "Hostname": "pc1", "Image": r"C:\x.exe"},
        {"EventID": "1", "SourceName": "Microsoft-Windows-Sysmon", "Image": r"C:\x.exe"},
        {"winlog": {"channel": SYSMON, "event_id": "1", "computer_name": "pc1", "event_data": {"Image": r"C:\x.exe"}}},
        {"event_id": 1, "log_name": SYSMON, "computer_name": "pc1", "event_data": {"Image": r"C:\x.exe"}},
        evtx("Security", 4688, NewProcessName=r"C:\x.exe"),
    ],
    ids=["evtx", "nxlog", "nxlog without channel", "winlogbeat", "winlogbeat 6", "audit log"],
)
def test_every_shape_has_sigmas_field_names(record):
    assert one({"Image|endswith": r"\X.exe"}, record) == [0]


def test_a_rule_meets_only_events_of_its_log_source():
    other = [
        evtx(SYSMON, 5, Image="i"),
        evtx("Security", 1, Image="i"),
        evtx(SYSMON.upper(), 1, Image="i"),
        {"Image": "i"},
    ]
    assert one({"Image": "i"}, *other) == [2]
    assert which({"a": {"Image": "i"}, "condition": "a"}, created(Image="i"), source="cloudtrail") == []


def test_nested_keys_of_a_cloud_log():
    events = [
        {"eventName": "StopLogging", "userIdentity": {"type": "Root"}},
        {"eventName": "StopLogging", "userIdentity": {"type": "IAMUser"}},
    ]
    detection = {"a": {"eventName": "stoplogging", "userIdentity.type": "root"}, "condition": "a"}
    assert which(detection, *events, logsource={"product": "aws", "service": "cloudtrail"}, source="cloudtrail") == [0]


def test_hits_do_not_depend_on_the_bounds_of_the_run():
    rules = compiled(
        rule({"a": {"Image|contains": "a"}, "condition": "a"}),
        rule({"a": {"CommandLine|contains": "b"}, "condition": "a"}),
        rule({"a": ["c"], "condition": "a"}, {"product": "windows", "service": "sysmon"}),
    )
    records = [created(Image="abc"[number % 3], CommandLine="bcd"[number % 2], Id=number) for number in range(200)]
    expected = hits(rules, *records)
    assert len(expected) == 67 + 100 + 133
    for settings in ({"window_rows": 1}, {"window_bytes": 1}, {"memo_rows": 0}, {"memo_rows": 2, "window_rows": 2}):
        assert hits(rules, *records, config=RulesConfig(**settings)) == expected


def test_broken_and_unsupported_rules_are_counted_and_the_others_run(tmp_path):
    good = rule({"a": {"Image": "i"}, "condition": "a"})
    deep = "detection: " + "[" * 100_000
    files = {
        "good.yml": yaml.safe_dump(good),
        "again.yml": yaml.safe_dump(good),
        "cut.yml": "title: [",
        "bytes.yml": b"\xff\xfe\x00",
        "alias.yml": "a: &a [1]\nb: *a\n",
        "deep.yml": deep,
        "object.yml": "!!python/object/apply:os.system ['true']",
        "list.yml": "- 1\n",
        "other.yml": "title: not a rule\n",
        "no_such.yml": yaml.safe_dump(rule({"a": {"Image": "i"}, "condition": "a and b"}, id="x1")),
        "mainframe.yml": yaml.safe_dump(rule({"a": {"f": "v"}, "condition": "a"}, {"product": "zos"}, id="x2")),
        "large.yml": "a: " + "x" * (2 << 20),
        "readme.txt": "no rule",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with zipfile.ZipFile(tmp_path / "rules.zip", "w") as archive:
        for name in files:
            archive.write(tmp_path / name, f"../{name}")
    for source in (tmp_path, tmp_path / "rules.zip"):
        found = load_rules(source)
        assert len(found.rules) == 1
        reasons = found.reasons()
        assert sum(reasons.values()) == len(files) - 2
        assert {"broken YAML", "not UTF-8", "YAML alias", "YAML nested too deeply", "file too large"} < set(reasons)
        assert reasons["log source not mapped to events"] == 1
        assert reasons["a rule of this id was read before"] == 1


def test_no_rules_and_no_such_folder(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for source in (tmp_path, tmp_path / "missing", tmp_path / "a.txt"):
        with pytest.raises(UserError):
            list(read_documents(source))


def test_what_is_no_event_of_windows_is_no_trouble():
    rules = compiled(rule({"a": {"Image": "i"}, "condition": "a"}))
    odd: Sequence[Any] = [
        "",
        "{",
        "[]",
        {"Event": 1},
        {"Event": {"System": {"EventID": {}, "Channel": []}, "EventData": 5}},
        {"winlog": {"event_data": []}},
        {"EventID": [1], "Channel": SYSMON, "Image": {"a": 1}},
        json.dumps(created(Image="\0nul", User=2**70, ParentImage=["a", {"b": None}], CommandLine="\ud800")),
    ]
    counts = Counts()
    assert list(fired([batch(*odd)], rules, None, counts)) == []
    assert counts.events == len(odd)


def test_the_command_writes_a_folder_or_a_file_and_tells(tmp_path):
    (tmp_path / "rules").mkdir()
    content = rule(
        {"a": {"Image|endswith": "x.exe"}, "condition": "a"},
        tags=["attack.execution", "attack.t1059.001"],
        author="an author",
    )
    (tmp_path / "rules/one.yml").write_text(yaml.safe_dump(content))
    logs = tmp_path / "logs.json"
    records = [{"EventID": 1, "Channel": SYSMON, "Image": image} for image in ("x.exe", "y.exe", "X.EXE")]
    logs.write_text("".join(orjson.dumps(record).decode() + "\n" for record in records))
    app = typer.Typer()
    app.command()(rules_command)

    def run(*options: str | Path) -> Any:
        given = [logs, "--rules", tmp_path / "rules", *options]
        return CliRunner().invoke(app, [str(one) for one in given], catch_exceptions=False)

    found = orjson.loads(run("--out", tmp_path / "out", "--json").stdout)
    assert (found["rules"], found["events"], found["hits"], found["hits_by_level"]["high"]) == (1, 3, 2, 2)
    table = pq.read_table(tmp_path / "out/hits.parquet").to_pylist()
    assert [one["techniques"] for one in table] == [["T1059.001"]] * 2
    assert pq.read_table(tmp_path / "out/rules.parquet").to_pylist()[0]["author"] == "an author"
    assert "a rule" in run("--out", tmp_path / "out").stdout
    assert run("--out", tmp_path / "hits.parquet", "--json").exit_code == 0
    assert pq.read_table(tmp_path / "hits.parquet").to_pylist() == table
    with pytest.raises(UserError, match="inside"):
        run_rules([tmp_path], tmp_path / "rules", tmp_path / "other")
    with pytest.raises(UserError, match="exists"):
        run_rules([logs], tmp_path / "rules", tmp_path / "hits.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hits.parquet", "logs.json", "out", "rules"]
