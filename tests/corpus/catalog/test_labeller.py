import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.catalog import Labeller, datasets, labeller_of, read_dataset
from logfm.corpus.discover import discover
from logfm.corpus.events import Event
from logfm.corpus.read import read_events, read_input
from logfm.errors import UserError

TAGGED = "APPREAD 1117838570 2005.06.03 R02 2005-06-03-15.42.50.675872 R02 RAS APP FATAL ciod: failed\n"


def labels_of(labels: Labeller, folder: str) -> list[str | None]:
    found, _ = discover([folder])
    parts = (part for one in found for part in read_input(one, CorpusConfig(), labels=labels))
    return [one.label for part in parts for one in part.records if isinstance(one, Event)]


def test_a_labeller_reaches_a_worker_process(put, tmp_path):
    put("BGL.log", TAGGED)
    labels = Labeller("loghub", tmp_path / "copy")
    again = pickle.loads(pickle.dumps(labels))
    assert (again.name, again.root) == ("loghub", tmp_path / "copy")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(labels_of, labels, str(tmp_path / "copy")).result() == ["APPREAD"]


def test_one_labeller_a_process(tmp_path):
    assert labeller_of("otrf", str(tmp_path)) is labeller_of("otrf", str(tmp_path))


def test_events_keep_the_identity_of_the_untouched_record(put, tmp_path):
    put("BGL/BGL.log.gz", TAGGED * 3)
    plain = [(one.event_id, one.offset, one.file) for one in read_events([tmp_path / "copy"])]
    found = [(one.event_id, one.offset, one.file) for one in read_dataset("loghub", tmp_path / "copy")]
    assert plain == found and len(found) == 3


def test_a_single_file_finds_its_labels_beside_it(put, tmp_path):
    path = put("HDFS.log", "081109 203518 143 INFO dfs.DataNode: Receiving block blk_5 src\n")
    put("anomaly_label.csv", "BlockId,Label\nblk_5,Anomaly\n")
    (event,) = read_dataset("loghub", path)
    assert event.label == "anomaly"


def test_label_files_and_documents_are_parts_without_records(put, tmp_path):
    put("LICENSE.txt", "all rights\n")
    put("redteam.txt", "1,U@D,C1,C2\n")
    labels = Labeller("lanl_comprehensive", tmp_path / "copy")
    found, _ = discover([tmp_path / "copy"])
    parts = [part for one in found for part in read_input(one, CorpusConfig(), labels=labels)]
    assert [(part.name, part.format, part.why, list(part.records)) for part in parts] == [
        ("LICENSE.txt", None, "documentation of the data set", []),
        ("redteam.txt", None, "labels of the data set", []),
    ]


def test_a_record_that_cannot_be_labelled_is_a_reject_and_the_rest_goes_on(put, labelled):
    head = "Id,OrgId,IncidentId,Timestamp,IncidentGrade"
    put("GUIDE_Test.csv", f"{head}\n1,,5,2024-06-04T06:05:15Z,TruePositive\n2,7,5,2024-06-04T06:05:15Z,TruePositive\n")
    (event,), (reject,) = labelled("guide")
    assert event.session_id == "7/5"
    assert (reject.reason, reject.offset) == ("label not understood (KeyError)", len(head) + 1)


def test_truncated_copies_do_not_end_the_run(put, labelled, tmp_path):
    put("fox.zip", {"gather/h/logs/a.log": "Jan 24 04:17:01 h cron[1]: x\n" * 50, "labels/h/logs/a.log": "{}"})
    path = tmp_path / "copy/fox.zip"
    path.write_bytes(path.read_bytes()[:60])
    _, rejects = labelled("ait_lds")
    assert rejects


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        list(read_dataset("otrf", tmp_path / "gone"))


FILES = (
    "HDFS.log", "BGL.log", "openstack_normal1.log", "application_1_1/c.log", "BGL_2k.log_structured.csv",
    "gather/h/logs/a.log", "fox_wazuh.json", "fox_aminer.json", "fox_alerts.csv", "clue.json", "wls_day-01",
    "netflow_day-02", "auth.txt", "x_TrafficForML_CICFlowMeter.csv", "UNSW-NB15_1.csv", "S1/security_events.txt",
    "data/attack/h1/cbc-edr/edr-h1-s1.jsonl", "psh.json", "Execution/a.evtx", "T1003/a.log", "botsv1.json",
    "GUIDE_Train.csv", "signals/signals.parquet", "syslogs/ria/start-1/audit.log", "attack/session_1/a.jsonl",
    "eclog.csv",
)  # fmt: skip
GARBAGE = (
    b"\xff\xfe\x00\xd8" * 40, b"PAR1" + bytes(range(256)), b'{"a": [1, {"label": {"x": []}}], "time": {}}\n' * 9,
    b'{"rule": [], "LogData": 1, "TimeStamp": "x", "result": {"_raw": 1}, "attack_techniques": 5}\n' * 9,
    b"a,b\n" + b'"' * 999, b"TimeStamp,IncidentGrade,Label,label\n,,,\n99999999999999999999,,,\n-1,\xff,\xfe,\n",
    b"KERN 1117838570 2005.06.03\n- 1117838570 2005.06.03 \n\x00\x00\n", b"type=A msg=audit(1.1:1):\n" * 3, b"\n",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(datasets()))
def test_no_reader_ends_on_garbage(put, labelled, name):
    for number, content in enumerate(GARBAGE):
        for file in FILES:
            put(f"{number}/{file}", content)
        put(f"{number}/labels/h/logs/a.log", '{"line": 1, "labels": ["x"]}\n{"line": 99, "labels": []}\n')
    events, rejects = labelled(name)
    assert events and rejects
    assert all(isinstance(one.text, str) and (one.label is None or isinstance(one.label, str)) for one in events)


@pytest.mark.parametrize(
    ("name", "file", "content", "log"),
    [
        ("otrf", "_metadata/a.yaml", b"\xff\xfe: [", "a.json"),
        ("casinolimit", "system_labels/ria.json", b"[1, 2]", "syslogs/ria/start-1/audit.log"),
        ("ait_lds", "labels/h/logs/a.log", b"\x00\x01", "gather/h/logs/a.log"),
        ("loghub", "anomaly_label.csv", b"only one column\n", "HDFS.log"),
        ("lanl_comprehensive", "redteam.txt.gz", b"x", "auth.txt"),
    ],
)
def test_a_damaged_label_file_stops_with_one_line(put, labelled, tmp_path, name, file, content, log):
    put(log, '{"a": 1, "b": 2}\n')
    put(file, content)
    (tmp_path / "copy" / file).write_bytes(content)
    with pytest.raises(UserError) as stopped:
        labelled(name)
    assert file in str(stopped.value) and "\n" not in str(stopped.value)
