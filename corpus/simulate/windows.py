"""Windows events as flat JSON objects, with the field names of Sysmon and of the Security channel."""

import hashlib
import random
from functools import lru_cache
from ntpath import basename, dirname
from typing import Any

from logfm.corpus.simulate import pools
from logfm.corpus.simulate.records import stamp, sysmon_time
from logfm.corpus.simulate.world import Process, World, stream

Fields = dict[str, Any]
SYSMON = ("Microsoft-Windows-Sysmon/Operational", "Microsoft-Windows-Sysmon")
_LABELS = {"Low": 4096, "Medium": 8192, "High": 12288, "System": 16384}
NTLM = {
    "LogonProcessName": "NtLmSsp ",
    "AuthenticationPackageName": "NTLM",
    "LmPackageName": "NTLM V2",
    "KeyLength": "128",
    "LogonGuid": "{00000000-0000-0000-0000-000000000000}",
}
"""What a logon shows that was by NTLM."""
_TRACES = 6
_SECURITY = ("Security", "Microsoft-Windows-Security-Auditing")
_DOWNLOADED = "\\SoftwareDistribution\\"
"""In the paths of installers that Windows has fetched for others."""
_OF_SERVICES = {pools.SYSTEM_PROCESSES[name] for name in ("services", "wmiprvse", "taskhost")}
"""What these start for a user runs in the session of services, which has no screen."""


def account(world: World, user: str) -> tuple[str, str, str]:
    """Domain, name and security identifier of an account."""
    if user == "SYSTEM":
        return "NT AUTHORITY", user, "S-1-5-18"
    domain = world.company.upper()
    known = world.users.get(user)
    return domain, user, known.sid if known else f"{world.authority}-{_relative_id(user)}"


def _relative_id(user: str) -> int:
    """The end of the security identifier of an account that is no person's."""
    if user == "Administrator":
        return 500
    return 2101 + pools.HELPERS.index(user) if user in pools.HELPERS else 3101 + int(_digest(user)) % 900


def windows_event(
    world: World, time: int, host: str, number: int, channel: str, provider: str, fields: Fields
) -> Fields:
    """The fields of any event; the record number is set when it is written."""
    return {
        "@timestamp": stamp(time),
        "EventID": number,
        "Channel": channel,
        "Hostname": f"{host}.{world.realm}",
        "RecordNumber": 0,
        "SourceName": provider,
        **fields,
    }


def security(world: World, time: int, host: str, number: int, fields: Fields) -> Fields:
    """An event of the Security channel."""
    return windows_event(world, time, host, number, *_SECURITY, fields)


def sysmon(world: World, time: int, number: int, process: Process, fields: Fields, *, user: bool = False) -> Fields:
    """An event of Sysmon about what a process did."""
    common: Fields = {
        "RuleName": "-",
        "UtcTime": sysmon_time(time),
        "ProcessGuid": process.guid,
        "ProcessId": str(process.pid),
        "Image": process.image,
    }
    if user:
        common["User"] = "\\".join(account(world, process.user)[:2])
    return windows_event(world, time, process.host, number, *SYSMON, common | fields)


def started(world: World, time: int, process: Process, parent: Process) -> Fields:
    """Sysmon 1: a process starts."""
    file = basename(process.image)
    name = file.rsplit(".", 1)[0]
    maker = f"{name.partition('-')[0].title()} Inc." if _DOWNLOADED in process.image else "Microsoft Corporation"
    what, company = pools.PROGRAMS.get(file.lower(), (name, maker))
    place = dirname(process.image) if process.user == "SYSTEM" else f"C:\\Users\\{process.user}"
    return sysmon(world, time, 1, process, {
        "FileVersion": version_of(process.image),
        "Description": what,
        "Product": "Microsoft® Windows® Operating System" if "\\System32\\" in process.image else what,
        "Company": company,
        "OriginalFileName": file,
        "CommandLine": process.command,
        "CurrentDirectory": f"{place}\\",
        "LogonGuid": f"{{{process.guid[1:9]}-{_md5(process.logon_id)[:4].lower()}-5f91-b6c0-9c0000000000}}",
        "LogonId": process.logon_id,
        "TerminalSessionId": "0" if process.user == "SYSTEM" or parent.image in _OF_SERVICES else "1",
        "IntegrityLevel": process.integrity,
        "Hashes": hashes(process.image),
        "ParentProcessGuid": parent.guid,
        "ParentProcessId": str(parent.pid),
        "ParentImage": parent.image,
        "ParentCommandLine": parent.command,
    }, user=True)  # fmt: skip


def created(world: World, time: int, process: Process, parent: Process) -> Fields:
    """Security 4688: the same, in the audit log."""
    domain, name, sid = account(world, process.user)
    return security(world, time, process.host, 4688, {
        "SubjectUserSid": sid,
        "SubjectUserName": name,
        "SubjectDomainName": domain,
        "SubjectLogonId": process.logon_id,
        "NewProcessId": hex(process.pid),
        "NewProcessName": process.image,
        "TargetUserSid": "S-1-0-0",
        "TargetUserName": "-",
        "TargetDomainName": "-",
        "TargetLogonId": "0x0",
        "MandatoryLabel": f"S-1-16-{_LABELS[process.integrity]}",
        "TokenElevationType": "%%1937" if process.integrity in ("High", "System") else "%%1938",
        "ProcessId": hex(parent.pid),
        "CommandLine": process.command,
        "ParentProcessName": parent.image,
    })  # fmt: skip


def connected(world: World, rng: random.Random, time: int, process: Process, to: tuple[str, str], port: int) -> Fields:
    """Sysmon 3: a process connects to a name and an address."""
    name, address = to
    host = world.hosts[process.host]
    return sysmon(world, time, 3, process, {
        "Protocol": "tcp",
        "Initiated": "true",
        "SourceIsIpv6": "false",
        "SourceIp": host.address,
        "SourceHostname": f"{host.name}.{world.realm}",
        "SourcePort": str(rng.randrange(49152, 65536)),
        "SourcePortName": "-",
        "DestinationIsIpv6": "false",
        "DestinationIp": address,
        "DestinationHostname": name if name.endswith(world.realm) else "-",
        "DestinationPort": str(port),
        "DestinationPortName": pools.PORT_NAMES.get(port, "-"),
    }, user=True)  # fmt: skip


def looked_up(world: World, time: int, process: Process, query: str, address: str) -> Fields:
    """Sysmon 22: a process looked up a name."""
    return sysmon(world, time, 22, process, {
        "QueryName": query,
        "QueryStatus": "0",
        "QueryResults": f"::ffff:{address};",
    }, user=True)  # fmt: skip


def opened(world: World, rng: random.Random, time: int, process: Process, target: Process, mask: str) -> Fields:
    """Sysmon 10: a process opened another one."""
    event = sysmon(world, time, 10, process, {
        "SourceProcessGUID": process.guid,
        "SourceProcessId": str(process.pid),
        "SourceThreadId": str(4 * rng.randrange(200, 4000)),
        "SourceImage": process.image,
        "TargetProcessGUID": target.guid,
        "TargetProcessId": str(target.pid),
        "TargetImage": target.image,
        "GrantedAccess": mask,
        "CallTrace": rng.choice(_traces(process.image)),
        "SourceUser": "\\".join(account(world, process.user)[:2]),
        "TargetUser": "\\".join(account(world, target.user)[:2]),
    })  # fmt: skip
    for name in ("ProcessGuid", "ProcessId", "Image"):
        del event[name]
    return event


@lru_cache(1024)
def _traces(image: str) -> tuple[str, ...]:
    """The ways in which a program opens others: of one build of Windows, where a function returns to is always the same
    place in its module."""
    rng = stream("traces", image.lower())
    found = []
    for _ in range(_TRACES):
        frames = ["ntdll.dll", "KERNELBASE.dll", *rng.choices(pools.FRAMES, k=rng.randrange(1, 12))]
        places = (f"C:\\Windows\\System32\\{module}+{rng.choice(_places(module)):x}" for module in frames)
        found.append("|".join(places))
    return tuple(found)


@lru_cache
def _places(module: str) -> tuple[int, ...]:
    rng = stream("places", module)
    return tuple(rng.randrange(0x1000, 0xFFFFF) for _ in range(_TRACES))


def injected(world: World, time: int, process: Process, target: Process, fields: Fields) -> Fields:
    """An event of Sysmon about what a process did to another one, such as 8: it runs a thread there."""
    return windows_event(world, time, process.host, 8, *SYSMON, {
        "RuleName": "-",
        "UtcTime": sysmon_time(time),
        "SourceProcessGuid": process.guid,
        "SourceProcessId": str(process.pid),
        "SourceImage": process.image,
        "TargetProcessGuid": target.guid,
        "TargetProcessId": str(target.pid),
        "TargetImage": target.image,
        **fields,
    })  # fmt: skip


def logged_on(
    world: World, rng: random.Random, time: int, host: str, user: str, kind: int, source: str, *, failed: bool
) -> Fields:
    """Security 4624 or 4625: a logon, or a failed one; `source` is a host, an address or -."""
    domain, name, sid = account(world, user)
    machine = world.hosts.get(source)
    fields: Fields = {
        "SubjectUserSid": "S-1-5-18" if kind in (2, 5, 7, 10) else "S-1-0-0",
        "SubjectUserName": f"{host}$" if kind in (2, 5, 7, 10) else "-",
        "TargetUserSid": "S-1-0-0" if failed else sid,
        "TargetUserName": name,
        "TargetDomainName": domain,
        "LogonType": str(kind),
        "LogonProcessName": "User32" if kind in (2, 7, 10) else "Advapi" if kind == 5 else "Kerberos",
        "AuthenticationPackageName": "Kerberos" if kind == 3 else "Negotiate",
        "WorkstationName": machine.name if machine else host if kind in (2, 7) else "-",
        "ProcessName": r"C:\Windows\System32\svchost.exe" if kind != 3 else "-",
        "IpAddress": machine.address if machine else source,
        "IpPort": str(rng.randrange(49152, 65536)) if source != "-" else "-",
        "SubjectDomainName": world.company.upper() if kind in (2, 5, 7, 10) else "-",
        "SubjectLogonId": "0x3e7" if kind in (2, 5, 7, 10) else "0x0",
        "ProcessId": "0x0" if kind == 3 else hex(4 * rng.randrange(120, 500)),
        "TransmittedServices": "-",
        "LmPackageName": "-",
        "KeyLength": "0",
    }
    if failed:
        status = {"Status": "0xc000006d", "SubStatus": rng.choice(("0xc000006a", "0xc000006a", "0xc0000064"))}
        return security(world, time, host, 4625, fields | status)
    logon = {
        "TargetLogonId": f"0x{rng.randrange(0x100000, 0xFFFFFFF):x}",
        "LogonGuid": f"{{{_md5(user + host)[:8].lower()}-5195-4df3-4151-25ea6e907451}}",
        "ImpersonationLevel": "%%1833",
        "RestrictedAdminMode": "-",
        "TargetOutboundUserName": "-",
        "TargetOutboundDomainName": "-",
        "VirtualAccount": "%%1843",
        "TargetLinkedLogonId": "0x0",
        "ElevatedToken": "%%1843",
    }
    return security(world, time, host, 4624, fields | logon)


def ticket(world: World, rng: random.Random, time: int, user: str, host: str, address: str) -> Fields:
    """Security 4769 of the domain controller: a service ticket for a host."""
    controller = world.of_kind("dc")[0]
    return security(world, time, controller, 4769, {
        "TargetUserName": f"{user}@{world.realm.upper()}",
        "TargetDomainName": world.realm.upper(),
        "ServiceName": f"{host}$",
        "ServiceSid": f"{world.authority}-{4101 + int(_digest(host)) % 900}",
        "TicketOptions": "0x40810000",
        "TicketEncryptionType": "0x12",
        "IpAddress": f"::ffff:{address}",
        "IpPort": str(rng.randrange(49152, 65536)),
        "Status": "0x0",
        "LogonGuid": f"{{{_md5(user)[:8].lower()}-4f7a-0ae9-2bea-1a80a97be0d0}}",
        "TransmittedServices": "-",
    })  # fmt: skip


@lru_cache(4096)
def hashes(path: str) -> str:
    """The hashes that Sysmon shows of an image: invented, the same for the same path."""
    digest = hashlib.blake2b(path.encode(), digest_size=52).hexdigest().upper()
    return f"SHA1={digest[:40]},MD5={_md5(path)},SHA256={digest[-64:]},IMPHASH={_md5(path[::-1])}"


def version_of(image: str) -> str:
    """The version that a program shows: Windows' own for its programs, an invented one for others."""
    if "\\Windows\\" in image and _DOWNLOADED not in image:
        return "10.0.19041.5438 (WinBuild.160101.0800)"
    digest = _md5(basename(image).lower())
    return f"{int(digest[0], 16) + 1}.{int(digest[1], 16)}.{int(digest[2:4], 16)}.{int(digest[4:6], 16)}"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()


def _digest(*parts: str) -> str:
    return str(int.from_bytes(hashlib.blake2b("/".join(parts).encode(), digest_size=8).digest()) + 10**9)
