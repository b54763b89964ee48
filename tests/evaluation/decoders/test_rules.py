from dataclasses import replace

import pyarrow as pa
import pytest

from logfm.errors import UserError
from logfm.evaluation.decoders.rules import Fired, SigmaDetector, hits, named
from logfm.finetune.decoder.answers import Slot
from tests.evaluation.decoders.samples import fold

RULE = """
title: A tool
id: 5f113a8f-8b61-41ca-b90f-d374fa7e4a39
status: test
level: {level}
logsource: {{product: windows, category: process_creation}}
detection:
  selection: {{Image|endswith: '{tool}'}}
  condition: selection
tags: [attack.{technique}]
"""


def test_hits_are_of_the_events_that_are_wanted(tmp_path):
    for name, level, technique in (("bad", "high", "t1003.001"), ("ad", "low", "t1059")):
        rule = RULE.format(level=level, tool=f"{name}.exe", technique=technique)
        (tmp_path / f"{name}.yml").write_text(rule.replace("5f113a8f", f"{level[:1].encode().hex() * 4}"))
    fields = '{"EventID":1,"Channel":"Microsoft-Windows-Sysmon/Operational","Image":"C:\\\\bad.exe"}'
    rows = {"event_id": ["1", "2"], "text": ["x", "x"], "source": ["windows"] * 2, "log_type": [None] * 2}
    batch = pa.RecordBatch.from_pydict(
        {**rows, "fields": [fields, fields]}, schema=pa.schema([(name, pa.string()) for name in (*rows, "fields")])
    )
    found = hits([batch], tmp_path, {"2"})
    assert found == {"2": Fired(4, frozenset({"T1003.001", "T1059"}))}


def test_chunks_are_suspicious_from_a_level_on():
    split = fold(named=False)

    parts = []
    for part in (split.validation, split.test):
        rename = {"suspicious": "", "normal": "n"}
        parts.append(tuple(replace(one, event_ids=(f"{rename[one.answer['label'][0]]}{one.case_id}",)) for one in part))
    split = replace(split, validation=parts[0], test=parts[1])

    def by_case(cases):
        return {
            one.event_ids[0]: Fired(4 if one.answer["label"] == ("suspicious",) else 2, frozenset()) for one in cases
        }

    found = SigmaDetector(by_case).guess(split, 0)[""]
    assert [one.answer for one in found] == [case.answer for case in split.test]
    assert {one.scores["label"]["normal"] for one in found} == {0.0}


def test_techniques_are_those_of_the_rules():
    split = fold()
    split = replace(split, test=tuple(replace(case, event_ids=(case.case_id,)) for case in split.test))
    known = {split.test[0].case_id: Fired(3, frozenset({"T1047.009", "T1105", "T9999"}))}
    found = SigmaDetector(lambda cases: known).guess(split, 0)[""]
    assert found[0].answer["techniques"] == ("T1047", "T1105")
    assert found[0].answer["reason"] == ("seen T1047",)
    assert found[1].answer["techniques"] == ()


def test_without_a_hit_rules_are_left_out():
    with pytest.raises(UserError, match="no rule fired"):
        SigmaDetector(lambda cases: {}).guess(fold(), 0)


def test_a_rules_technique_is_a_label_or_its_parent():
    slot = Slot("t", "set", ("T1003", "T1003.001", "T1059"))
    assert named(slot, {"T1003.001", "T1059.005"}) == ("T1003.001", "T1059")
