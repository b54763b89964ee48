"""The records of a session as evidence: what kind each is, what it says, and what shares a key with it."""

import base64
import binascii
import json
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, str]
_ENCODED = re.compile(r"(-(?:enc|ec|EncodedCommand) )([A-Za-z0-9+/=]{16,})")
_AUTH = re.compile(r"^\w{3} [ \d]\d [\d:]{8} (\S+) ([\w-]+)(?:\[(\d+)\])?: (.*)$", re.DOTALL)
_WEB = re.compile(r'^(\S+) - (\S+) \[[^]]*\] "(\S+) (\S+) [^"]*" (\d+) \S+ "([^"]*)" "([^"]*)"')
_FIREWALL = re.compile(r" SRC=(\S+) DST=(\S+)(?:.*? SPT=(\d+) DPT=(\d+))?")
_MAIL = re.compile(r"\]: ([0-9A-F]{10}): ")
_VPN = re.compile(r"(\d+\.\d+\.\d+\.\d+):(\d+)")
_ARGUMENT = re.compile(r'a\d+=(?:"([^"]*)"|([0-9A-F]+))')


@dataclass(frozen=True)
class Seen:
    """A record: its place in the session, time (s since 1970), kind and fields."""

    number: int
    time: float
    kind: str
    fields: Fields


@dataclass
class Evidence:
    """A session's records by kind and by keys that several of them share."""

    seen: dict[int, Seen] = field(default_factory=dict)
    kinds: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[tuple[str, ...], list[Seen]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Names of addresses, as far as records tell."""
    sources: frozenset[str] = frozenset()
    """The folders of the sources that may be looked at."""

    def has(self, kind: str) -> bool:
        """Whether records of a kind could be seen."""
        return _FOLDERS.get(kind.partition(".")[0], "windows") in self.sources

    def near(self, kind: str, low: float, high: float) -> list[Seen]:
        """The records of a kind from one time to another; `begun` are the first packets of flows."""
        times = self.times[kind]
        return self.kinds[kind][bisect_left(times, low) : bisect_left(times, high)]


def gather(lines: Sequence[tuple[int, float, str, str, str]], sources: frozenset[str]) -> Evidence:
    """Evidence from lines of some sources: number, time, source's folder, host and text, in order of time."""
    found = Evidence(sources=sources)
    for number, time, source, host, text in lines:
        kind, fields = _READ[source](text, host)
        one = Seen(number, time, kind, fields)
        found.seen[number] = one
        for name in (kind, "begun") if fields.get("first") else (kind,):
            found.kinds[name].append(one)
            found.times[name].append(time)
        for key in _keys(one):
            found.keys[key].append(one)
        for address, name in _names(one):
            if name not in found.names[address]:
                found.names[address].append(name)
    for key, group in list(found.keys.items()):
        if key[0] == "mail":
            _add_mail(found, group)
    for kind in ("mail.received", "mail.internal", "mail.sent"):
        found.kinds[kind].sort(key=lambda one: (one.time, one.number))
        found.times[kind] = [one.time for one in found.kinds[kind]]
    return found


def _add_mail(found: Evidence, group: Sequence[Seen]) -> None:
    """A mail of several lines as one piece of evidence, at the line of its first."""
    text = "\n".join(one.fields["text"] for one in group)
    sender, recipient, size = (re.search(pattern, text) for pattern in (
        r"from=<([^>]*)>", r": to=<([^>]*)>", r"size=(\d+)"))  # fmt: skip
    if sender is None or recipient is None or size is None:
        return
    client = re.search(r"client=([^\[]+)\[([\d.]+)\]", text)
    relay = re.search(r"relay=mx[^\[]*\[([\d.]+)\]", text)
    fields = {"queue": group[0].fields["queue"], "sender_address": sender[1], "recipient": recipient[1],
              "size": size[1], "relay": client[1] if client else "", "client": client[2] if client else ""}  # fmt: skip
    fields["relay_address"] = relay[1] if relay else fields["client"]
    kind = "mail.received" if "sasl_method" not in text else "mail.internal" if "/lmtp[" in text else "mail.sent"
    found.kinds[kind].append(Seen(group[0].number, group[0].time, kind, fields))


def _keys(one: Seen) -> Iterator[tuple[str, ...]]:
    fields = one.fields
    if one.kind.startswith("win"):
        host = fields["host"]
        if guid := fields.get("ProcessGuid"):
            yield ("process", guid)
        if port := fields.get("SourcePort"):
            yield ("flow", fields.get("SourceIp") or fields.get("SourceAddress", ""), port)
        for name in ("TargetLogonId", "SubjectLogonId"):
            if one.kind in ("win4624", "win4627", "win4634", "win4672") and name in fields:
                yield ("logon", host, fields[name])
        if one.kind == "win4688":
            yield ("pid", host, fields["NewProcessId"])
        if one.kind == "win4689":
            yield ("pid", host, fields["ProcessId"])
    elif one.kind in ("packet", "firewall"):
        yield ("flow", fields["source"], fields["sport"])
        if one.kind == "packet":
            yield ("flow", fields["to"], fields["dport"])
            yield ("pair", *sorted((fields["source"], fields["to"])))
    elif one.kind == "mailline" and fields["queue"]:
        yield ("mail", fields["queue"])
    elif one.kind == "mailline" and fields["relay"]:
        yield ("relay", fields["relay"])
    elif one.kind.startswith("vpn"):
        yield ("vpn", fields["peer"])


def _names(one: Seen) -> Iterator[tuple[str, str]]:
    if one.kind == "win3":
        yield one.fields["SourceIp"], one.fields["host"]
    elif one.kind == "win22":
        for address in filter(None, one.fields["QueryResults"].split(";")):
            yield address.removeprefix("::ffff:"), one.fields["QueryName"]
    elif one.kind == "dns" and one.fields["type"] == "A" and one.fields["answer"] != "-":
        name, answer = one.fields["query"], one.fields["answer"]
        yield answer, name
        if name.endswith(".local"):
            label = name.partition(".")[0]
            yield answer, label
            yield answer, label.upper()


def _windows(text: str, _: str) -> tuple[str, Fields]:
    fields = {name: str(value) for name, value in json.loads(text).items() if name != "Message"}
    fields["host"] = fields["Hostname"].partition(".")[0]
    fields["who"] = fields.get("User", "").rpartition("\\")[2]
    if "CommandLine" in fields:
        fields["CommandLine"] = _ENCODED.sub(_decoded, fields["CommandLine"])
    return f"win{fields['EventID']}", fields


def _decoded(match: re.Match[str]) -> str:
    try:
        return f"{match[1]}enc:{base64.b64decode(match[2]).decode('utf-16-le')}"
    except (binascii.Error, UnicodeDecodeError):
        return match[0]


def _linux(text: str, host: str) -> tuple[str, Fields]:
    if text.startswith("node="):
        return _audit(text)
    match = _AUTH.match(text)
    if match is None:
        return "other", {}
    return "auth", {
        "host": match[1],
        "program": match[2].removesuffix("-session"),
        "pid": match[3] or "",
        "message": match[4],
    }


def _audit(text: str) -> tuple[str, Fields]:
    host, exe = text.split(" ", 1)[0][5:], re.search(r'exe="([^"]*)"', text)
    fields = {"at": host, "exe": exe[1] if exe else ""}
    if "type=EXECVE" in text:
        words = [plain or bytes.fromhex(coded).decode(errors="replace") for plain, coded in _ARGUMENT.findall(
            text.partition("type=EXECVE")[2].partition("\n")[0])]  # fmt: skip
        return "audit.command", fields | {"command": " ".join(words)}
    if address := re.search(r"saddr=0200([0-9A-F]{4})([0-9A-F]{8})", text):
        parts = bytes.fromhex(address[2])
        return "audit.connect", fields | {"saddr": f"{'.'.join(map(str, parts))}:{int(address[1], 16)}"}
    path = re.search(r'name="([^"]*)"', text)
    return "audit.write", fields | {"path": path[1] if path else ""}


def _network(text: str, _: str) -> tuple[str, Fields]:
    if text.startswith("{"):
        layers = json.loads(text)["layers"]
        layer: dict[str, str] = next((value for name, value in layers.items() if name in ("tcp", "udp")), {})
        ports = {key[-7:]: value for key, value in layer.items()}
        kind = next(name for name in ("tcp", "udp", "icmp") if name in layers)
        info = layers["_ws_col"]["_ws_col_info"]
        fields = {"source": layers["ip"]["ip_ip_src"], "to": layers["ip"]["ip_ip_dst"], "layer": kind, "info": info,
                  "sport": ports.get("srcport", ""), "dport": ports.get("dstport", "")}  # fmt: skip
        fields["length"] = layers["frame"]["frame_frame_len"]
        return "packet", fields | {"first": "1" if "[SYN]" in info or kind != "tcp" else ""}
    if "openvpn" in text:
        peer = _VPN.search(text)
        who = re.search(r"username '(\w[^']*)'|peer '([^']*)'|: ([^/ ]+)/\d", text)
        fields = {"peer": peer[0] if peer else "", "from": peer[1] if peer else ""}
        fields["who"] = next(filter(None, who.groups()), "") if who else ""
        kind = "connected" if "succeeded" in text else "failed" if "Error" in text else (
            "left" if "exiting" in text else "line")  # fmt: skip
        return f"vpn.{kind}", fields
    match = _FIREWALL.search(text)
    groups = match.groups("") if match else ("", "", "", "")
    return "firewall", dict(zip(("source", "to", "sport", "dport"), groups, strict=True))


def _dns(text: str, _: str) -> tuple[str, Fields]:
    record = json.loads(text)
    answers = ",".join(record.get("answers") or ()) or "-"
    return "dns", {"client": record["id.orig_h"], "query": record["query"], "type": record["qtype_name"],
                   "rcode": record["rcode_name"], "answer": answers}  # fmt: skip


def _web(text: str, _: str) -> tuple[str, Fields]:
    match = _WEB.match(text)
    names = ("client", "user", "method", "path", "status", "referrer", "agent")
    return "web", dict(zip(names, match.groups(), strict=True)) if match else {}


def _mail(text: str, _: str) -> tuple[str, Fields]:
    queue, relay = _MAIL.search(text), re.search(r"(?:connect from|client=)(?: )?\S*\[([\d.]+)\]", text)
    fields = {"queue": queue[1] if queue else "", "relay": relay[1] if relay else "", "text": text}
    return "mailline", fields


def _cloud(text: str, _: str) -> tuple[str, Fields]:
    record = json.loads(text)
    if "eventName" in record:
        given, answer = record.get("requestParameters") or {}, record.get("responseElements") or {}
        return "cloudtrail.call", {
            "service": record["eventSource"].partition(".")[0], "name": record["eventName"],
            "who": record["userIdentity"]["userName"], "from": record["sourceIPAddress"], "tool": record["userAgent"],
            "parameters": "; ".join(f"{key}={value}" for key, value in given.items()),
            "answer": "; ".join(f"{key}={value}" for key, value in answer.items()),
        }  # fmt: skip
    if "Operation" in record:
        given = record.get("Parameters") or {}
        return "office.operation", {
            "operation": record["Operation"], "who": _person(record["UserId"]), "from": record["ClientIP"],
            "workload": record["Workload"], "object": record["ObjectId"],
            "parameters": "; ".join(f"{key}={value}" for key, value in given.items()),
        }  # fmt: skip
    if "activityDisplayName" in record:
        by = record["initiatedBy"]["user"]
        return "entra.audit", {"activity": record["activityDisplayName"], "who": _person(by["userPrincipalName"]),
                               "from": by["ipAddress"], "group": record["category"]}  # fmt: skip
    status, device = (record.get(name) or {} for name in ("status", "deviceDetail"))
    return "entra.signin", {
        "who": _person(record["userPrincipalName"]), "from": record["ipAddress"],
        "application": record["appDisplayName"], "device": device.get("displayName", ""),
        "code": str(status.get("errorCode", "")), "mfa": status.get("additionalDetails", ""),
        "protocol": record["authenticationProtocol"],
    }  # fmt: skip


def _person(address: str) -> str:
    return address.partition("@")[0]


def _browser(text: str, host: str) -> tuple[str, Fields]:
    data: dict[str, Any] = json.loads(text)["data"]
    fields = {"host": host, "title": data["title"], "url": data.get("url", ""), "app": data.get("app", "")}
    return "tab" if "url" in data else "window", fields


_FOLDERS = {"auth": "linux", "audit": "linux", "packet": "network", "begun": "network", "firewall": "network",
            "vpn": "network", "dns": "dns", "web": "web", "mail": "mail", "cloudtrail": "cloud", "office": "cloud",
            "entra": "cloud", "tab": "browser", "window": "browser"}  # fmt: skip
_READ: dict[str, Callable[[str, str], tuple[str, Fields]]] = {
    "windows": _windows,
    "linux": _linux,
    "network": _network,
    "dns": _dns,
    "web": _web,
    "mail": _mail,
    "cloud": _cloud,
    "browser": _browser,
}
