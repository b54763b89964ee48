import json
import os
from datetime import UTC, datetime

import orjson
import pytest

WINDOWS = {
    "EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": "WS5", "User": "CORP\\jane",
    "Image": "C:\\Windows\\cmd.exe", "UtcTime": "2020-10-12 22:32:48.932", "EventTime": "2020-10-12 18:32:48",
    "@timestamp": "2020-10-12T22:32:50Z",
}  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_windows_json_lines(write, read):
    text = json.dumps(WINDOWS)
    (event,), rejects = read(write("a.json", text + "\r\n"))
    assert rejects == []
    assert (event.text, event.offset, event.fields) == (text, 0, None)
    assert (event.source, event.host, event.user, event.process, event.log_type) == (
        "windows", "WS5", "CORP\\jane", "C:\\Windows\\cmd.exe", "Microsoft-Windows-Sysmon/Operational",
    )  # fmt: skip
    assert event.timestamp == at("2020-10-12T22:32:48.932")


def test_winlogbeat(write, read):
    record = {
        "@timestamp": "2023-01-31T18:02:52.597Z",
        "winlog": {"channel": "Security", "computer_name": "dc1", "event_data": {"SubjectUserName": "bob"}},
    }
    (event,), _ = read(write("a.ndjson", json.dumps(record)))
    assert (event.source, event.host, event.user, event.log_type) == ("windows", "dc1", "bob", "Security")
    assert event.timestamp == at("2023-01-31T18:02:52.597")


def test_json_of_any_schema(write, read):
    (event,), _ = read(
        write(
            "app/a.log", '{"msg": "hi", "time": 1700000000, "hostname": "h", "username": "u", "type": "t"}\n'
        ).parent.parent
    )
    assert (event.source, event.host, event.user, event.log_type) == ("app", "h", "u", "t")
    assert event.timestamp == at("2023-11-14T22:13:20")


@pytest.mark.parametrize("layout", ["compact", "printed", "wrapped", "wrapped_printed", "objects"])
def test_json_documents(write, read, layout):
    records = [
        {"eventTime": f"2024-07-31T14:23:4{n}Z", "eventSource": "s3", "eventName": 'x "],}{[ \\', "n": {"k": [n]}}
        for n in range(5)
    ]
    indent = 2 if "printed" in layout or layout == "objects" else None
    if layout == "objects":
        content = "\n".join(json.dumps(record, indent=2) for record in records)
    else:
        content = json.dumps({"Records": records} if "wrapped" in layout else records, indent=indent)
    path = write("trail.json", content)
    events, rejects = read(path)
    assert rejects == []
    assert [orjson.loads(one.text) for one in events] == records
    assert all("\n" not in one.text for one in events)
    assert {one.source for one in events} == {"cloudtrail"}
    raw = path.read_bytes()
    decoder = json.JSONDecoder()
    assert [decoder.raw_decode(raw[one.offset :].decode())[0] for one in events] == records


def test_a_long_json_array_is_streamed_over_chunks(write, read):
    records = [{"time": 1700000000 + n, "pad": "x" * 500, "n": n} for n in range(3000)]
    events, rejects = read(write("a.json", json.dumps(records)))
    assert rejects == []
    assert [orjson.loads(one.text)["n"] for one in events] == list(range(3000))


def test_a_broken_element_of_an_array_is_rejected_and_the_rest_read(write, read):
    content = '[{"a": 1},\n{"a": oops},\n{"a": 3}]'
    events, (reject,) = read(write("a.json", content))
    assert [one.text for one in events] == ['{"a": 1}', '{"a": 3}']
    assert (reject.reason, reject.offset) == ("malformed JSON", content.index('{"a": oops'))


def test_utf16_json_lines_and_arrays(write, read):
    records = [{"EventTime": "2020-01-01 00:00:00", "EventID": 1, "Channel": "Security", "Hostname": "hé😀"}] * 3
    lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in records).encode("utf-16")
    array = json.dumps(records, indent=1, ensure_ascii=False).encode("utf-16")
    for name, data in (("lines.json", lines), ("array.json", array)):
        events, rejects = read(write(name, data))
        assert rejects == []
        assert [one.host for one in events] == ["hé😀"] * 3
        assert all(data[one.offset : one.offset + 2] == "{".encode("utf-16-le") for one in events)


def test_syslog_3164_takes_the_year_from_the_file(write, read):
    path = write("auth.log", ["Dec 31 23:59:59 web1 sshd[42]: Failed password for root from 10.0.0.1 port 22 ssh2",
                              "<34>Jan  2 03:04:05 web1 su: 'su root' failed"])  # fmt: skip
    os.utime(path, (at("2021-01-03T00:00:00").timestamp(),) * 2)
    first, second = read(path)[0]
    assert first.text == "Dec 31 23:59:59 web1 sshd[42]: Failed password for root from 10.0.0.1 port 22 ssh2"
    assert (first.host, first.process, first.log_type) == ("web1", "sshd", "syslog")
    assert (first.timestamp, second.timestamp) == (at("2020-12-31T23:59:59"), at("2021-01-02T03:04:05"))
    assert orjson.loads(first.fields) == {
        "pid": "42", "message": "Failed password for root from 10.0.0.1 port 22 ssh2",
    }  # fmt: skip


def test_syslog_5424_with_a_json_message(write, read):
    line = '<14>1 2021-03-06T04:07:38.251280+00:00 gw app 7 ID [x@1 k="v"] {"user": {"name": "eve"}, "n": 1}'
    (event,), _ = read(write("a.log", line))
    assert (event.host, event.process, event.user) == ("gw", "app", "eve")
    assert event.timestamp == at("2021-03-06T04:07:38.251280")
    assert orjson.loads(event.fields)["message"] == {"user": {"name": "eve"}, "n": 1}


def test_access_log(write, read):
    line = '10.0.0.9 - bob [10/Oct/2000:13:55:36 -0700] "GET /a.gif?q=1 HTTP/1.0" 200 2326 "http://x/" "Mozilla/4.08"'
    (event,), _ = read(write("a.log", line))
    assert (event.source, event.host, event.user, event.log_type) == ("web", "10.0.0.9", "bob", "access")
    assert event.timestamp == at("2000-10-10T20:55:36")
    fields = orjson.loads(event.fields)
    assert (fields["method"], fields["path"], fields["status"]) == ("GET", "/a.gif?q=1", "200")


def test_auditd_records_are_joined_by_serial(write, read):
    lines = [
        'type=SYSCALL msg=audit(1615150974.493:21028): arch=c000003e syscall=59 success=yes auid=1000 exe="/bin/echo"',
        'type=SYSCALL msg=audit(1615150975.000:21029): arch=c000003e syscall=42 success=no uid=33 exe="/usr/bin/nc"',
        'type=EXECVE msg=audit(1615150974.493:21028): argc=2 a0="echo" a1=68656C6C6F20776F726C64',
    ]
    path = write("audit.log", lines)
    first, second = read(path)[0]
    assert first.text == f"{lines[0]}\n{lines[2]}"
    assert (first.offset, second.offset) == (0, len(lines[0]) + 1)
    assert (first.process, first.user, first.log_type) == ("/bin/echo", "1000", "SYSCALL")
    assert first.timestamp == at("2021-03-07T21:02:54.493")
    fields = orjson.loads(first.fields)
    assert (fields["type"], fields["execve.a1"]) == ("SYSCALL,EXECVE", "hello world")


ZEEK = "\n".join([
    "#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", "#path\tdns",
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tquery\tAA\tanswers\trtt",
    "#types\ttime\tstring\taddr\tport\tstring\tbool\tvector[string]\tinterval",
    "1521911721.255387\tC1\t10.0.0.5\t53\texample.org\tT\ta,b\t-", "#close\t2018-03-24",
])  # fmt: skip


def test_zeek_tsv_becomes_what_zeek_writes_as_json(write, read):
    (event,), _ = read(write("dns.log", ZEEK))
    assert orjson.loads(event.text) == {
        "ts": 1521911721.255387, "uid": "C1", "id.orig_h": "10.0.0.5", "id.orig_p": 53, "query": "example.org",
        "AA": True, "answers": ["a", "b"],
    }  # fmt: skip
    assert (event.source, event.log_type, event.host) == ("zeek", "dns", "10.0.0.5")
    assert event.offset == ZEEK.index("1521911721")
    assert event.timestamp == at("2018-03-24T17:15:21.255387")


def test_csv_rows_carry_their_column_names_and_offsets(write, read):
    content = 'time,host,message\n1700000000,h1,"two\nlines, quoted"\n1700000001,h2,plain\n'
    first, second = read(write("a.csv", content))[0]
    assert orjson.loads(first.text) == {"time": "1700000000", "host": "h1", "message": "two\nlines, quoted"}
    assert (first.offset, second.offset) == (content.index("1700000000"), content.index("1700000001"))
    assert (first.host, first.timestamp) == ("h1", at("2023-11-14T22:13:20"))


def test_w3c(write, read):
    lines = ["#Software: Microsoft Internet Information Services 10.0", "#Fields: date time c-ip cs-method cs-username",
             "2021-04-01 00:00:21 10.0.0.1 GET -", "broken row"]  # fmt: skip
    (event,), (reject,) = read(write("iis.log", lines), timezone="Europe/Warsaw")
    assert orjson.loads(event.text) == {
        "date": "2021-04-01",
        "time": "00:00:21",
        "c-ip": "10.0.0.1",
        "cs-method": "GET",
    }
    assert (event.source, event.timestamp) == ("iis", at("2021-04-01T00:00:21"))
    assert reject.reason == "row and #Fields differ in their number of columns"


def test_cef(write, read):
    extension = "rt=1700000000000 dvchost=fw1 suser=eve msg=a b c cs1Label=Rule cs1=No Entry"
    text = f"CEF:0|ACME|Gate\\|way|1|100|Denied|5|{extension}"
    (event,), _ = read(write("a.log", text))
    assert (event.host, event.user, event.log_type) == ("fw1", "eve", "ACME Gate\\|way")
    assert event.timestamp == at("2023-11-14T22:13:20")
    fields = orjson.loads(event.fields)
    assert (fields["message"]["msg"], fields["message"]["Rule"], fields["severity"]) == ("a b c", "No Entry", "5")


@pytest.mark.parametrize(
    "text", ["CEF:0|A|B|1|2|n|3|", "CEF:0|A|B|1|2|n|3|no pairs here", "CEF:0|", "LEEF:2.0|A|B|1|2|", "LEEF:1.0|"]
)
def test_cef_and_leef_that_are_cut_short(write, read, text):
    events, rejects = read(write("a.log", [text, "CEF:0|A|B|1|2|n|3|suser=eve"]))
    assert [one.text for one in events] == [text, "CEF:0|A|B|1|2|n|3|suser=eve"]
    assert events[1].user == "eve"
    assert rejects == []


def test_leef_behind_a_syslog_header(write, read):
    text = "LEEF:1.0|ACME|Mail|4|15345|src=192.0.2.0\tusrName=joe.black\tdevTime=2023-11-14T22:13:20Z"
    (event,), _ = read(write("a.log", f"<13>Oct  1 00:00:00 relay {text}"))
    assert (event.user, event.log_type) == ("joe.black", "ACME Mail")
    assert event.timestamp == at("2023-11-14T22:13:20")


def test_key_value_pairs(write, read):
    line = 'date=2022-03-11 time=15:01:22 devname="FG 1" devid=X user=alice action=deny'
    (event,), _ = read(write("fw.log", line))
    assert (event.user, event.timestamp) == ("alice", at("2022-03-11T15:01:22"))
    assert orjson.loads(event.fields)["devname"] == "FG 1"


XML = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><EventID>4624</EventID>"
    "<TimeCreated SystemTime='2021-05-03T08:00:00.5Z'/><Computer>dc1</Computer><Channel>Security</Channel></System>\n"
    "<EventData><Data Name='TargetUserName'>bob</Data></EventData></Event>"
)


def test_windows_xml_over_several_lines(write, read):
    path = write("a.xml", f"<Events>\n{XML}\n{XML}</Events>")
    first, second = read(path)[0]
    assert (first.host, first.user, first.log_type, first.source) == ("dc1", "bob", "Security", "windows")
    assert first.timestamp == at("2021-05-03T08:00:00.5")
    raw = path.read_bytes()
    assert [raw[one.offset : one.offset + 6] for one in (first, second)] == [b"<Event"] * 2


def test_xml_with_a_document_type_is_refused(write, read):
    bomb = XML.replace("<System>", '<!DOCTYPE x [<!ENTITY a "b">]><System>')
    _, rejects = read(write("a.xml", bomb))
    assert [one.reason for one in rejects] == ["malformed XML"]


def test_stack_traces_belong_to_their_record(write, read):
    lines = ["2015-10-18 18:01:47,978 ERROR [main] org.a.B: boom", "java.lang.X: y", "\tat org.a.B.c(B.java:1)",
             "2015-10-18 18:01:48,000 INFO [main] org.a.B: on"]  # fmt: skip
    first, second = read(write("a.log", lines))[0]
    assert first.text == "\n".join(lines[:3])
    assert (second.text, second.offset) == (lines[3], sum(len(line) + 1 for line in lines[:3]))


def test_lines_of_another_format_in_a_file_are_read_by_that_format(write, read):
    lines = ["Jun 14 15:16:01 h sshd[1]: a"] * 5 + ['{"k": 1} trailing', "[Sat Jun 01 02:17:42 2013] [error] x"]
    events, rejects = read(write("a.log", lines))
    assert [one.text for one in events] == lines
    assert rejects == []
    assert (events[-1].source, events[-1].timestamp) == ("web", at("2013-06-01T02:17:42"))


def test_activitywatch_export(write, read):
    buckets = {
        "window": {"id": "window", "hostname": "laptop", "type": "currentwindow", "events": [
            {"timestamp": "2024-01-01T10:00:00Z", "duration": 5, "data": {"app": "Firefox", "title": "a ] } {"}},
            {"timestamp": "2024-01-01T10:00:05Z", "duration": 1, "data": {"app": "Code"}}]},
        "afk": {"id": "afk", "hostname": "desk", "type": "afkstatus", "events": []},
        "web": {"id": "web", "hostname": "desk", "type": "web.tab", "events": [
            {"timestamp": "2024-01-01T11:00:00Z", "duration": 2, "data": {"url": "http://x/"}}]},
    }  # fmt: skip
    for indent in (None, 1):
        path = write("aw.json", json.dumps({"buckets": buckets}, indent=indent))
        events, rejects = read(path)
        assert rejects == []
        assert [(one.host, one.log_type, one.process, one.source) for one in events] == [
            ("laptop", "currentwindow", "Firefox", "activitywatch"),
            ("laptop", "currentwindow", "Code", "activitywatch"),
            ("desk", "web.tab", "http://x/", "activitywatch"),
        ]  # fmt: skip
        raw = path.read_text()
        assert [json.JSONDecoder().raw_decode(raw[one.offset :])[0] for one in events] == [
            *buckets["window"]["events"], *buckets["web"]["events"],
        ]  # fmt: skip


@pytest.mark.parametrize("kind", ["pcap", "pcapng"])
def test_packet_captures(write, read, kind):
    dpkt = pytest.importorskip("dpkt")
    import io

    def packet(inner, proto):
        ip = dpkt.ip.IP(src=b"\x0a\0\0\1", dst=b"\x0a\0\0\2", p=proto, data=inner)
        return bytes(dpkt.ethernet.Ethernet(data=ip, type=dpkt.ethernet.ETH_TYPE_IP))

    query = dpkt.dns.DNS(id=1, qd=[dpkt.dns.DNS.Q(name="evil.example", type=1)])
    request = b"GET /a?b=c HTTP/1.1\r\nHost: x.example\r\nUser-Agent: curl/8\r\n\r\n"
    packets = [
        packet(dpkt.udp.UDP(sport=5000, dport=53, data=bytes(query)), dpkt.ip.IP_PROTO_UDP),
        packet(dpkt.tcp.TCP(sport=5001, dport=80, flags=0x18, data=request), dpkt.ip.IP_PROTO_TCP),
        b"\x00\x01\x02",
    ]
    out = io.BytesIO()
    writer = dpkt.pcap.Writer(out) if kind == "pcap" else dpkt.pcapng.Writer(out)
    for number, data in enumerate(packets):
        writer.writepkt(data, ts=1700000000 + number)
    path = write("a.cap", out.getvalue())
    events, rejects = read(path)
    assert rejects == []
    first, second, third = (orjson.loads(one.text) for one in events)
    assert (first["proto"], first["dport"], first["names"]) == ("udp", 53, ["evil.example"])
    assert (second["flags"], second["http"], second["user_agent"]) == ("PA", "GET /a?b=c HTTP/1.1", "curl/8")
    assert third["proto"] == "malformed"
    assert events[0].host == "10.0.0.1"
    assert events[1].timestamp == at("2023-11-14T22:13:21")
    if kind == "pcap":
        raw = path.read_bytes()
        assert [raw[one.offset + 16 :].startswith(data) for one, data in zip(events, packets, strict=True)] == [
            True
        ] * 3
    for missing in (1, 2, 3):
        cut, faults = read(write("cut.cap", out.getvalue()[:-missing]))
        assert [one.text for one in cut] == [one.text for one in events[:2]]
        assert [one.offset for one in faults] == [events[2].offset]


def test_plain_text(write, read):
    events, rejects = read(write("notes.txt", ["hello world", "", "at 2020-01-01 00:00:00 it ended"]))
    assert [one.text for one in events] == ["hello world", "at 2020-01-01 00:00:00 it ended"]
    assert [one.timestamp for one in events] == [None, at("2020-01-01T00:00:00")]
    assert rejects == []


def test_evtx_offsets_lead_to_record_headers(shared_data, read):
    path = shared_data / "evtx_attack_samples/raw_examples/exec_msxsl_xsl_sysmon_1_7.evtx"
    events, rejects = read(path)
    raw = path.read_bytes()
    assert rejects == []
    assert len(events) == 3
    assert all(raw[one.offset : one.offset + 4] == b"\x2a\x2a\x00\x00" for one in events)
    assert len({one.offset for one in events}) == 3
    assert all(one.host and one.timestamp and orjson.loads(one.text)["Event"]["System"] for one in events)


def test_truncated_evtx(shared_data, tmp_path, read):
    raw = (shared_data / "evtx_attack_samples/raw_examples/CA_DCSync_4662.evtx").read_bytes()
    cut = tmp_path / "cut.evtx"
    cut.write_bytes(raw[:3000])
    events, rejects = read(cut)
    assert events == []
    assert len(rejects) == 1
    assert rejects[0].reason.startswith("damaged EVTX")


def test_xml_elements_of_any_schema(write, read):
    one_line = '<?xml version="1.0"?> <EPOEvent><Info><MachineName>PC1</MachineName><UserName>bob</UserName></Info>'
    one_line += "<Event><GMTTime>2024-12-20T15:35:05</GMTTime><ID>1</ID></Event></EPOEvent>"
    several = one_line.replace("><", ">\n  <").replace("?> <", "?>\n<")
    path = write("a.log", f"{one_line}\n{several}\n")
    (first, second), rejects = read(path)
    assert rejects == []
    assert [(one.host, one.user, one.timestamp) for one in (first, second)] == [
        ("PC1", "bob", at("2024-12-20T15:35:05"))
    ] * 2
    assert (first.text, first.log_type) == (one_line, "EPOEvent")
    assert "\n" not in second.text
    assert second.offset == len(one_line) + 1
    assert orjson.loads(second.fields) == orjson.loads(first.fields)


def test_xml_elements_with_a_document_type_are_refused(write, read):
    good = '<co ts="2014-06-02T22:02:13.94" us="bob"/>'
    events, rejects = read(write("a.log", [good, '<!DOCTYPE x [<!ENTITY a "b">]><co ts="1"/>', good]))
    assert [one.timestamp for one in events] == [at("2014-06-02T22:02:13.940")] * 2
    assert [one.reason for one in rejects] == ["malformed XML"]


def test_symantec_times_are_bytes_in_hexadecimal(write, read):
    line = '2A0A1E011B21,7,3,8,HOST1,SYSTEM,,,,,,,16777216,"New virus definition file loaded.",0'
    (event,), _ = read(write("av.log", [line]))
    assert (event.timestamp, event.host, event.user, event.text) == (at("2012-11-30T01:27:33"), "HOST1", "SYSTEM", line)
    assert orjson.loads(event.fields)["description"] == "New virus definition file loaded."


def test_snort_full_alerts_are_one_event_each(write, read):
    alert = (
        "[**] [1:469:3] ICMP PING NMAP [**]\n[Classification: Attempted Information Leak] [Priority: 2] \n"
        "10/16-17:20:06.123456 192.168.0.5 -> 192.168.0.9\nICMP TTL:43 TOS:0x0 ID:61822 IpLen:20 DgmLen:28\n"
    )
    events, rejects = read(write("alert.full", f"{alert}\n{alert}\n"), year=2023)
    assert rejects == []
    assert [(one.timestamp, one.host, one.source) for one in events] == [
        (at("2023-10-16T17:20:06.123456"), "192.168.0.5", "snort")
    ] * 2
    assert orjson.loads(events[0].fields)["rule"] == "1:469:3"


def test_an_argument_that_was_too_long_for_one_audit_record_is_joined(write, read):
    lines = [
        "type=EXECVE msg=audit(1615150974.493:7): argc=2 a0=6C73 a1_len=6 a1[0]=616263",
        "type=EXECVE msg=audit(1615150974.493:7): a1[1]=646566",
    ]
    (event,), _ = read(write("audit.log", lines))
    fields = orjson.loads(event.fields)
    assert (fields["execve.a0"], fields["execve.a1"]) == ("ls", "abcdef")


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ('date=2025-05-02 time=10:51:55 eventtime=1746175915421843994 tz="+0200" a=b', "2025-05-02T08:51:55.421843"),
        ('date=2025-05-02 time=10:51:55 tz="+0200" type="utm" subtype="ips"', "2025-05-02T08:51:55"),
        ('date=2025-05-02 time=10:51:55 type="utm" subtype="ips"', "2025-05-02T10:51:55"),
        ("id=firewall time=2025-10-29 09:56:16 fw=GW1 tz=+0100 security=0 system=0", "2025-10-29T08:56:16"),
        ("CEF:0|V|P|1|2|n|3|rt=Mar 06 2025 13:38:52 eventtime=1741264732 x=y", "2025-03-06T12:38:52"),
        ("0|V|P|1|2|n|3|x=y SomethingDetectionTime=2024-05-15T09:06:52.000Z z=1", "2024-05-15T09:06:52"),
        ('<![LOG[m]LOG]!><time="20:37:41.047-330" date="12-29-2014" component="c" context="" type="1" thread="4" f="">',
         "2014-12-29T15:07:41.047"),
        ('{"Received": "/Date(1658751973240)/", "x": 1}', "2022-07-25T12:26:13.240"),
        ('{"date": "2024-07-17", "time": "09:08:27", "x": 1}', "2024-07-17T09:08:27"),
    ],
)  # fmt: skip
def test_times_by_the_rules_of_their_format(write, read, line, moment):
    (event,), _ = read(write("a.log", [line]))
    assert event.timestamp == at(moment)


def test_json_lines_among_lines_of_another_format(write, read):
    lines = ["Jun 14 15:16:01 h sshd[1]: a"] * 4 + ['{"time": 1700000000, "host": "web1"}']
    events, _ = read(write("a.log", lines))
    assert (events[-1].host, events[-1].timestamp) == ("web1", at("2023-11-14T22:13:20"))


def test_json_lines_behind_a_byte_order_mark_and_the_cookie_of_syslog(write, read):
    line = '\ufeff@cee: {"timestamp": "2022-12-13T06:25:56+01:00", "user": "bob"}'
    events, rejects = read(write("a.log", [line] * 3))
    assert rejects == []
    assert {(one.user, one.timestamp) for one in events} == {("bob", at("2022-12-13T05:25:56"))}


def test_a_user_name_with_a_space_in_an_access_log(write, read):
    line = '192.168.1.100 - john doe [15/Jan/2024:14:30:25 +0100] "GET /a HTTP/1.1" 200 2048 "-" "curl/8"'
    (event,), _ = read(write("a.log", [line]))
    assert (event.host, event.user) == ("192.168.1.100", "john doe")
