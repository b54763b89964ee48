"""Processes, files and connections of Linux and macOS in Sysmon's field names, as Sigma's rules for them have it."""

import html
import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Any, NamedTuple

from logfm.corpus.readers.audit import records
from logfm.corpus.rules.sources import AUDITD

_MOST_RECORDS = 256  # of one audit event
_MOST_ARGUMENTS = 1024
_SYSMON_ID = re.compile(r"<EventID>(\d{1,5})</EventID>")
_SYSMON_DATA = re.compile(r'<Data Name="([^"]{1,64})">([^<]*)</Data>')
_SYSMON = {"1": "process_creation", "3": "network_connection", "11": "file_event"}
# Numbers of the system calls that rules and this module name, by the kernel's name of the architecture.
_CALLS: dict[str, dict[str, str]] = {
    "c000003e": {"41": "socket", "42": "connect", "59": "execve", "99": "sysinfo", "103": "syslog", "133": "mknod",
                 "135": "personality", "259": "mknodat", "319": "memfd_create", "322": "execveat"},
    "c00000b7": {"33": "mknodat", "92": "personality", "116": "syslog", "179": "sysinfo", "198": "socket",
                 "203": "connect", "221": "execve", "279": "memfd_create", "281": "execveat"},
}  # fmt: skip
_FALCON = {"Lin": "linux", "Mac": "macos"}
_ECS_SYSTEMS = {"darwin": "macos", "macos": "macos"} | dict.fromkeys(
    ("linux", "ubuntu", "debian", "centos", "rhel", "redhat", "fedora", "amzn", "ol", "rocky", "almalinux", "sles",
     "suse", "opensuse", "arch", "alpine"), "linux")  # fmt: skip
_ECS_STARTS = frozenset(("start", "started", "exec", "executed", "fork", "process_started"))
_ECS_CREATIONS = frozenset(("creation", "created"))
Record = Mapping[str, Any]


class View(NamedTuple):
    """An event as rules of one kind see it: its fields, and the text that keywords are searched in.

    `event_id` is what tells events of the kind apart: the type of an audit record.
    """

    kind: str
    record: Record
    text: str
    event_id: str = ""


def audit_views(text: str) -> Iterator[View]:
    """Each record of an audit event, then what the records say together: a process, files, a connection."""
    held: dict[str, dict[str, str]] = {}
    created = []
    for kind, values, line in islice(records(text), _MOST_RECORDS):
        if kind == "SYSCALL" and "SYSCALL" not in values:
            name = _CALLS.get(values.get("arch", ""), {}).get(values.get("syscall", ""))
            values |= {"SYSCALL": name} if name else {}
        if kind == "EXECVE":
            line += "\n" + _command(values)
        if kind == "PATH" and values.get("nametype") == "CREATE":
            created.append(values.get("name", ""))
        if kind == "EXECVE":  # many arguments come in several
            held.setdefault(kind, {}).update(values)
        held.setdefault(kind, values)
        yield View(AUDITD, values | {"type": kind}, line, kind)
    call = held.get("SYSCALL", {})
    if call.get("success") == "no":
        return
    folder = held.get("CWD", {}).get("cwd")
    common = {
        "Image": call.get("exe"),
        "User": call.get("UID") or call.get("uid"),
        "ProcessId": call.get("pid"),
        "CurrentDirectory": folder,
    }
    if "EXECVE" in held:
        more = {"CommandLine": _command(held["EXECVE"]), "ParentProcessId": call.get("ppid")}
        yield View("linux.process_creation", common | more, text)
    for name in created:
        path = name if name.startswith("/") or not folder else f"{folder.rstrip('/')}/{name}"
        yield View("linux.file_event", common | {"TargetFilename": path}, text)
    address = _address(held.get("SOCKADDR", {}).get("saddr", ""))
    if address and call.get("SYSCALL") == "connect":
        more = {"DestinationIp": address[0], "DestinationPort": address[1], "Initiated": "true"}
        yield View("linux.network_connection", common | more, text)


def sysmon_view(text: str) -> View | None:
    """An event of Sysmon for Linux; transports cut long ones, so that the XML needn't be whole."""
    number = _SYSMON_ID.search(text)
    category = _SYSMON.get(number[1]) if number else None
    if category is None:
        return None
    found = islice(_SYSMON_DATA.finditer(text), _MOST_ARGUMENTS)
    return View(f"linux.{category}", {one[1]: html.unescape(one[2]) for one in found}, text)


def ecs_view(record: Record, text: str) -> View | None:
    """An event in the Elastic Common Schema: Auditbeat's and Elastic Defend's."""
    event, host = _mapping(record.get("event")), _mapping(record.get("host"))
    os = _mapping(host.get("os"))
    names = (os.get(name) for name in ("type", "platform", "family"))
    system = next((_ECS_SYSTEMS[name] for name in names if isinstance(name, str) and name in _ECS_SYSTEMS), None)
    if system is None:
        return None
    about, how = _words(event.get("category")), _words(event.get("type")) | _words(event.get("action"))
    process, parent = _mapping(record.get("process")), _mapping(_mapping(record.get("process")).get("parent"))
    common = {
        "Image": process.get("executable"),
        "User": _mapping(record.get("user")).get("name"),
        "CommandLine": _line(process),
        "CurrentDirectory": process.get("working_directory"),
        "ParentImage": parent.get("executable"),
        "ParentCommandLine": _line(parent),
        "ProcessId": process.get("pid"),
    }
    if "process" in about and how & _ECS_STARTS:
        return View(f"{system}.process_creation", common, text)
    if "file" in about and how & _ECS_CREATIONS:
        path = _mapping(record.get("file")).get("path")
        return View(f"{system}.file_event", common | {"TargetFilename": path}, text)
    if "network" in about:
        there, way = _mapping(record.get("destination")), _mapping(record.get("network")).get("direction")
        more = {
            "DestinationIp": there.get("ip"),
            "DestinationPort": there.get("port"),
            "DestinationHostname": there.get("domain"),
            "Initiated": {"egress": "true", "outbound": "true", "ingress": "false", "inbound": "false"}.get(str(way)),
        }
        return View(f"{system}.network_connection", common | more, text)
    return None


def falcon_view(record: Record, text: str) -> View | None:
    """An event of CrowdStrike Falcon's sensor on Linux or macOS, or a DNS request of any system."""
    name, system = record.get("event_simpleName"), _FALCON.get(str(record.get("event_platform")))
    if name == "DnsRequest":
        return View("dns", {"query": record.get("DomainName")}, text)
    if system is None or not isinstance(name, str):
        return None
    if name == "ProcessRollup2":
        more = {"ParentImage": record.get("ParentImageFileName"), "Image": record.get("ImageFileName")}
        return View(f"{system}.process_creation", {"CommandLine": record.get("CommandLine"), **more}, text)
    image = {"Image": record.get("ContextImageFileName")}
    if name.endswith("Written"):
        return View(f"{system}.file_event", image | {"TargetFilename": record.get("TargetFileName")}, text)
    if name in ("NetworkConnectIP4", "NetworkConnectIP6"):
        more = {
            "DestinationIp": record.get(f"RemoteAddress{name[-3:]}"),
            "DestinationPort": record.get("RemotePort"),
            "Initiated": {"0": "true", "1": "false"}.get(str(record.get("ConnectionDirection"))),
        }
        return View(f"{system}.network_connection", image | more, text)
    return None


def _command(values: Mapping[str, str]) -> str:
    """The arguments in the log's order, which is theirs."""
    found = (value for name, value in values.items() if name[0] == "a" and name[1:].isdigit())
    return " ".join(islice(found, _MOST_ARGUMENTS))


def _address(saddr: str) -> tuple[str, str] | None:
    """Address and port of an internet socket address in hexadecimal: family in host order, port in network order."""
    try:
        data = bytes.fromhex(saddr)
    except ValueError:
        return None
    port = str(int.from_bytes(data[2:4], "big"))
    if data[:2] == b"\x02\x00" and len(data) >= 8:
        return str(IPv4Address(data[4:8])), port
    if data[:2] == b"\x0a\x00" and len(data) >= 24:
        return str(IPv6Address(data[8:24])), port
    return None


def _line(process: Record) -> Any:
    given, arguments = process.get("command_line"), process.get("args")
    if given is None and isinstance(arguments, list):
        return " ".join(str(one) for one in arguments[:_MOST_ARGUMENTS])
    return given


def _words(value: Any) -> frozenset[str]:
    return frozenset(one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _mapping(value: Any) -> Record:
    return value if isinstance(value, dict) else {}
