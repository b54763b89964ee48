import json
from collections import defaultdict
from pathlib import Path
from random import Random
from statistics import median

import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import simulate_sessions
from logfm.corpus.simulate.playing import Player
from logfm.corpus.simulate.session import all_routines
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import make_world

# Names that the same events have in the OTRF captures.
OTRF = {
    1: "Company CurrentDirectory FileVersion Hashes LogonGuid ParentCommandLine Product TerminalSessionId",
    3: "DestinationIp DestinationPortName Initiated Protocol SourceIsIpv6 SourcePortName",
    7: "ImageLoaded OriginalFileName Signature SignatureStatus Signed",
    10: "CallTrace GrantedAccess SourceThreadId TargetImage",
    4624: "ImpersonationLevel KeyLength LmPackageName LogonGuid RestrictedAdminMode TargetLinkedLogonId VirtualAccount",
    4627: "EventCountTotal EventIdx GroupMembership TargetLogonId",
    4656: "AccessList HandleId ObjectServer RestrictedSidCount TransactionId",
    4688: "CommandLine MandatoryLabel NewProcessName TargetLogonId TokenElevationType",
    5156: "Application DestPort Direction FilterRTID LayerName RemoteMachineID",
}
HEADER = (
    "EventTime EventReceivedTime Severity SeverityValue Keywords Version OpcodeValue Task ExecutionProcessID ThreadID "
    "SourceModuleName SourceModuleType @version host port tags EventType Message RecordNumber"
)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    out = tmp_path_factory.mktemp("windows") / "made"
    simulate_sessions(SessionsConfig(sessions=14, attacks=6, events=2640, hosts=6), out, workers=1)
    files = sorted((out / "logs").glob("windows/*/events.json"))
    return [json.loads(line) for file in files for line in Path(file).read_text().splitlines()]


def test_fields_are_those_of_real_events(events: list[dict]) -> None:
    for number, names in OTRF.items():
        found = [one for one in events if one["EventID"] == number]
        assert found, number
        assert all(set(names.split()) <= one.keys() for one in found)
    assert all(one.keys() >= set(HEADER.split()) for one in events)


def test_sizes_are_those_of_real_events(events: list[dict]) -> None:
    # OTRF: 34 fields, 1604 characters.
    assert 30 <= median(len(one) for one in events) <= 48
    assert 1200 <= median(len(json.dumps(one)) for one in events) <= 2200
    assert len({one["EventID"] for one in events}) >= 30


def test_the_message_repeats_the_fields(events: list[dict]) -> None:
    for one in events:
        if one["EventID"] == 1:
            assert one["Message"].startswith("Process Create:\r\nRuleName: -\r\n")
            assert f"\r\nCommandLine: {one['CommandLine']}\r\n" in one["Message"]
        if one["EventID"] == 4634:
            assert f"\tLogon Type:\t\t{one['LogonType']}" in one["Message"]
            assert one["Category"] == "Logoff"


def test_records_of_one_behaviour_share_their_keys(events: list[dict]) -> None:
    started = {one["ProcessGuid"] for one in events if one["EventID"] == 1}
    loaded = [one for one in events if one["EventID"] == 7]
    assert loaded and all(one["ProcessGuid"] in started for one in loaded)
    logons = {(one["Hostname"], one["TargetLogonId"]) for one in events if one["EventID"] == 4624}
    assert {(one["Hostname"], one["TargetLogonId"]) for one in events if one["EventID"] in (4627, 4634)} <= logons
    made = {(one["Hostname"], one["NewProcessId"]) for one in events if one["EventID"] == 4688}
    ended = {(one["Hostname"], one["ProcessId"]) for one in events if one["EventID"] == 4689}
    assert ended and ended <= made


def test_traces_of_calls_repeat_as_those_of_one_build_do(events: list[dict]) -> None:
    traces: dict[str, set[str]] = defaultdict(set)
    places: dict[str, set[str]] = defaultdict(set)
    for one in events:
        if one["EventID"] == 10:
            traces[one["SourceImage"]].add(one["CallTrace"])
            for frame in one["CallTrace"].split("|"):
                module, _, offset = frame.rpartition("+")
                places[module].add(offset)
    assert max(map(len, traces.values())) > 2
    assert all(len(found) <= 6 for found in [*traces.values(), *places.values()])


def test_modules_are_long_scripts() -> None:
    routine = next(one for one in all_routines() if one.name == "scripts_of_the_system")
    world, sizes = make_world(0, 4), []
    for number in range(40):
        rng = Random(number)
        player = Player(world, rng, Cast(world, rng, values=routine.values), 1_741_000_000_000_000, wide=True)
        player.play(next(one for one in routine.variants if "{module}" in str(one)))
        sizes += [len(one.body.get("ScriptBlockText") or one.body["CommandLine"]) for one in player.records]
    assert len(sizes) > 15 and 2_000 <= min(sizes) < 4_000 and 8_000 < max(sizes) <= 12_400
