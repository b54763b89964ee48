import gzip
import json
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import yaml

from logfm.configs.base import find, parse, read_yaml
from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.read import read_events
from logfm.corpus.simulate.sessions_run import simulate_sessions
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Grammar, Slot
from logfm.finetune.decoder.cases import cases
from logfm.finetune.decoder.chunking import chunks
from logfm.finetune.decoder.groups import Counts, Group, Labelled
from logfm.finetune.decoder.labelling import ThreatMap, grammar_of
from logfm.finetune.decoder.splits import split
from logfm.finetune.decoder.storing import read_cases, write_cases
from logfm.finetune.decoder.unlabelled import unlabelled
from tests.finetune.decoder.logs import (
    SYSMON,
    captures,
    config,
    event,
    release,
    rule_tests,
    sessions,
    write_csv,
    write_lines,
)


def answers(found):
    return Counter(next(iter(case.answer.values())) for case in found.cases)


def rules_folder(tmp_path):
    rule = {
        "title": "Procdump",
        "id": "00000000-0000-4000-8000-000000000001",
        "level": "high",
        "tags": ["attack.t1003.001"],
        "logsource": {"product": "windows", "category": "process_creation"},
        "detection": {"selection": {"Image|endswith": "\\procdump64.exe"}, "condition": "selection"},
    }
    low = rule | {"id": rule["id"][:-1] + "2", "level": "low", "tags": ["attack.t1059"]}
    low["detection"] = {"selection": {"Image|contains": "procdump"}, "condition": "selection"}
    folder = tmp_path / "rules"
    folder.mkdir()
    for number, one in enumerate((rule, low)):
        (folder / f"{number}.yml").write_text(yaml.safe_dump(one))
    return {"rules": str(folder)}


def test_chunks_of_simulated_sessions_are_one_time_line(tmp_path):
    found = cases(config("chunks", sessions(tmp_path / "sim")))
    assert answers(found) == {("normal",): 6 * 3 - 3, ("suspicious",): 3}
    assert found.grammar == Grammar((Slot("verdict", "one", ("normal", "suspicious")),))
    assert found.parts["simulated:00004"] == "test" and found.parts["simulated:00000"] == "train"
    one = found.cases[0]
    assert one.head == {"session": "S1", "chunk": "1", "events": "7"}
    assert len(one.event_ids) == 7
    # The second source's events lie a second behind those of the first.
    assert [line.rpartition(" ")[2] for line in one.text.splitlines()[:3]] == [
        "windows0.exe",
        "other0.exe",
        "windows0.exe",
    ]
    known = {event.event_id for event in read_events([tmp_path / "sim" / "logs"])}
    assert {name for case in found.cases for name in case.event_ids} == known


def test_techniques_of_simulated_sessions_are_those_of_their_attack_events(tmp_path):
    source = sessions(tmp_path / "sim")
    found = cases(config("techniques", source))
    assert [dict(case.answer) for case in found.cases] == [{"techniques": ("T1003.001",), "reason": ("dump it",)}] * 3
    by_file = config("techniques", source | {"by": ["file"]})
    assert all("other" not in case.text for case in cases(by_file).cases if "windows" in case.text)


def test_attacks_that_only_test_has(tmp_path):
    source = sessions(tmp_path / "sim", 8)  # attack0 in 1 and 5, attack1 in 3 and 7; 6 and 7 are test
    found = cases(config("chunks", source | {"test_scenarios": "attack0"}, given_split=True))
    attacks = {case.group for case in found.cases if case.answer["verdict"] == ("suspicious",)}
    parts = split(found)
    assert {case.group for case in parts.test} == {f"simulated:0000{number}" for number in (1, 5, 6)}
    assert attacks - {case.group for case in parts.test} == {"simulated:00003"}
    assert found.counts["test sessions of an attack that train has"] == 1
    with pytest.raises(UserError, match="no session has the scenario: attack9"):
        cases(config("chunks", source | {"test_scenarios": "attack9"}))


def test_test_sessions_can_give_all_their_normal_chunks(tmp_path):
    source = sessions(tmp_path / "sim") | {"group_normal": 1, "test_normal": 100}
    found = Counter(case.group for case in cases(config("chunks", source)).cases)
    assert found == {f"simulated:0000{number}": 1 + number % 2 if number < 4 else 3 for number in range(6)}


def test_sigma_tells_the_suspicious_chunks_of_a_capture(tmp_path):
    pytest.importorskip("sigma.backends.sqlite", reason="needs the extra `rules`")
    pytest.importorskip("duckdb")
    source = captures(tmp_path) | {"sigma": rules_folder(tmp_path)}
    found = cases(config("chunks", source))
    assert answers(found) == {("normal",): 12, ("suspicious",): 6}
    suspicious = [case for case in found.cases if case.answer["verdict"] == ("suspicious",)]
    assert all("procdump64" in case.text and case.head["chunk"] == "2" for case in suspicious)
    assert {case.labelled_by for case in found.cases} == {"sigma"}
    attack = {"path": str(release(tmp_path / "kb"))}
    named = cases(config("techniques", source, attack=attack))
    assert answers(named) == {("T1003.001",): 2, ("T1059",): 4}
    assert named.cases[0].answer["reason"] == ("Title 0",)
    assert named.counts["technique ids replaced by the release"] == 2
    source["sigma"]["techniques"] = True
    assert answers(cases(config("techniques", source, attack=attack))) == {("T1003.001",): 6}


def test_all_events_of_a_capture_without_rules_are_suspicious(tmp_path):
    found = cases(config("techniques", captures(tmp_path) | {"group_attack": 2}))
    assert Counter(case.group for case in found.cases) == {f"lab:capture{number}.json": 2 for number in range(6)}
    # T1086 became T1059.001.
    assert found.counts["technique ids replaced by the release"] > 0
    assert "technique ids that the release doesn't have" not in found.counts
    assert found.counts["suspicious chunks beyond what a file or session gives"] == 6
    assert {case.labelled_by for case in found.cases} == {"capture"}


def test_files_of_one_row_and_rows_of_one_archive(tmp_path):
    source = captures(tmp_path)
    rows = [{"file": "data/capture0.json", "techniques": "T1059; T1003.001", "title": "", "campaign": "c"}]
    rows += [{"file": "data/capture1.json", "techniques": "T1059", "title": "x", "campaign": "c"}]
    rows += [{"file": "capture2.json", "techniques": "", "title": "x", "campaign": ""}]
    source["labels"] = str(write_csv(tmp_path / "other.csv", rows))
    found = cases(config("techniques", source | {"group": "campaign"}))
    assert {case.group for case in found.cases} == {"lab:c"}
    assert found.cases[0].answer == {
        "techniques": ("T1003.001", "T1059"),
        "reason": ("LSASS Memory, Command and Scripting Interpreter",),
    }
    assert found.counts["files without a label"] == 3
    assert found.counts["cases without a technique"] == 3
    few = config("techniques", source | {"group": "campaign", "events": 5}, limits={"techniques": 1})
    assert len(cases(few).cases) == 0 + 1
    assert cases(few).counts["events behind the first of a long file"] == 15 + 15 + 15


def test_triage_of_rule_tests(tmp_path):
    attack = {"path": str(release(tmp_path / "kb"))}
    found = cases(config("triage", rule_tests(tmp_path), attack=attack))
    assert len(found.cases) == 10
    assert found.cases[0].text == "action=doa allowed=true email=USER1"
    assert found.cases[0].head == {"product": "Product.Audit"}
    assert dict(found.cases[0].answer) == {"threat": ("access",), "technique": ("T1003",), "severity": ("high",)}
    assert [slot.labels for slot in found.grammar.slots] == [
        ("access", "activity", "evasion"),
        ("T1003", "T1059", "T1562"),
        ("high", "info"),
    ]
    assert {case.group for case in found.cases} == {f"tests:Rule.{number}" for number in range(10)}
    assert found.counts["rows that were not asked for"] == 1
    with_benign = cases(config("triage", rule_tests(tmp_path), attack=attack, benign=True))
    assert answers(with_benign)[("benign",)] == 10


def test_triage_of_single_events_of_labelled_files(tmp_path):
    source = captures(tmp_path, 1)
    row = {"file": "capture0.json", "techniques": "T1003.001", "title": "", "level": "Critical"}
    row["tactics"] = "Defense Evasion, Credential Access"
    source["labels"] = str(write_csv(tmp_path / "x.csv", [row]))
    given = config("triage", source | {"severity": "level", "tactics": "tactics"})
    found = cases(given)
    assert len(found.cases) == 20
    assert dict(found.cases[0].answer) == {
        "threat": ("evasion",),
        "technique": ("T1003.001",),
        "severity": ("critical",),
    }
    without = cases(config("triage", source | {"severity": "level"}))
    assert without.cases[0].answer["threat"] == ("access",)
    with pytest.raises(UserError, match="20 alerts without a known severity"):
        cases(config("triage", source))


@pytest.mark.parametrize("name", ["finetune/threats", "finetune/threats-phases"])
def test_threats_cover_every_tactic_of_the_release(shared_data, name):
    threats = parse(ThreatMap, read_yaml(find(name)), name)
    with gzip.open(shared_data / "threat_text" / "attack_kb" / "tactics.jsonl.gz", "rt") as stream:
        tactics = {row["id"]: row["shortname"] for row in map(json.loads, stream)}
    assert threats.tactics == tactics
    assert set(threats.threats) == set(tactics.values())


def test_sentences_of_reports(tmp_path):
    rows = [
        {"text": "It reads LSASS on 10.1.2.3.", "label": "T1003.001", "doc": "a"},
        {"text": "It runs scripts. " * 20, "label": ["T1059", "T1003.001"], "doc": "b"},
        {"text": "", "label": "T1059", "doc": "b"},
        {"text": "Unknown.", "label": "T9999", "doc": "b"},
    ]
    source = {"kind": "rows", "name": "reports", "input": str(write_lines(tmp_path / "r.jsonl", rows))}
    source |= {"techniques": "label", "group": "doc"}
    found = cases(config("text", source))
    assert [case.text for case in found.cases] == [rows[0]["text"], rows[1]["text"].strip()]
    assert found.cases[1].answer == {"techniques": ("T1003.001", "T1059")}
    assert found.counts["rows without text, group or label"] == 1
    assert found.counts["cases without a technique"] == 1


def test_events_with_a_table_of_labels(tmp_path):
    captures(tmp_path, 2)
    events = list(read_events([tmp_path / "data"]))
    rows = [
        {
            "event_id": one.event_id,
            "label": "attack" if place == 9 else "benign",
            "techniques": "T1059" if place == 9 else "",
        }
        for place, one in enumerate(events[:20])
    ]
    labels = write_csv(tmp_path / "events.csv", rows)
    source = {"kind": "events", "name": "own", "input": str(tmp_path / "data"), "labels": str(labels), "group": "host"}
    found = cases(config("chunks", source))
    assert answers(found) == {("normal",): 2, ("suspicious",): 1}
    assert found.counts["events without a label"] == 20
    assert answers(cases(config("techniques", source))) == {("T1059",): 1}


def test_rare_techniques_and_the_limit(tmp_path):
    source = captures(tmp_path)
    rows = [
        {"file": f"capture{number}.json", "techniques": "T1059;T1003" if number else "T1562", "title": ""}
        for number in range(3)
    ]
    source["labels"] = str(write_csv(tmp_path / "other.csv", rows))
    attack = {"path": str(release(tmp_path / "kb"))}
    found = cases(config("techniques", source, attack=attack, limits={"least_groups": 2, "cases": 4}))
    assert answers(found) == {("T1003", "T1059"): 4}
    assert found.counts["cases whose techniques are in too few groups"] == 3
    assert found.counts["cases beyond the limit"] == 2


def test_the_same_seed_gives_the_same_cases_and_another_draws_others(tmp_path):
    given = config("chunks", sessions(tmp_path / "sim") | {"group_normal": 1}, writing={"identity": "varied"})
    first, again, other = cases(given, 1), cases(given, 1), cases(given, 2)
    assert first == again
    assert {case.case_id for case in first.cases} != {case.case_id for case in other.cases}
    assert len(first.cases) == 6 + 3
    assert first.counts["normal chunks beyond what a file or session gives"] == 9


def test_no_text_exceeds_the_models_tokens_and_what_is_cut_is_counted(tmp_path):
    given = config("chunks", sessions(tmp_path / "sim"), writing={"tokens": 16, "repeats": False})
    found = cases(given, 0, lambda text: len(text.split()))
    assert max(len(case.text.split()) for case in found.cases) <= 16
    assert found.counts["cases that were cut to fit"] == sum(case.left_out > 0 for case in found.cases) > 0
    assert found.counts["characters that were cut"] == sum(case.left_out for case in found.cases)


def test_cases_come_back_from_a_file(tmp_path):
    found = cases(config("techniques", sessions(tmp_path / "sim")))
    write_cases(found, tmp_path / "cases.jsonl.gz")
    assert read_cases(tmp_path / "cases.jsonl.gz") == found
    content = (tmp_path / "cases.jsonl.gz").read_bytes()
    write_cases(found, tmp_path / "cases.jsonl.gz")
    assert (tmp_path / "cases.jsonl.gz").read_bytes() == content
    (tmp_path / "cut").write_bytes(content[:100])
    with pytest.raises(UserError, match="not a file of cases"):
        read_cases(tmp_path / "cut")


def test_an_input_without_labels_is_cut_and_written_alike(tmp_path):
    source = captures(tmp_path, 1) | {"drop": ["CommandLine"]}
    given = config("techniques", source, writing={"identity": "masked"})
    labelled = cases(given).cases
    found = unlabelled([str(tmp_path / "data")], given)
    assert [(case.case_id, case.text, case.head) for case in found] == [
        (case.case_id, case.text, case.head) for case in labelled
    ]
    assert not any(case.answer for case in found)
    assert "lsass" not in "".join(case.text for case in found)
    single = unlabelled([str(tmp_path / "data")], config("triage", source))
    assert len(single) == 20 and single[0].head == {"product": SYSMON}


def test_triage_of_logs_reads_as_in_training_where_the_product_is_told(tmp_path):
    given = config("triage", rule_tests(tmp_path), benign=True)
    labelled = cases(given).cases
    logs = [json.loads(line)["log"] for line in (tmp_path / "tests.jsonl").read_text().splitlines()[:-1]]
    path = write_lines(tmp_path / "logs.jsonl", logs)
    found = unlabelled([str(path)], given, product="Product.Audit")
    assert [(case.head, case.text) for case in found] == [(case.head, case.text) for case in labelled]
    assert unlabelled([str(path)], given)[0].head != labelled[0].head


def test_chunks_are_cut_by_host_in_order_of_time():
    events = [event({}, f"{place}", host="ab"[place % 2], timestamp=None) for place in range(5)]
    group = Group("g", "s", [Labelled(one, False) for one in events], "event")
    given = config("chunks", {"kind": "simulated", "name": "s", "input": "x"}, chunk={"events": 2, "least": 2}).chunk
    counts = Counts()
    found = chunks(group, given, counts)
    assert [[one.event.event_id for one in chunk.events] for chunk in found] == [["0", "2"], ["1", "3"]]
    assert [chunk.number for chunk in found] == [1, 1]
    assert counts == {"events of a last chunk that is too short": 1}


def test_grammar_holds_the_labels_of_the_cases_it_is_given(tmp_path):
    attack = {"path": str(release(tmp_path / "kb"))}
    found = cases(config("triage", rule_tests(tmp_path), attack=attack)).cases
    assert grammar_of(found[:1], "triage").slots[0].labels == ("access",)
    assert grammar_of([], "chunks").slots[0].labels == ("normal", "suspicious")
    sets = [replace(found[0], answer={"techniques": labels}) for labels in (("T1003",), ())]
    assert [grammar_of(some, "text").slots[0].empty for some in (sets[:1], sets)] == [False, True]
    pair = replace(found[0], answer={"techniques": ("T1003", "T1059")})
    assert [grammar_of(some, "text").slots[0].most for some in (sets, [*sets, pair])] == [1, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "captures", "labels": "LABELS", "techniques": "gone"}, "no column gone"),
        ({"kind": "captures", "labels": "nowhere.csv"}, "no such file"),
        ({"kind": "captures", "labels": "LABELS", "extension": ".evtx"}, "no event of a file"),
        ({"kind": "simulated"}, "not a logfm artifact"),
        ({"kind": "rows", "group": "gone"}, "no row with such a text and group"),
        ({"kind": "events"}, "no event has a label"),
    ],
)
def test_mistakes_are_told(tmp_path, source, message):
    made = captures(tmp_path, 1)
    given = {"name": "x", "input": made["input"]} | source
    if given.get("labels") == "LABELS":
        given["labels"] = made["labels"]
    with pytest.raises(UserError, match=message):
        cases(config("techniques", given))


def test_data_without_a_case_says_why(tmp_path):
    source = captures(tmp_path, 1)
    source["labels"] = str(write_csv(tmp_path / "x.csv", [{"file": "capture0.json", "techniques": "", "title": ""}]))
    with pytest.raises(UserError, match=r"no case: techniques\. Left out: 3 cases without a technique"):
        cases(config("techniques", source))


def test_columns_and_patterns_are_checked(tmp_path):
    source = captures(tmp_path, 1)
    with pytest.raises(UserError, match="no such column of an event: hosts"):
        cases(config("chunks", source, chunk={"by": "hosts"}))
    with pytest.raises(ValueError, match="no regular expression"):
        config("chunks", source | {"hide": ["("]})


def test_two_sources_of_one_name_are_refused(tmp_path):
    source = captures(tmp_path, 1)
    with pytest.raises(ValueError, match="same name"):
        config("chunks", source, source)


def test_files_of_a_session_can_be_skipped_and_sources_left_out(tmp_path):
    source = sessions(tmp_path / "sim")
    with pytest.raises(UserError, match="no case"):
        cases(config("chunks", source | {"skip": "*.json"}))
    with pytest.raises(UserError, match="120 events of sources that were left out"):
        cases(config("chunks", source | {"without": ["windows"]}))


def test_what_the_simulator_writes_is_read(tmp_path):
    made = SessionsConfig(sessions=3, attacks=1, events=200, scenarios=("web_shell",), seed=1)
    simulate_sessions(made, tmp_path / "sim", workers=1)
    source = {"kind": "simulated", "name": "simulated", "input": str(tmp_path / "sim")}
    source |= {"group_normal": 1000, "group_attack": 1000}
    found = cases(config("chunks", source))
    truth = pq.read_table(tmp_path / "sim" / "truth.parquet").to_pylist()
    attack = {row["event_id"] for row in truth if row["label"] == "attack"}
    assert sum(len(case.event_ids) for case in found.cases) == len(truth)
    for case in found.cases:
        assert (case.answer["verdict"] == ("suspicious",)) == bool(attack & set(case.event_ids))
    assert set(found.parts.values()) <= {"train", "test"}
    techniques = {name for row in truth for name in row["techniques"]}
    named = cases(config("techniques", source)).cases
    assert {name for case in named for name in case.answer["techniques"]} == techniques
