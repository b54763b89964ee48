"""What else Windows records of the same behaviour: loaded images, filtered connections, script blocks, sessions."""

import base64
import binascii
import random
import re
from ntpath import basename
from typing import Any

from logfm.corpus.simulate.pools import LOADED, MODULES
from logfm.corpus.simulate.windows import account, hashes, security, sysmon, windows_event
from logfm.corpus.simulate.world import Process, World

Fields = dict[str, Any]
_ENCODED = re.compile(r"-(?:enc|ec|EncodedCommand) ([A-Za-z0-9+/=]{16,})")


def loaded(world: World, time: int, process: Process, path: str) -> Fields:
    """Sysmon 7: a process loads an image."""
    what = MODULES.get(path.lower(), "-")
    return sysmon(world, time, 7, process, {
        "ImageLoaded": path,
        "FileVersion": "10.0.19041.5438 (WinBuild.160101.0800)",
        "Description": what,
        "Product": "Microsoft® Windows® Operating System",
        "Company": "Microsoft Corporation",
        "OriginalFileName": basename(path),
        "Hashes": hashes(path),
        "Signed": "true",
        "Signature": "Microsoft Windows",
        "SignatureStatus": "Valid",
    }, user=True)  # fmt: skip


def images_of(rng: random.Random, image: str) -> list[str]:
    """Some images that a program loads when it starts, in order."""
    own = LOADED.get(basename(image).lower(), ())
    common = LOADED[""]
    return [*rng.sample(common, rng.choice((0, 1, 1, 2))), *rng.sample(own, min(len(own), rng.choice((0, 1, 1, 2))))]


def key_made(world: World, time: int, process: Process, key: str) -> Fields:
    """Sysmon 12: a process makes a registry key."""
    return sysmon(world, time, 12, process, {
        "EventType": "CreateKey",
        "TargetObject": key.rpartition("\\")[0],
    }, user=True)  # fmt: skip


def permitted(world: World, time: int, process: Process, ends: tuple[str, str, int, int]) -> Fields:
    """Security 5156: the filtering platform lets a connection pass; `ends` is source, destination and their ports."""
    source, to, source_port, port = ends
    return security(world, time, process.host, 5156, {
        "ProcessId": str(process.pid),
        "Application": process.image.lower().replace("c:", "\\device\\harddiskvolume2"),
        "Direction": "%%14593",
        "SourceAddress": source,
        "SourcePort": str(source_port),
        "DestAddress": to,
        "DestPort": str(port),
        "Protocol": "6",
        "FilterRTID": "67845",
        "LayerName": "%%14611",
        "LayerRTID": "48",
        "RemoteUserID": "S-1-0-0",
        "RemoteMachineID": "S-1-0-0",
    })  # fmt: skip


def exited(world: World, time: int, process: Process) -> Fields:
    """Security 4689: a process ends."""
    domain, name, sid = account(world, process.user)
    return security(world, time, process.host, 4689, {
        "SubjectUserSid": sid,
        "SubjectUserName": name,
        "SubjectDomainName": domain,
        "SubjectLogonId": process.logon_id,
        "Status": "0x0",
        "ProcessId": hex(process.pid),
        "ProcessName": process.image,
    })  # fmt: skip


def script_block(world: World, rng: random.Random, time: int, process: Process) -> Fields:
    """PowerShell 4104: the text that is run, decoded."""
    text = process.command.partition(" ")[2] or "prompt"
    if found := _ENCODED.search(process.command):
        try:
            text = base64.b64decode(found[1]).decode("utf-16-le")
        except (binascii.Error, UnicodeDecodeError):
            text = found[1]
    block = f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-{rng.getrandbits(16):04x}-{rng.getrandbits(64):016x}"
    channel = ("Microsoft-Windows-PowerShell/Operational", "Microsoft-Windows-PowerShell")
    return windows_event(world, time, process.host, 4104, *channel, {
        "MessageNumber": "1",
        "MessageTotal": "1",
        "ScriptBlockText": text,
        "ScriptBlockId": block,
        "ActivityID": f"{{{rng.getrandbits(32):08X}-D19A-0001-B403-59A85F80D601}}",
        "AccountName": process.user,
    })  # fmt: skip


def members(world: World, time: int, host: str, logon: Fields) -> Fields:
    """Security 4627: the groups of who has logged on."""
    copied = ("SubjectUserSid", "SubjectUserName", "TargetUserSid", "TargetUserName", "TargetDomainName",
              "TargetLogonId", "LogonType")  # fmt: skip
    groups = "".join(f"\r\n\t\t%{{{sid}}}" for sid in ("S-1-5-32-545", "S-1-1-0", "S-1-5-2", "S-1-5-11", "S-1-5-15"))
    return security(world, time, host, 4627, {
        **{name: logon[name] for name in copied}, "EventIdx": "1", "EventCountTotal": "1", "GroupMembership": groups,
    })  # fmt: skip


def logged_off(world: World, time: int, host: str, logon: Fields) -> Fields:
    """Security 4634: the end of a logon."""
    copied = ("TargetUserSid", "TargetUserName", "TargetDomainName", "TargetLogonId", "LogonType")
    return security(world, time, host, 4634, {name: logon[name] for name in copied})
