import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.errors import UserError


def text(event):
    return json.loads(event.text)


def test_lanl_host_events_and_flows(put, labelled):
    event = {"UserName": "User1", "EventID": 4688, "LogHost": "Comp1", "ProcessName": "cmd.exe", "Time": 86400}
    put("wls_day-01.bz2", json.dumps(event) + "\n")
    put("netflow_day-02.bz2", "118781,5580,Comp364445,Comp547245,17,Port05507,Port46272,0,755065,0,1042329018\n1,2\n")
    (flow, host), (reject,) = labelled("lanl_unified")
    assert text(flow)["SrcDevice"] == "Comp364445" and text(flow)["DstBytes"] == "1042329018"
    assert (flow.host, flow.timestamp.timestamp(), flow.label) == ("Comp364445", 118781, None)
    assert (host.host, host.user, host.process, host.log_type) == ("Comp1", "User1", "cmd.exe", "4688")
    assert host.timestamp.timestamp() == 86400
    assert reject.reason == "not 11 columns as the data set documents"


def test_lanl_authentications_of_the_red_team(put, labelled):
    rows = ["151036,U748@DOM1,U748@DOM1,C17693,C305,NTLM,Network,LogOn,Success",
            "151037,U748@DOM1,U748@DOM1,C17693,C305,NTLM,Network,LogOn,Success"]  # fmt: skip
    put("auth.txt.gz", "\n".join(rows) + "\n")
    put("redteam.txt.gz", "151036,U748@DOM1,C17693,C305\n")
    put("proc.txt", "1,C553$@DOM1,C553,P16,Start\n")
    put("dns.txt", "31,C161,C2109\n")
    put("flows.txt", "1,9,C3090,N10471,C3420,N46,6,3,144\n")
    events, rejects = labelled("lanl_comprehensive")
    assert rejects == []
    assert [(one.log_type, one.label) for one in events] == [
        ("authentication", "redteam"), ("authentication", "normal"),
        ("dns", None), ("netflow", None), ("process", None),
    ]  # fmt: skip
    assert (events[0].user, events[0].host) == ("U748@DOM1", "C17693")
    assert events[4].process == "P16"


def test_a_red_team_list_of_another_form_is_refused(put, labelled):
    put("auth.txt", "1,U@D,U@D,C1,C2,N,Network,LogOn,Success\n")
    put("redteam.txt", "1,U@D,C1\n")
    with pytest.raises(UserError, match="source and destination computer"):
        labelled("lanl_comprehensive")


def test_cic_flows_lose_their_label_and_have_the_day_first(put, labelled):
    head = "Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,Flow Byts/s,Label"
    rows = [
        "3389,6,01/03/2018 09:56:59,4046191,14,439.4,Benign",
        head,
        "53,17,01/03/2018 09:57:00,303,1,NaN,Infilteration",
    ]
    put("Processed Traffic Data for ML Algorithms/Thursday-01-03-2018_TrafficForML_CICFlowMeter.csv",
        "\n".join([head, *rows]) + "\n")  # fmt: skip
    events, (reject,) = labelled("cse_cic_ids2018")
    assert [one.label for one in events] == ["normal", "Infilteration"]
    assert events[0].timestamp.isoformat() == "2018-03-01T09:56:59+00:00"
    assert text(events[1]).keys() == set(head.split(",")) - {"Label"}
    assert reject.reason == "the header again"


UNSW = (
    "175.45.176.0,49582,149.171.126.12,80,tcp,FIN,0.189983,13304,268,254,252,6,1,http,529100,9432.4,18,6,255,255,"
    "157871242,468891365,739,45,1,0,842.1,66.2,1424250009,1424250010,11.1,35.4,0.06,0.007,0.05,0,1,1,, ,1,1,1,1,1,1,1,"
)


def test_unsw_rows_without_a_header(put, labelled):
    put("CSV Files/UNSW-NB15_1.csv", f"{UNSW}Exploits,1\n{UNSW},0\n{UNSW} Fuzzers ,1\n1,2,3\n")
    put("CSV Files/NUSW-NB15_GT.csv", "Start time,Attack category\n1421927414,Exploits\n")
    put("CSV Files/NUSW-NB15_features.csv", "No.,Name\n1,srcip\n")
    events, (reject,) = labelled("unsw_nb15")
    assert [one.label for one in events] == ["Exploits", "normal", "Fuzzers"]
    record = text(events[0])
    assert record["srcip"] == "175.45.176.0" and record["Stime"] == "1424250009" and record["ct_dst_src_ltm"] == "1"
    assert {"attack_cat", "Label"}.isdisjoint(record) and "Exploits" not in events[0].text
    assert (events[0].host, events[0].timestamp.timestamp()) == ("175.45.176.0", 1424250009)
    assert reject.reason == "not 49 columns as the data set documents"


def test_unsw_training_set_has_a_header(put, labelled):
    put(
        "UNSW_NB15_training-set.csv",
        "id,dur,proto,service,attack_cat,label\n1,0.12,tcp,-,Normal,0\n2,0.6,udp,dns,DoS,1\n",
    )
    events, _ = labelled("unsw_nb15")
    assert [one.label for one in events] == ["normal", "DoS"]
    assert text(events[1]) == {"id": "2", "dur": "0.6", "proto": "udp", "service": "dns"}


def test_guide_evidence_belongs_to_its_incident(put, labelled):
    head = "Id,OrgId,IncidentId,AlertId,Timestamp,AlertTitle,Category,MitreTechniques,IncidentGrade,ActionGrouped," \
           "ActionGranular,EntityType,DeviceName,AccountName,Usage"  # fmt: skip
    rows = ["1,0,612,12,2024-06-04T06:05:15Z,6,InitialAccess,T1078;T1078.004,TruePositive,ContainAccount,a,User,7,9,",
            "2,0,613,13,2024-06-14T03:01:25.000Z,43,Exfiltration,,BenignPositive,,,Ip,8,9,x",
            "3,1,613,13,2024-06-14T03:01:25.000Z,43,Exfiltration,,FalsePositive,,,Ip,8,9,x"]  # fmt: skip
    put("GUIDE_Train.csv", "\n".join([head, *rows]) + "\n")
    events, rejects = labelled("guide")
    assert rejects == []
    assert [one.label for one in events] == ["true_positive", "benign", "false_positive"]
    assert events[0].techniques == ["T1078", "T1078.004"] and events[1].techniques is None
    assert [one.session_id for one in events] == ["0/612", "0/613", "1/613"]
    assert all(word not in events[0].text for word in ("TruePositive", "T1078", "ContainAccount", "Usage"))
    assert text(events[0])["Category"] == "InitialAccess"


def witfoo_row(**more):
    return {"timestamp": 1722500000.5, "message_type": "firewall_action", "src_ip": "10.0.0.1", "username": "USER-1",
            "message_sanitized": "%ASA-4-106023: Deny", "label_binary": "benign", "label_confidence": 0.9,
            "attack_techniques": "[]", "mo_name": "", "incident_ids": "[]", "matched_rules": "[]", **more}  # fmt: skip


def test_witfoo_signals_come_from_parquet(put, labelled, tmp_path):
    bad = witfoo_row(label_binary="malicious", attack_techniques='["T1041", "T1567"]', mo_name="Data Theft",
                     incident_ids='["abc-1", "abc-2"]', matched_rules='["Exfil"]')  # fmt: skip
    path = put("signals/signals.parquet", b"")
    pq.write_table(pa.Table.from_pylist([witfoo_row(), bad]), path)
    put("graph/incidents.jsonl", '{"id": "abc-1", "mo_name": "Data Theft"}\n')
    events, rejects = labelled("witfoo_precinct6")
    assert rejects == []
    assert [one.label for one in events] == ["normal", "malicious"]
    assert (events[1].techniques, events[1].session_id) == (["T1041", "T1567"], "abc-1")
    assert text(events[1]).keys() == {"timestamp", "message_type", "src_ip", "username", "message_sanitized"}
    assert (events[1].user, events[1].host, events[1].offset) == ("USER-1", "10.0.0.1", 1)
    assert events[0].timestamp.timestamp() == 1722500000.5


def test_a_damaged_parquet_file_is_a_reject(put, labelled):
    put("signals/signals.parquet", b"PAR1" + b"\0" * 100)
    events, (reject,) = labelled("witfoo_precinct6")
    assert events == [] and reject.reason.startswith("damaged Parquet file")


def test_eclog_times_count_from_the_year_one(put, labelled):
    head = "IpId,UserId,TimeStamp,HttpMethod,Uri,HttpVersion,ResponseCode,Bytes,Referrer,UserAgent"
    put("eclog_1day.csv", f"{head}\n3,-,637107552005000000,GET,/koszyk,HTTP/1.1,200,512,-,Mozilla/5.0\n")
    ((event,), _) = labelled("eclog")
    assert event.timestamp.isoformat() == "2019-12-01T00:00:00.500000+00:00"
    assert (event.host, event.user, event.label) == ("3", None, None)


def test_clue_users_and_actions(put, labelled):
    record = {
        "params": {"path": "/a"},
        "type": "file_accessed",
        "time": "2017-07-07T09:06:00Z",
        "uid": "old-crane",
        "id": 59,
    }
    put("clue.zip", {"clue.json": json.dumps(record) + "\n"})
    ((event,), _) = labelled("clue_lds")
    assert (event.user, event.log_type, event.timestamp.hour, event.text) == (
        "old-crane", "file_accessed", 9, json.dumps(record),
    )  # fmt: skip


def test_bots_records_come_out_of_splunks_export(put, labelled):
    raw = "Aug 10 12:00:00 srv sshd[1]: Failed password for root"
    result = {"_raw": raw, "_time": "2016-08-10T12:00:00.000+00:00", "host": "srv", "sourcetype": "linux_secure"}
    put("botsv1.json", json.dumps({"preview": False, "offset": 0, "result": result}) + "\n")
    put("botsv3/db_1_2_3/rawdata/journal.gz", b"\0\1\2")
    ((event,), rejects) = labelled("bots")
    assert rejects == []
    assert (event.text, event.log_type, event.host) == (raw, "linux_secure", "srv")


@pytest.mark.parametrize(
    ("name", "file", "content", "log_type"),
    [
        ("web_server_logs", "access.log",
         '1.2.3.4 - - [22/Jan/2019:03:56:14 +0330] "GET /filter HTTP/1.1" 200 30577 "-" "Moz"', None),
        ("zeek_samples", "zeek-json/notice.json.gz", '{"ts":1521911721.2,"_path":"notice","note":"Scan"}', "notice"),
        ("secrepo", "auth.log.gz", "Nov 30 06:39:00 ip-172 CRON[21882]: pam_unix(cron:session): session closed", None),
        ("flaws_cloud", "flaws_cloudtrail00.json.gz",
         '{"Records":[{"eventTime":"2017-02-12T19:57:06Z","eventSource":"s3.amazonaws.com","eventName":"ListBuckets"}]}',
         "s3.amazonaws.com"),
    ],
)  # fmt: skip
def test_unlabelled_sets_are_recognised_by_content(put, labelled, name, file, content, log_type):
    put(file, content + "\n")
    put("README.md", "# about\n")
    ((event,), rejects) = labelled(name)
    assert rejects == []
    assert event.label is None and event.timestamp is not None
    assert log_type is None or event.log_type == log_type
