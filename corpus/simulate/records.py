"""One record of a log on its way to disk, and the lines of the text formats."""

import random
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

WINDOWS = "windows/events.json"
AUTH = "linux/auth.log"
WEB = "web/access.log"
DNS = "dns/dns.log"
FILES = (WINDOWS, AUTH, WEB, DNS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Neither depends on a locale, as strftime's %b would.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_QTYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}
_TTLS = (20, 60, 60, 300, 300, 600, 3600, 86400)
_RCODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
_DNS_FIELDS = (
    "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port proto:enum "
    "trans_id:count rtt:interval query:string qclass:count qclass_name:string qtype:count "
    "qtype_name:string rcode:count rcode_name:string AA:bool TC:bool RD:bool RA:bool Z:count "
    "answers:vector[string] TTLs:vector[interval] rejected:bool"
)


@dataclass(frozen=True, slots=True)
class Truth:
    """What an event belongs to; an attack's step, or nothing of that kind."""

    label: str = "benign"
    techniques: tuple[str, ...] = ()
    tactic: str | None = None
    scenario: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A record of one file; `time` in microseconds since 1970; `body` a line, or the fields of a Windows event."""

    time: int
    file: str
    body: str | dict[str, Any]
    truth: Truth
    lookup: tuple[str, int] | None = None
    """Of a query that a cache may answer: `client/name`, and the transaction's number."""


def moment(time: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=time)


def stamp(time: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return moment(time).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sysmon_time(time: int) -> str:
    """The same moment as Sysmon writes it in its fields."""
    return stamp(time)[:-1].replace("T", " ")


def syslog_time(time: int) -> str:
    """The time of RFC 3164, which has no year."""
    when = moment(time)
    return f"{_MONTHS[when.month - 1]} {when.day:2d} {when:%H:%M:%S}"


def auth_line(time: int, host: str, program: str, pid: int | None, message: str) -> str:
    """A line of RFC 3164 as it is stored: without priority and year."""
    tag = program if pid is None else f"{program}[{pid}]"
    return f"{syslog_time(time)} {host} {tag}: {message}"


def web_line(
    time: int, client: str, user: str, request: tuple[str, str], status: int, size: int, referrer: str, agent: str
) -> str:
    """A line of Apache's combined log; `request` is method and path."""
    when = moment(time)
    day = f"{when.day:02d}/{_MONTHS[when.month - 1]}/{when.year}"
    method, path = request
    sent = str(size) if status not in (204, 304) else "-"
    return (
        f'{client} - {user} [{day}:{when:%H:%M:%S} +0000] "{method} {path} HTTP/1.1" {status} {sent} '
        f'"{referrer}" "{agent}"'
    )


def ttl_of(name: str) -> int:
    """How long an answer holds (seconds): always the same for a name."""
    return _TTLS[zlib.crc32(name.encode()) % len(_TTLS)]


def dns_header(start: int) -> list[str]:
    """The lines before the records of a Zeek log."""
    names, kinds = zip(*(field.split(":") for field in _DNS_FIELDS.split()), strict=True)
    return [
        r"#separator \x09",
        "#set_separator\t,",
        "#empty_field\t(empty)",
        "#unset_field\t-",
        "#path\tdns",
        f"#open\t{moment(start):%Y-%m-%d-%H-%M-%S}",
        "\t".join(("#fields", *names)),
        "\t".join(("#types", *kinds)),
    ]


def dns_line(
    rng: random.Random, time: int, ends: tuple[str, str, int], number: int, query: str, kind: str, rcode: str,
    answer: str | None,
) -> str:  # fmt: skip
    """A record of Zeek's dns.log: `ends` is client, server and the client's port, `number` the transaction's id."""
    client, server, port = ends
    found = answer is not None and rcode == "NOERROR"
    uid = "C" + "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789", k=17))
    ttl = float(ttl_of(query))
    values = (
        f"{time // 1_000_000}.{time % 1_000_000:06d}", uid, client, port, server, 53, "udp",
        number, f"{rng.expovariate(60) + 0.0003:.6f}", query, 1, "C_INTERNET", _QTYPES[kind], kind,
        _RCODES[rcode], rcode, "F", "F", "T", "T", 0, answer if found else "-", f"{ttl:.6f}" if found else "-",
        "T" if rcode == "REFUSED" else "F",
    )  # fmt: skip
    return "\t".join(map(str, values))
