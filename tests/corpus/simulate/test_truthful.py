"""What the records say: nothing of the truth, nothing that contradicts itself or that no product would write."""

import ipaddress
import json
import re
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.events import Event
from logfm.corpus.read import read_events
from logfm.corpus.simulate import load_scenarios, simulate_sessions
from logfm.corpus.simulate.network import Resolvers, conversation
from logfm.corpus.simulate.planning import plan
from logfm.corpus.simulate.playing import Player
from logfm.corpus.simulate.records import Record, Truth, ttl_of
from logfm.corpus.simulate.session import all_routines, play_session
from logfm.corpus.simulate.sources_of import NUMBER
from logfm.corpus.simulate.templates import Routine
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import make_world, stream

SETTINGS = {"seed": 13, "sessions": 22, "attacks": 11, "minutes": 12, "events": 1100, "hosts": 6, "days": 14}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each scenario once, and as many sessions without one."""
    out = tmp_path_factory.mktemp("truthful") / "made"
    simulate_sessions(SessionsConfig(**SETTINGS), out, workers=1)
    return out


@pytest.fixture(scope="module")
def found(made: Path) -> list[tuple[dict[str, Any], str]]:
    """The rows of the truth with the texts of their events."""
    rows = {row["event_id"]: row for row in pq.read_table(made / "truth.parquet").to_pylist()}
    return [(rows[one.event_id], one.text) for one in read_events([made / "logs"]) if isinstance(one, Event)]


@pytest.fixture(scope="module")
def windows(found: list[tuple[dict[str, Any], str]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows and fields of the Windows events."""
    return [(row, json.loads(text)) for row, text in found if row["file"].startswith("windows/")]


def test_no_log_names_a_technique(found: list[tuple[dict[str, Any], str]]) -> None:
    assert not [text for _, text in found if re.search(r"\bT1\d{3}\b", text)]


def test_a_changed_time_of_creation_is_a_time_before_the_event(
    windows: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    changed = [one for _, one in windows if one["EventID"] == 2]
    assert changed
    for one in changed:
        assert one["CreationUtcTime"] < one["PreviousCreationUtcTime"] < one["UtcTime"]
        assert all(re.fullmatch(r"\d{4}-[01]\d-[0-3]\d [0-2]\d(:[0-5]\d){2}\.\d{3}", one[name])
                   for name in ("CreationUtcTime", "PreviousCreationUtcTime"))  # fmt: skip
        assert one["PreviousCreationUtcTime"][:7] == one["UtcTime"][:7]


def test_who_acts_by_sysmon_is_a_process_that_is_there(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    started: dict[tuple[str, str], str] = {}
    acted = 0
    for row, one in windows:
        if row["label"] == "attack" and one["EventID"] == 1:
            started[row["session"], one["ProcessGuid"]] = one["Image"]
        if row["label"] == "attack" and one["EventID"] in (2, 8, 24):
            guid = one.get("ProcessGuid") or one["SourceProcessGuid"]
            assert started[row["session"], guid] == (one.get("Image") or one["SourceImage"])
            acted += 1
    assert acted


def test_every_event_of_sysmon_has_its_time(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    routine = next(one for one in all_routines() if one.name == "pipes_and_files")
    world = make_world(13, 6)
    rng = stream(0)
    cast = Cast(world, rng, values=routine.values)
    player = Player(world, rng, cast, 1_741_000_000_000_000, wide=True)
    for variant in routine.variants:
        player.play(variant)
    played = [record.body for record in player.records if isinstance(record.body, dict)]
    assert {one["EventID"] for one in played} == {9, 17, 18, 23}
    for one in [*played, *(one for _, one in windows)]:
        if one["Channel"].startswith("Microsoft-Windows-Sysmon"):
            assert one["UtcTime"] == one["@timestamp"][:-1].replace("T", " ")
            assert one["RuleName"] in ("-", "Usermode")


def _addresses(row: dict[str, Any], text: str) -> list[str]:
    """What stands where a record holds addresses."""
    file = row["file"].rsplit("/", 1)[1]
    if file == "firewall.log":
        return re.findall(r"(?:SRC|DST)=(\S*)", text)
    if file == "packets.json":
        return [json.loads(text)["layers"]["ip"][f"ip_ip_{end}"] for end in ("src", "dst")]
    if file == "dns.log":
        one = json.loads(text)
        answers = one.get("answers") or [] if one["qtype_name"] == "A" else []
        return [one["id.orig_h"], one["id.resp_h"], *answers]
    if file == "events.json":
        one = json.loads(text)
        found = [one[name] for name in ("SourceIp", "DestinationIp", "SourceAddress", "DestAddress") if name in one]
        found += [one["IpAddress"]] if one.get("IpAddress", "-") != "-" else []
        return found + re.findall(r"[^;]+", one.get("QueryResults", ""))
    if file == "mail.log":
        return re.findall(r"[a-z]\[([^\]/]*)\](?::25)?[,\s]", text.split(": ", 1)[1] + " ")
    return []


def test_addresses_are_addresses(found: list[tuple[dict[str, Any], str]]) -> None:
    checked = 0
    for row, text in found:
        for address in _addresses(row, text):
            ipaddress.ip_address(address)
            checked += 1
    assert checked > 10_000


def test_a_name_has_one_address(found: list[tuple[dict[str, Any], str]]) -> None:
    asked: dict[str, set[str]] = defaultdict(set)
    for row, text in found:
        if row["file"].endswith("dns.log"):
            one = json.loads(text)
            if one["qtype_name"] == "A" and one.get("answers"):
                asked[one["query"]] |= set(one["answers"])
    assert any("sharepoint" in name for name in asked)
    assert all(len(addresses) == 1 for addresses in asked.values())


def test_cloud_calls_of_both_classes_have_the_same_people_places_and_tools(
    found: list[tuple[dict[str, Any], str]],
) -> None:
    seen: dict[str, list[tuple[str, str, str]]] = {"attack": [], "benign": []}
    for row, text in found:
        if row["file"].endswith("cloudtrail.json"):
            one = json.loads(text)
            tool = re.sub(r"\d+", "0", one["userAgent"])
            seen[row["label"]].append((one["userIdentity"]["userName"], one["sourceIPAddress"], tool))
    assert seen["attack"]
    people, places, tools = ({one[at] for one in seen["benign"]} for at in range(3))
    assert {one[0] for one in seen["attack"]} <= people
    assert {one[2] for one in seen["attack"]} <= tools and len(tools) >= 3
    # From outside too, in many sessions.
    assert len(places) > 3


def test_mail_within_the_company_does_not_leave_it(found: list[tuple[dict[str, Any], str]]) -> None:
    labels = set()
    for row, text in found:
        if row["file"].endswith("mail.log") and (to := re.search(r": to=<[^>]*@([^>]+)>, relay=(\S+?)\[", text)):
            ours = to[1] == f"{make_world(13, 6).company}.example"
            assert ours == ("/lmtp[" in text) == (to[2] == "mail01")
            labels |= {row["label"]} if ours else set()
    assert labels == {"attack", "benign"}


def test_the_firewall_drops_what_knocks(found: list[tuple[dict[str, Any], str]]) -> None:
    lines = [text for row, text in found if row["file"].endswith("firewall.log")]
    assert any("FW-DROP IN=eth0" in text and "DPT=23 " in text for text in lines)
    assert any("FW-ACCEPT" in text for text in lines)


def test_a_query_has_one_port_and_number_in_both_sources(found: list[tuple[dict[str, Any], str]]) -> None:
    asked, seen = set(), set()
    said: dict[str, set[str]] = defaultdict(set)
    for row, text in found:
        if row["file"].endswith("dns.log"):
            one = json.loads(text)
            asked.add((row["session"], one["id.orig_h"], int(one["id.orig_p"]), int(one["trans_id"])))
        elif row["file"].endswith("packets.json") and '"Standard query 0x' in text:
            layers = json.loads(text)["layers"]
            number = int(layers["_ws_col"]["_ws_col_info"].split()[2], 16)
            seen.add((row["session"], layers["ip"]["ip_ip_src"], int(layers["udp"]["udp_udp_srcport"]), number))
        elif row["file"].endswith("packets.json") and "Standard query response" in text:
            info = json.loads(text)["layers"]["_ws_col"]["_ws_col_info"].split(" ", 4)
            said[info[3].removeprefix("0x")].add(info[4])
    assert asked == seen
    for row, text in found:
        if row["file"].endswith("dns.log"):
            one = json.loads(text)
            wrong = ["No such name" in reply for reply in said[f"{int(one['trans_id']):04x}"] if one["query"] in reply]
            assert not wrong or (one["rcode_name"] == "NXDOMAIN") in wrong


def test_no_frame_is_larger_than_a_packet_can_be(found: list[tuple[dict[str, Any], str]]) -> None:
    sizes = [int(json.loads(text)["layers"]["frame"]["frame_frame_len"]) for row, text in found
             if row["file"].endswith("packets.json")]  # fmt: skip
    assert max(sizes) <= 65_535 and sum(size > 1514 for size in sizes) > 10


@pytest.mark.parametrize(("port", "greeted"), [(443, (529 + 6, 1460)), (80, (146 + 6, 0)), (22, (0, 0))])
def test_the_last_packet_counts_all_bytes(port: int, greeted: tuple[int, int]) -> None:
    for volume in ((90, 26_214_400), (1_200, 8_000), (400_000, 1)):
        ends = ("10.0.0.1", "198.18.0.1", 50_000, port)
        lines = [line for _, line in conversation(stream(1), 0, ends, "a.test", volume, "tcp")]
        seq, ack = map(int, re.search(r"FIN, ACK\] Seq=(\d+) Ack=(\d+)", lines[-1]).groups())
        assert (seq - 1, ack - 1) == tuple(sum(one) for one in zip(greeted, volume, strict=True))
        first, answer, last = (json.loads(lines[at].replace(NUMBER, "1"))["layers"]["tcp"] for at in (0, 1, -1))
        for name, begin, count in (("seq", first, seq), ("ack", answer, ack)):
            raw = int(last[f"tcp_tcp_{name}_raw"]) - int(begin["tcp_tcp_seq_raw"])
            assert raw % (1 << 32) == count and first["tcp_tcp_ack_raw"] == "0"


def test_a_client_asks_again_only_when_the_answer_is_old(found: list[tuple[dict[str, Any], str]]) -> None:
    asked: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row, text in found:
        if row["file"].endswith("dns.log") and "sharepoint" in text:
            one = json.loads(text)
            assert one["TTLs"] == [ttl_of(one["query"])]
            asked[row["session"], one["id.orig_h"]].append(float(one["ts"]))
    ttl = ttl_of(f"{make_world(13, 6).company}.sharepoint.example")
    assert len(asked) > 3
    assert all(later - time >= ttl for times in asked.values() for time, later in pairwise(sorted(times)))


def test_windows_tells_each_time_that_a_program_wants_a_name() -> None:
    event = {"event": "network", "by": "browser", "to": "{domain}", "repeat": [4, 4], "after": [1, 1]}
    routine = Routine.model_validate({"name": "ask", "source": "windows", "variants": [[event]]})
    world = make_world(13, 6)
    player = Player(world, stream(0), Cast(world, stream(0)), 1_741_000_000_000_000, wide=True)
    player.play(routine.variants[0])
    resolvers = Resolvers()
    kept = [one for one in sorted(player.records, key=lambda one: one.time) if resolvers.ask(one)]
    assert sum(isinstance(one.body, dict) and one.body["EventID"] == 22 for one in kept) == 4
    assert sum(one.file == "dns/dns.log" for one in kept) == 1
    assert sum("Standard query" in str(one.body) for one in kept) == 2


def test_records_of_a_query_come_and_go_together() -> None:
    def query(time: int, number: int, file: str) -> Record:
        return Record(time, file, "", Truth(), ("10.0.0.1/a.example", number))

    times = [0, 1, ttl_of("a.example") * 1_000_000 - 1, ttl_of("a.example") * 1_000_000]
    records = [query(time, number, file) for number, time in enumerate(times) for file in ("dns", "packets")]
    resolvers = Resolvers()
    assert [one.time for one in records if resolvers.ask(one)] == [times[0]] * 2 + [times[-1]] * 2


def test_a_logon_and_what_is_run_by_it_share_an_id(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    logons: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    joined = 0
    for row, one in windows:
        if one["EventID"] == 4624 and row["scenario"]:
            logons[row["session"], one["Hostname"], one["TargetUserName"]].append(one["TargetLogonId"])
        if one["EventID"] == 1 and row["scenario"]:
            user = one["User"].rpartition("\\")[2]
            if known := logons.get((row["session"], one["Hostname"], user)):
                assert one["LogonId"] in known
                joined += 1
    assert joined > 5


def test_an_account_has_one_key(found: list[tuple[dict[str, Any], str]]) -> None:
    keys: dict[str, set[str]] = defaultdict(set)
    for row, text in found:
        one = json.loads(text) if row["file"].startswith("cloud/") else {}
        if "userIdentity" in one:
            keys[one["userIdentity"]["userName"]] |= {one["userIdentity"]["accessKeyId"]}
        elif "UserKey" in one:
            keys[one["UserId"]] |= {one["UserKey"]}
    assert len(keys) > 4 and all(len(known) == 1 for known in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


def test_who_leaves_the_vpn_has_come_by_the_same_port() -> None:
    world = make_world(13, 6)
    travel = next(one for one in all_routines() if one.name == "travel")
    left = 0
    for number in range(20):
        rng = stream(number)
        player = Player(world, rng, Cast(world, rng), 1_741_000_000_000_000, wide=True)
        player.play(travel.variants[0])
        texts = [str(record.body) for record in player.records]
        peers = {peer for text in texts for peer in re.findall(r"\d+\.\d+\.\d+\.\d+:\d+", text) if "openvpn" in text}
        assert len(peers) == 1
        address, port = peers.pop().split(":")
        packets = [json.loads(text.replace(NUMBER, "0"))["layers"] for text in texts if '_dstport":"1194"' in text]
        assert packets
        assert {(one["ip"]["ip_ip_src"], one["udp"]["udp_udp_srcport"]) for one in packets} == {(address, port)}
        left += any("remote-exit" in text for text in texts)
    assert left > 5


def test_mail_goes_to_a_server_that_is_there(found: list[tuple[dict[str, Any], str]]) -> None:
    world = make_world(13, 6)
    submitted = {json.loads(text)["layers"]["ip"]["ip_ip_dst"] for row, text in found
                 if row["file"].endswith("packets.json") and '_dstport":"465"' in text}  # fmt: skip
    assert submitted == {world.hosts["mail01"].address, world.surroundings["egress"]}
    relays = {re.split(r"[\[\]]", text)[-2] for row, text in found
              if row["file"].endswith("mail.log") and "client=" in text and "sasl" not in text}  # fmt: skip
    senders = {json.loads(text)["layers"]["ip"]["ip_ip_src"] for row, text in found
               if row["file"].endswith("packets.json") and '_dstport":"25"' in text}  # fmt: skip
    assert relays and relays <= senders


def test_cloud_records_have_the_types_of_their_products(found: list[tuple[dict[str, Any], str]]) -> None:
    types = {"MailItemsAccessed": 50, "New-InboxRule": 1}
    kinds = set()
    for row, text in found:
        one = json.loads(text) if row["file"].startswith("cloud/") else {}
        if "eventName" in one:
            assert isinstance(one["readOnly"], bool)
            assert one["managementEvent"] == (one["eventName"] not in ("GetObject", "PutObject", "ListObjects"))
        elif "Operation" in one:
            assert one["RecordType"] == types.get(one["Operation"], 6)
        elif "conditionalAccessStatus" in one:
            status = {0: "success", 50074: "failure"}.get(one["status"]["errorCode"], "notApplied")
            assert one["conditionalAccessStatus"] == status
            mobile = one["deviceDetail"]["browser"].startswith("Mobile Safari")
            assert mobile == one["deviceDetail"]["operatingSystem"].startswith("iOS")
            kinds.add((status, mobile))
    assert len(kinds) >= 3


def test_a_passed_hash_leaves_no_ticket(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    steps = [one for row, one in windows if row["step"] == "pass_hash"]
    logons = [one for one in steps if one["EventID"] == 4624]
    assert logons and all(one["AuthenticationPackageName"] == "NTLM" for one in logons)
    assert all(one["LogonProcessName"].strip() == "NtLmSsp" and one["LmPackageName"] == "NTLM V2" for one in logons)
    assert not [one for one in steps if one["EventID"] == 4769]


def test_a_name_has_one_number_in_the_logs_of_sessions(found: list[tuple[dict[str, Any], str]]) -> None:
    numbers: dict[str, set[str]] = defaultdict(set)
    for row, text in found:
        if row["file"].endswith("auth.log") and (
            match := re.search(r"sshd:session\): session opened for user ([^(]+)\(uid=(\d+)\)", text)
        ):
            numbers[match[1]].add(match[2])
    assert len(numbers) > 2 and all(len(one) == 1 for one in numbers.values())


def test_a_ping_is_answered(found: list[tuple[dict[str, Any], str]]) -> None:
    pings = [json.loads(text)["layers"] for _, text in found if '"icmp_icmp_type"' in text]
    said = {(one["icmp"]["icmp_icmp_type"], one["_ws_col"]["_ws_col_info"]) for one in pings}
    assert said == {("8", "Echo (ping) request"), ("0", "Echo (ping) reply")}


def test_keywords_severities_and_rules_are_those_of_windows(
    windows: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    failed = 0
    for _, one in windows:
        if one["Channel"] == "Security":
            wrong = one["EventID"] == 4625 or one.get("Status", "0x0") != "0x0"
            assert one["Keywords"] == (-9218868437227405312 if wrong else -9214364837600034816)
            assert one["SeverityValue"] == (4 if wrong else 2)
            failed += wrong
    assert failed
    rules = {
        one["EventID"]: one["Category"].partition("rule: ")[2] for _, one in windows if "rule: " in one["Category"]
    }
    wanted = {7: "ImageLoad)", 10: "ProcessAccess)", 11: "FileCreate)", 13: "RegistryEvent)"}
    assert wanted.items() <= rules.items()


def test_accounts_are_of_one_domain(windows: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    known: dict[str, set[str]] = defaultdict(set)
    for _, one in windows:
        for role in ("Subject", "Target"):
            sid = str(one.get(f"{role}UserSid", ""))
            if sid.startswith("S-1-5-21-") and f"{role}UserName" in one:
                known[one[f"{role}UserName"]].add(sid)
    sids = [sid for one in known.values() for sid in one]
    assert len(known) > 5 and len(sids) == len(set(sids)) == len(known)
    assert len({sid.rpartition("-")[0] for sid in sids}) == 1
    assert sum(sid.endswith("-500") for sid in sids) <= 1


def test_queue_ids_are_those_of_postfix(found: list[tuple[dict[str, Any], str]]) -> None:
    queues = {match[1] for row, text in found if row["file"].endswith("mail.log")
              and (match := re.search(r"\]: ([0-9A-Fa-f]{10}): ", text))}  # fmt: skip
    assert queues and all(queue == queue.upper() for queue in queues)


def test_windows_and_tabs_follow_one_another(made: Path) -> None:
    events = 0
    for path in sorted((made / "logs/browser").rglob("*.json")):
        for bucket in json.loads(path.read_text())["buckets"].values():
            ends = datetime.min.replace(tzinfo=UTC)
            for one in bucket["events"]:
                begin = datetime.fromisoformat(one["timestamp"])
                assert ends <= begin and one["duration"] >= 0
                ends = begin + timedelta(seconds=one["duration"])
                events += 1
    assert events > 100


def test_nights_and_weekends_are_quieter_and_of_another_kind() -> None:
    config, world = SessionsConfig(hosts=6), make_world(0, 6)
    like = load_scenarios(["insider"], wide=True)[0]
    planned = plan(config, world, [like])
    counts = {}
    # 10 and 3 o'clock of Tuesday, 10 o'clock of Saturday.
    for name, hours in {"day": 34, "night": 27, "weekend": 130}.items():
        start = (config.start + timedelta(hours=hours) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        total = pages = 0
        for one in planned[:4]:
            session = replace(one, start=start, end=start + 1_200_000_000, events=2000, scenario=None)
            records = play_session(world, config, session, like)
            total += len(records)
            pages += sum(record.file.startswith("browser/") for record in records)
        counts[name] = total, pages / total
    assert counts["day"][0] > 1.2 * counts["night"][0] and counts["day"][0] > counts["weekend"][0]
    assert counts["day"][1] > 1.5 * counts["night"][1]
