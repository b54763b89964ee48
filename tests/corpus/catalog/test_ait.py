import json

import pytest

from logfm.errors import UserError

AUTH = [
    "Jan 24 04:17:01 intranet CRON[27933]: pam_unix(cron:session): session opened for user root",
    "Jan 24 04:37:40 intranet su[27950]: Successful su for jhall by www-data",
    "Jan 24 04:37:41 intranet systemd-logind[957]: New session c1 of user jhall.",
    "Jan 24 04:38:06 intranet sudo: pam_unix(sudo:session): session closed for user root",
]


def lds_label(line, *names):
    return json.dumps({"line": line, "labels": names, "rules": {name: [f"rule.{name}"] for name in names}}) + "\n"


def test_lines_get_the_labels_of_the_file_beside(put, labelled):
    put("fox/gather/intranet/logs/auth.log", "\n".join(AUTH) + "\n")
    put(
        "fox/labels/intranet/logs/auth.log", lds_label(2, "attacker_change_user", "escalate") + lds_label(4, "escalate")
    )
    put("fox/gather/intranet/logs/syslog", AUTH[0] + "\n")
    put("fox/gather/intranet/facts.json", "{}")
    put("fox/rules/a.yaml", "x: 1")
    put("fox/dataset.yml", "start: 1")
    events, rejects = labelled("ait_lds", year=2022)
    assert rejects == []
    assert [one.label for one in events] == ["normal", "attacker_change_user;escalate", "normal", "escalate", None]
    assert [one.text for one in events] == [*AUTH, AUTH[0]]


def test_records_of_several_lines_get_the_labels_of_each(put, labelled):
    def record(kind, serial):
        return f"type={kind} msg=audit(1642999060.603:{serial}): pid=1 uid=0 res=success"

    lines = [record("SYSCALL", 1), record("SYSCALL", 2), record("PATH", 1), record("PROCTITLE", 2), record("LOGIN", 3)]
    put("fox/gather/h/logs/audit/audit.log", "\n".join(lines) + "\n")
    put("fox/labels/h/logs/audit/audit.log", lds_label(3, "webshell"))
    events, _ = labelled("ait_lds")
    assert [(one.text.count("\n") + 1, one.label) for one in events] == [(2, "webshell"), (2, "normal"), (1, "normal")]


def test_labels_are_found_across_the_borders_of_chunks_and_inside_a_zip(put, labelled):
    lines = [f"Jan 24 04:{n // 60 % 60:02}:{n % 60:02} host app[1]: {'x' * (n % 997)} {n}" for n in range(3000)]
    marked = [1, 2, 611, 1500, 1501, 2999, 3000]
    put("fox.zip", {
        "gather/h/logs/app.log": "\n".join(lines),
        "labels/h/logs/app.log": "".join(lds_label(number, f"step{number}") for number in reversed(marked)),
    })  # fmt: skip
    events, _ = labelled("ait_lds", year=2022)
    assert len(events) == 3000
    found = {number: one.label for number, one in enumerate(events, start=1) if one.label != "normal"}
    assert found == {number: f"step{number}" for number in marked}


def test_a_label_file_of_another_form_stops_with_its_place(put, labelled):
    put("gather/h/logs/a.log", AUTH[0] + "\n")
    put("labels/h/logs/a.log", '{"lines": [1]}\n')
    with pytest.raises(UserError, match="line 1 is no label of a line"):
        labelled("ait_lds")


HEAD = "time,name,ip,host,short,time_label,event_label\n"


def test_a_table_of_alerts_gives_up_its_labels(put, labelled):
    rows = "1642213952,Wazuh: ClamAV,172.17.1.1,mail,W-Sys-Cav,false_positive,-\n"
    rows += "1642508291,Wazuh: Web 400.,10.35.35.206,intranet,W-Acc-400,wpscan,wpscan\n"
    put("alerts_csv/fox_alerts.csv.gz", HEAD + rows)
    put("attack_times.csv", "testbed,phase\n")
    events, _ = labelled("ait_ads")
    assert [one.label for one in events] == ["normal", "wpscan"]
    assert json.loads(events[0].text).keys() == {"time", "name", "ip", "host"}
    assert events[1].timestamp.timestamp() == 1642508291


WAZUH = {"agent": {"ip": "10.0.0.5"}, "rule": {"description": "Web 400.", "id": "31101"},
         "@timestamp": "2022-01-18T12:18:11.000000Z", "full_log": "GET /x"}  # fmt: skip
AMINER = {"AnalysisComponent": {"AnalysisComponentName": "AMiner: New event type."},
          "LogData": {"RawLogData": ["raw"], "Timestamps": [1642600000]}, "AMiner": {"ID": "10.0.0.6"}}  # fmt: skip


def test_json_alerts_get_the_phase_of_their_time(put, labelled):
    put("fox_wazuh.json", json.dumps(WAZUH) + "\n")
    put("fox_aminer.json", json.dumps(AMINER) + "\n")
    put(
        "labels.csv",
        "scenario,attack,start,end\nfox,wpscan,1642508290.0,1642508300.0\nfox,dirb,1642508300.0,1642508400.0\n",
    )
    (aminer, wazuh), rejects = labelled("ait_ads")
    assert rejects == []
    assert (aminer.label, wazuh.label) == ("false_positive", "wpscan")
    assert (aminer.timestamp.timestamp(), wazuh.timestamp.timestamp()) == (1642600000, 1642508291)
    assert wazuh.text == json.dumps(WAZUH)


def test_json_alerts_get_the_exact_label_where_the_table_is_there(put, labelled):
    put("fox_wazuh.json", "".join(json.dumps(WAZUH | {"agent": {"ip": ip}}) + "\n" for ip in ("10.0.0.5", "10.0.0.9")))
    put("alerts_csv/fox_alerts.csv", HEAD + "1642508291,Wazuh: Web 400.,10.0.0.5,intranet,W,wpscan,webshell_cmd\n")
    events, _ = labelled("ait_ads")
    assert [one.label for one in events] == ["webshell_cmd", "normal"]
