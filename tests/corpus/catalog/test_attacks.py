"""ATLAS, ATLASv2, CasinoLimit and the multi-source set."""

import json

import pytest

from logfm.errors import UserError

SECURITY = (
    "Keywords\tDate and Time\tSource\tEvent ID\tTask Category\n"
    'Audit Success\t11/3/2018 9:28:04 PM\tMicrosoft-Windows-Security-Auditing\t4663\tFile System\t"An attempt.\n'
    "\nSubject:\n\tObject Name:\t\tC:\\Users\\aalsahee\\PAYLOAD.exe\n"
    'Audit Success\t11/3/2018 9:27:00 PM\tMicrosoft-Windows-Security-Auditing\t4656\tFile System\t"A handle.\n'
    "\nSubject:\n\tObject Name:\t\tC:\\Windows\\notepad.exe\n"
)


def test_atlas_events_that_name_an_entity_of_the_attack(put, labelled):
    put("raw_logs/S1/security_events.txt", SECURITY)
    put(
        "raw_logs/S1/dns",
        "1 2018-11-03 17:00:00.1 10.0.0.1 → 10.0.0.2 DNS 80 response 0x1 A 0xalsaheel.com\n",
    )
    put("raw_logs/S1/malicious_labels.txt", "0xalsaheel.com\naalsahee/payload.exe\n")
    put("raw_logs/S2/dns", "1 2018-11-03 17:00:00.1 10.0.0.1 → 10.0.0.2 DNS 80 response 0x1 A example.org\n")
    put("atlas.py", "x = 1\n")
    events, rejects = labelled("atlas")
    assert rejects == []
    assert [(one.label, one.session_id) for one in events] == [
        ("attack", "S1"), ("attack", "S1"), ("normal", "S1"), (None, None),
    ]  # fmt: skip
    record = events[1]
    assert record.text.startswith("Audit Success\t11/3/2018") and record.text.endswith("PAYLOAD.exe")
    assert record.timestamp.isoformat() == "2018-11-03T21:28:04+00:00"
    assert record.offset == SECURITY.index("Audit")


def test_atlas_v2_labels_benign_days_and_processes(put, labelled):
    def carbon(guid):
        record = {"process_guid": guid, "device_name": "H1", "type": "endpoint.event.procstart"}
        return json.dumps(record | {"device_timestamp": "2022-07-19 14:00:00"}) + "\n"

    put("atlasv2/data/benign/h1/cbc-edr/edr-h1-benign.jsonl", carbon("ABC-1"))
    put("atlasv2/data/attack/h1/cbc-edr/edr-h1-s1.jsonl", carbon("ABC-1") + carbon("ABC-2"))
    put("reapr/s1.labels", "attack, process_name, process_id, process_uuid, label\ns1, a.exe, 12, abc-1, attack\n")
    put("reapr/s1.seeds", "x\n")
    events, rejects = labelled("atlas_v2")
    assert rejects == []
    assert [(one.label, one.session_id) for one in events] == [("attack", "s1"), (None, "s1"), ("normal", None)]


def test_atlas_v2_labels_of_another_form_are_refused(put, labelled):
    put("data/benign/h1/a.jsonl", "{}\n")
    put("a.labels", "name,kind\nx,y\n")
    with pytest.raises(UserError, match="process_uuid"):
        labelled("atlas_v2")


AUDIT = (
    "type=SYSCALL msg=audit(1715994529.336:{0}): arch=c000003e pid=1\n"
    "type=PROCTITLE msg=audit(1715994529.336:{0}): proctitle=ls\n"
)


def casino(technique="T1069: Permission Groups Discovery"):
    return json.dumps({"u": {"id": "u", "auditd_events": {"start": ["94050"]}, "technique": technique}})


@pytest.mark.parametrize("packed", [True, False])
def test_casinolimit_audit_events_get_their_technique(put, labelled, packed):
    log = AUDIT.format(94050) + AUDIT.format(94051)
    other = AUDIT.format(94050)
    if packed:
        put("syslogs.zip", {"syslogs/ria/meetingcam-3/audit.log": other, "syslogs/ria/start-56/audit.log": log})
        put("syslogs_labels.zip", {"syslogs_labels/system_labels/ria.json": casino()})
    else:
        put("syslogs/ria/meetingcam-3/audit.log", other)
        put("syslogs/ria/start-56/audit.log", log)
        put("system_labels/ria.json", casino())
    events, rejects = labelled("casinolimit")
    assert rejects == []
    assert [(one.label, one.techniques) for one in events] == [(None, None), ("attack", ["T1069"]), (None, None)]
    assert {one.session_id for one in events} == {"ria"}


def test_casinolimit_labels_of_another_form_are_refused(put, labelled):
    put("syslogs/ria/start-56/audit.log", AUDIT.format(1))
    put("system_labels/ria.json", '{"u": {"id": "u"}}')
    with pytest.raises(UserError, match="technique and auditd_events"):
        labelled("casinolimit")


def test_multi_source_events_give_up_label_columns(put, labelled):
    bad = {"UtcTime": "2025-01-01 10:00:00", "Image": "rat.exe", "Label": "malicious", "technique_id": "T1219"}
    fine = {"UtcTime": "2025-01-01 10:00:01", "Image": "explorer.exe", "Label": "benign", "technique_id": ""}
    put("attack/session_07/sysmon.jsonl", json.dumps(bad) + "\n" + json.dumps(fine) + "\n")
    put("attack/session_07/network.csv", "frame.time_epoch,ip.src,technique\n1735725600.5,10.0.0.1,T1071.001\n")
    put(
        "benign/session_08/browser.jsonl",
        json.dumps({"timestamp": "2025-01-01T10:00:00Z", "url": "https://e.org"}) + "\n",
    )
    events, rejects = labelled("multi_source_870")
    assert rejects == []
    assert [(one.label, one.techniques, one.session_id) for one in events] == [
        ("attack", ["T1071.001"], "session_07"), ("malicious", ["T1219"], "session_07"),
        ("normal", None, "session_07"), ("normal", None, "session_08"),
    ]  # fmt: skip
    assert all(word not in one.text for one in events for word in ("T1071", "T1219", "malicious", "benign", "abel"))
