import json
import shutil

import pytest

from logfm.errors import UserError

WINDOWS = json.dumps({"EventID": 1, "Channel": "Sysmon", "Hostname": "WS1", "EventTime": "2020-10-22 03:52:14"}) + "\n"
META = """title: Mshta
id: SDWIN-1
attack_mappings:
- {technique: T1218, sub-technique: "005", tactics: [TA0005]}
- {technique: T1105, sub-technique: null}
- {technique: T0000, sub-technique: null}
files:
- {type: Host, link: https://example.org/datasets/atomic/windows/host/psh_mshta.zip}
"""


def test_otrf_archives_get_the_techniques_of_their_metadata(put, labelled):
    put("datasets/atomic/_metadata/SDWIN-1.yaml", META)
    more = META.replace("SDWIN-1", "SDWIN-2").replace("T1105", "T1059")
    put("datasets/atomic/_metadata/SDWIN-2.yaml", more)
    put("datasets/atomic/windows/host/psh_mshta.zip", {"psh_mshta.json": WINDOWS * 2})
    put("datasets/atomic/windows/host/other.zip", {"other.json": WINDOWS})
    events, rejects = labelled("otrf")
    assert rejects == []
    assert [(one.label, one.session_id) for one in events] == [(None, None)] + [("SDWIN-1", "SDWIN-1")] * 2
    assert events[0].techniques is None
    assert events[1].techniques == ["T1218.005", "T1105", "T1059"]
    assert events[1].text == WINDOWS.strip()


def test_metadata_that_is_no_yaml_stops_with_its_place(put, labelled):
    put("_metadata/a.yaml", "id: [")
    put("a.json", WINDOWS)
    with pytest.raises(UserError, match="not YAML"):
        labelled("otrf")


def test_evtx_samples_get_tactic_and_techniques_from_their_place(shared_data, tmp_path, labelled):
    source = shared_data / "evtx_attack_samples/raw_examples/CA_DCSync_4662.evtx"
    for name in ("Credential Access/CA_T1003.006_dcsync.evtx", "UACME_59/x.evtx"):
        (tmp_path / "copy" / name).parent.mkdir(parents=True)
        shutil.copy(source, tmp_path / "copy" / name)
    events, rejects = labelled("evtx_attack_samples")
    assert rejects == []
    assert {(one.session_id, one.label, tuple(one.techniques or ())) for one in events} == {
        ("Credential Access/CA_T1003.006_dcsync.evtx", "credential_access", ("T1003.006",)),
        ("UACME_59/x.evtx", "attack", ()),
    }


def test_attack_data_takes_techniques_from_folder_and_metadata(put, labelled):
    folder = "datasets/attack_techniques/T1003.001/atomic_red_team"
    put(f"{folder}/windows-sysmon.log", WINDOWS)
    put(f"{folder}/data.yml", "mitre_technique:\n- T1003.001\n- T1059\ndatasets: []\n")
    put("datasets/suspicious_behaviour/x/a.log", WINDOWS)
    events, rejects = labelled("splunk_attack_data")
    assert rejects == []
    assert events[0].techniques == ["T1003.001", "T1059"]
    assert events[0].label == events[0].session_id == "T1003.001/atomic_red_team"
    assert events[1].techniques is None and events[1].label == "datasets/suspicious_behaviour/x"
