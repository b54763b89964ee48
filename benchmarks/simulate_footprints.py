"""What an event of a scenario looks like in the records, and what else it leaves: from templates to evidence."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from ntpath import basename
from typing import Any

from simulate_evidence import Evidence, Seen

from logfm.corpus.simulate.pools import SYSTEM_PROCESSES, USER_PROCESSES
from logfm.corpus.simulate.sources_of import record_specs
from logfm.corpus.simulate.templates import PLACEHOLDER, AnyEvent, Scenario
from logfm.corpus.simulate.values import EVENT_VALUES, IDENTITIES

CUT = "\x1f"
"""Stands between the fields of what is matched."""
_CLOSE = 0.15
_SHOWN = {
    "cloudtrail.call": ("service", "name", "who", "from", "tool", "parameters", "answer"),
    "office.operation": ("operation", "who", "from", "workload", "object", "parameters"),
    "entra.audit": ("activity", "who", "from", "group"),
    "entra.signin": ("who", "from", "application", "device", "code", "mfa", "protocol"),
    "mail.received": ("sender_address", "recipient", "relay", "size"),
    "mail.internal": ("sender_address", "recipient", "size", "client"),
    "mail.sent": ("sender_address", "recipient", "size", "client"),
    "vpn.connected": ("who", "from"),
    "vpn.failed": ("who", "from"),
    "vpn.left": ("who", "from"),
    "audit.command": ("at", "command"),
    "audit.connect": ("at", "exe", "saddr"),
    "audit.write": ("at", "exe", "path"),
}
"""The fields of records that are data: those that a reader of the records can see."""
_TOTALS = re.compile(r"FIN, ACK\] Seq=(\d+) Ack=(\d+)")
_HEADERS = 54
_HEX = re.compile(r"^hex(\d+)$")
_NUMBERS = {"number": r"\d{1,5}", "digit": r"\d", "octet": r"\d{1,3}", "port": r"\d{5}", "session": r"\d{1,4}",
            "bytes": r"\d+", "page": "/[^\x1f ]*", "asset": "/[^\x1f ]*", "document": r"\w+\.\w+",
            "unique": r"[0-9a-f-]+"}  # fmt: skip


def anchor(evidence: Evidence, event: AnyEvent) -> tuple[str, dict[str, str]] | None:
    """The kind of the record that shows an event best, and templates of that record's fields; None where no source that
    may be looked at shows it."""
    return next((one for one in (_best(event), *_else(event)) if evidence.has(one[0])), None)


def _else(event: AnyEvent) -> Iterator[tuple[str, dict[str, str]]]:
    """What shows an event where the source that shows it best is not there."""
    match event.event:
        case "network":
            yield _flow(event.host, event.to, event.port)
        case "browse":
            site = event.url.split("/")[2]
            browser = USER_PROCESSES["browser"]
            yield "win3", {"host": event.host, "Image": browser, "DestinationPort": "443", "peers": site}
            yield _flow(event.host, site, 443)
        case "logon" if event.type in (3, 10) and event.source != "-":
            yield _flow(event.source, event.host, 3389 if event.type == 10 else 445)
        case "auth":
            if caller := _CALLER.search(event.message):
                yield _flow(caller[1], "{linux_address}", 22)
        case _:
            return


def _flow(client: str, server: str, port: int, protocol: str = "tcp") -> tuple[str, dict[str, str]]:
    """The first packet of a flow. Names are known of machines that somebody has looked up: of servers."""
    # A ping shows no port.
    return "begun", {
        "layer": protocol,
        "dport": str(port or ""),
        "source": _ADDRESSES.get(client, client),
        "to": server,
    }


_CALLER = re.compile(r"from (\S+) port")
_ADDRESSES = {
    "{host}": "{address}",
    "{admin_host}": "{admin_address}",
    "{peer}": "{peer_address}",
    "{server}": "{server_address}",
}


def _best(event: AnyEvent) -> tuple[str, dict[str, str]]:
    match event.event:
        case "process":
            return "win1", {"host": event.host, "who": event.user, "Image": event.image, "CommandLine": event.command}
        case "network":
            return "win3", {"host": event.host, "DestinationPort": str(event.port), "peers": event.to}
        case "file":
            return "win11", {"host": event.host, "TargetFilename": event.path}
        case "registry":
            return "win13", {"host": event.host, "TargetObject": event.key, "Details": event.value}
        case "access":
            return "win10", {"host": event.host, "GrantedAccess": event.mask}
        case "logon":
            fields = {"host": event.host, "TargetUserName": event.user, "LogonType": str(event.type)}
            return ("win4625" if event.failed else "win4624"), fields | {"source": event.source}
        case "windows":
            return f"win{event.id}", {"host": event.host, **event.data}
        case "auth":
            return "auth", {"host": event.host, "program": event.program, "message": event.message}
        case "web":
            return "web", {"client": event.client, "method": event.method, "path": event.path, "agent": event.agent}
        case "dns":
            fields = {"query": event.query, "type": event.type, "rcode": event.rcode}
            # No record names the addresses of all servers.
            return "dns", fields | ({} if event.client in ("{web}", "{linux}") else {"client": event.client})
        case "browse":
            return "tab", {"host": event.host, "url": event.url, "title": event.title}
        case "focus":
            return "window", {"host": event.host, "app": event.app, "title": event.title}
        case "traffic":
            return _flow(event.client, event.to, event.port, event.protocol)
        case _:
            defaults = record_specs()[event.record].spec.defaults
            return event.record, {name: {**defaults, **event.data}.get(name, "") for name in _SHOWN[event.record]}


def shown(evidence: Evidence, one: Seen, names: Sequence[str]) -> list[str]:
    """What a record says in fields, as texts to match: a machine may be named in several ways."""
    options: list[list[str]] = []
    for name in names:
        if name == "peers":
            options.append(_peers(evidence, one))
        elif (one.kind, name) in (("packet", "source"), ("packet", "to"), ("dns", "client")):
            options.append(evidence.names[one.fields[name]] + [one.fields[name]])
        elif name == "source":
            place, address = one.fields.get("WorkstationName", "-"), one.fields.get("IpAddress", "-")
            options.append(["-"] if address == "-" else [address] if place == "-" else [place])
        else:
            options.append([one.fields.get(name, "")])
    return [CUT.join(each) for each in product(*options)]


def _peers(evidence: Evidence, one: Seen) -> list[str]:
    address = one.fields["DestinationIp"]
    asked = [
        near.fields["QueryName"]
        for near in evidence.near("win22", one.time - 0.1, one.time)
        if near.fields["ProcessGuid"] == one.fields["ProcessGuid"] and address in near.fields["QueryResults"]
    ]
    label = one.fields["DestinationHostname"].partition(".")[0]
    # Who knows an answer does not ask again.
    known = evidence.names[address]
    return list(dict.fromkeys([*asked, label.upper(), label, one.fields["DestinationHostname"], *known, address]))


@lru_cache(200_000)
def text_of(scenario: str, template: str, bound: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    """A template as a pattern: what is `bound` stands for itself, the rest becomes groups of its name."""
    return re.compile(_pattern(_VALUES[scenario], template, dict(bound), set(), groups=True), re.DOTALL)


_VALUES: dict[str, Scenario] = {}


def know(scenario: Scenario) -> None:
    """Keep what a scenario's placeholders may stand for."""
    _VALUES[scenario.name] = scenario


def names_in(scenario: Scenario, template: str) -> Iterator[str]:
    """The placeholders of a template and of the values in it."""
    for name in PLACEHOLDER.findall(template):
        yield name
        for text in (*scenario.values.get(name, ()), scenario.encoded.get(name, "")):
            yield from names_in(scenario, text)


def _pattern(scenario: Scenario, template: str, bound: Mapping[str, str], open_: set[str], *, groups: bool) -> str:
    parts, last = [], 0
    for match in PLACEHOLDER.finditer(template):
        parts.append(re.escape(template[last : match.start()]))
        parts.append(_placeholder(scenario, match[1], bound, open_, groups=groups))
        last = match.end()
    return "".join([*parts, re.escape(template[last:])])


def _placeholder(scenario: Scenario, name: str, bound: Mapping[str, str], open_: set[str], *, groups: bool) -> str:
    if name in bound:
        return re.escape(bound[name])
    if name in open_:
        return f"(?P={name})"
    if name in scenario.encoded:
        return "enc:" + _pattern(scenario, scenario.encoded[name], bound, open_, groups=False)
    if name in EVENT_VALUES:
        digits = _HEX.match(name)
        return f"[0-9a-f]{{{digits[1]}}}" if digits else _NUMBERS.get(name, "[^\x1f]+?")
    if name in scenario.values:
        choices = scenario.values[name]
        inner = "|".join(_pattern(scenario, one, bound, open_, groups=False) for one in choices)
    else:
        inner = _identity(name)
    if not groups:
        return f"(?:{inner})"
    open_.add(name)
    return f"(?P<{name}>{inner})"


def _identity(name: str) -> str:
    if name.endswith("address") or name in ("visitor", "egress"):
        return r"\d+\.\d+\.\d+\.\d+"
    if name in ("user", "admin", "peer_user", "sender"):
        return r"[a-z]+(?:\.[a-z]+)?"
    if name == "sid":
        return r"S-1-5-21-[\d-]+"
    if name in ("host", "peer", "admin_host", "server", "dc", "linux", "web"):
        return _MACHINES.get(name, r"[A-Z]+-?\d+")
    return "[^\x1f]+?" if name in IDENTITIES else r"\w+"


_MACHINES = {
    "server": "(?:FS01|SQL01|APP01)",
    "dc": "DC01",
    "linux": "(?:db01|git01|build01|mon01)",
    "web": "web01",
}


def process_of(name: str, image: str) -> bool:
    """Whether an image is that of a process that is always there, by its short name."""
    # Its folder may hold a version.
    return basename({**SYSTEM_PROCESSES, **USER_PROCESSES}.get(name, "")).lower() == basename(image).lower() != ""


def carried(evidence: Evidence, event: AnyEvent, one: Seen) -> bool:
    """Whether a connection carried as many bytes as its event says, where there are packets that show it."""
    if event.event not in ("network", "traffic"):
        return True
    volume = bytes_of(evidence.keys[_flow_of(one)])
    return volume is None or all(
        low <= size <= high for size, (low, high) in zip(volume, (event.sent, event.received), strict=True)
    )


def _flow_of(one: Seen) -> tuple[str, str, str]:
    fields = one.fields
    if one.kind == "win3":
        return "flow", fields["SourceIp"], fields["SourcePort"]
    return "flow", fields["source"], fields["sport"]


def bytes_of(flow: Sequence[Seen]) -> tuple[int, int] | None:
    """The bytes that a connection sent and received, without its greeting; None where its end is not there."""
    packets = [near for near in flow if near.kind == "packet"]
    totals = next((found for near in packets if (found := _TOTALS.search(near.fields["info"]))), None)
    if totals is None:
        return None
    volume = [int(total) - 1 for total in totals.groups()]
    for near in packets:
        if near.fields["info"].startswith(("Client Hello", "Server Hello", "GET ")):
            volume[near.fields["info"].startswith("Server")] -= int(near.fields["length"]) - _HEADERS
    return volume[0], volume[1]


def left(evidence: Evidence, event: AnyEvent, one: Seen) -> Iterator[Seen]:
    """Everything that an event left beside the record that shows it best."""
    yield one
    fields = one.fields
    if one.kind == "packet":
        yield from _of_traffic(evidence, one)
        return
    match event.event:
        case "process":
            yield from _of_process(evidence, one)
        case "network":
            yield from _of_connection(evidence, one)
        case "registry":
            for near in evidence.near("win12", one.time - 0.01, one.time + 0.001):
                if near.fields["ProcessGuid"] == fields["ProcessGuid"]:
                    yield near
        case "logon":
            yield from _of_logon(evidence, one)
        case "auth":
            yield from _of_auth(evidence, one)
        case "web":
            for near in evidence.near("packet", one.time, one.time + 1.0):
                if near.fields["first"] and near.fields["source"] == fields["client"] and near.fields["dport"] == "443":
                    yield from evidence.keys["flow", fields["client"], near.fields["sport"]]
        case "dns":
            yield from _asked(evidence, fields["query"], one.time)
        case "browse" if one.kind == "tab":
            yield from _of_page(evidence, one)
        case "browse":
            yield from _of_connection(evidence, one)
        case "log":
            yield from _of_log(evidence, one)
        case _:
            return


def _of_process(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    for near in evidence.keys["process", one.fields["ProcessGuid"]]:
        if near.kind in ("win5", "win7"):
            yield near
    pid = hex(int(one.fields["ProcessId"]))
    yield from evidence.keys["pid", one.fields["host"], pid]
    if one.fields["Image"].endswith("powershell.exe"):
        for near in evidence.near("win4104", one.time + 0.07, one.time + 0.8):
            if near.fields["host"] == one.fields["host"] and near.fields["AccountName"] == one.fields["who"]:
                script = one.fields["CommandLine"]
                if near.fields["ScriptBlockText"] in script:
                    yield near


def _of_connection(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    fields = one.fields
    yield from evidence.keys["flow", fields["SourceIp"], fields["SourcePort"]]
    for near in evidence.near("win22", one.time - 0.1, one.time):
        if (
            near.fields["ProcessGuid"] == fields["ProcessGuid"]
            and fields["DestinationIp"] in near.fields["QueryResults"]
        ):
            yield near
    for near in evidence.near("dns", one.time - 0.1, one.time + 0.001):
        if near.fields["client"] == fields["SourceIp"] and near.fields["answer"] == fields["DestinationIp"]:
            yield near
            yield from _asked(evidence, near.fields["query"], near.time)


def _asked(evidence: Evidence, query: str, time: float) -> Iterator[Seen]:
    for near in evidence.near("packet", time - 0.002, time + 0.035):
        if "Standard query" in near.fields["info"] and f" {query}" in near.fields["info"]:
            yield near
    for near in evidence.near("dns", time - 0.001, time + 0.001):
        if near.fields["query"] == query:
            yield near


def _of_logon(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    fields, host = one.fields, one.fields["host"]
    if one.kind == "win4624":
        yield from evidence.keys["logon", host, fields["TargetLogonId"]]
        for near in evidence.near("win4769", one.time - 0.07, one.time + 0.001):
            if near.fields["ServiceName"] == f"{host}$" and near.fields["TargetUserName"].startswith(
                f"{fields['TargetUserName']}@"):  # fmt: skip
                yield near
    source = fields.get("IpAddress", "")
    for near in evidence.near("packet", one.time - 0.002, one.time + 0.002):
        if near.fields["first"] and near.fields["source"] == source and near.fields["dport"] in ("445", "3389"):
            yield from evidence.keys["flow", source, near.fields["sport"]]


def _of_auth(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    if port := re.search(r"(\d+\.\d+\.\d+\.\d+) port (\d+)", one.fields["message"]):
        flow = evidence.keys["flow", port[1], port[2]]
        yield from (near for near in flow if one.time - 0.01 <= near.time < one.time + 70)
    command = one.fields["message"].partition("COMMAND=")[2]
    for near in evidence.near("audit.command", one.time, one.time + 1.0) if command else ():
        if near.fields["command"] == command and near.fields["at"] == one.fields["host"]:
            yield near


def _of_page(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    name = one.fields["url"].split("/")[2] if "//" in one.fields["url"] else one.fields["url"]
    for near in evidence.near("window", one.time - 0.002, one.time + 0.002):
        if near.fields["host"] == one.fields["host"] and near.fields["title"].startswith(one.fields["title"]):
            yield near
    yield from _asked(evidence, name, one.time)
    address = next((near.fields["answer"] for near in evidence.kinds["dns"] if near.fields["query"] == name), "")
    for near in evidence.near("win3", one.time, one.time + 0.1):
        same = near.fields["DestinationIp"] == address or near.fields["DestinationHostname"] == name
        if same and near.fields["host"] == one.fields["host"] and near.fields["Image"].endswith("chrome.exe"):
            yield near
            yield from _of_connection(evidence, near)


def _of_traffic(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    fields = one.fields
    if fields["layer"] == "icmp":
        pair = sorted((fields["source"], fields["to"]))
        yield from (near for near in evidence.keys["pair", pair[0], pair[1]]
                    if near.fields["layer"] == "icmp" and abs(near.time - one.time) < 0.4)  # fmt: skip
    else:
        flow = evidence.keys["flow", fields["source"], fields["sport"]]
        # A tunnel's datagrams share a port for as long as it is open.
        yield from (near for near in flow if fields["layer"] != "udp" or abs(near.time - one.time) < 0.4)
    for near in evidence.near("firewall", one.time - 1.0, one.time + 0.01):
        if all(near.fields[key] == fields[key] for key in ("source", "to")):
            yield near
    for near in evidence.near("dns", one.time - 0.1, one.time + 0.001):
        if near.fields["client"] == fields["source"] and near.fields["answer"] == fields["to"]:
            yield near
            yield from _asked(evidence, near.fields["query"], near.time)


def _of_log(evidence: Evidence, one: Seen) -> Iterator[Seen]:
    fields: dict[str, Any] = one.fields
    if one.kind.startswith("mail."):
        group = evidence.keys["mail", fields["queue"]]
        yield from group
        for near in evidence.keys["relay", group[0].fields["relay"]]:
            if one.time - 2 <= near.time <= one.time + 0.1:
                yield near
        for near in evidence.near("packet", one.time - 0.001, one.time + 1.0):
            if near.fields["first"] and near.fields["dport"] == "25" and fields["relay_address"] in (
                near.fields["source"], near.fields["to"]):  # fmt: skip
                yield from evidence.keys["flow", near.fields["source"], near.fields["sport"]]
    elif one.kind.startswith("vpn."):
        for near in evidence.keys["vpn", fields["peer"]]:
            if abs(near.time - one.time) <= 2:
                yield near
