"""What the network and the browser see: packet summaries, the firewall's lines, ActivityWatch's events."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple
from zlib import crc32

import orjson

from logfm.corpus.simulate.records import Record, moment, syslog_time, ttl_of
from logfm.corpus.simulate.sources_of import NUMBER

PACKETS = "network/packets.json"
FIREWALL = "network/firewall.log"
WEB_TABS = "browser/web_{host}.json"
WINDOWS_IN_FRONT = "browser/window_{host}.json"
_SERVICES = {22: "ssh", 25: "smtp", 53: "dns", 80: "http", 88: "kerberos", 389: "ldap", 445: "smb2", 3389: "rdp"}
_COLUMN = {"tls": "TLSv1.2", "ssh": "SSHv2", "smb2": "SMB2", "rdp": "RDP", "kerberos": "KRB5", "data": "TCP"}
_SAYS = {
    "tls": "Application Data",
    "ssh": "Encrypted packet",
    "http": "Continuation",
    "smb2": "Write Request",
    "rdp": "Virtual Channel PDU",
    "kerberos": "TGS-REP",
    "ldap": "searchResEntry",
    "smtp": "C: DATA fragment",
    "data": "[PSH, ACK]",
}
_DURATION = re.compile(r'(?<="duration":)[\d.]+')
_DAY = 86_400_000_000
_MOST_DATA = 3
_SEGMENT = 1460
_DATA = "·······AP···"
_QUERIES = 100_000
"""Queries of which it is remembered whether they were asked."""
_OFFLOADED = 44 * _SEGMENT
"""What segmentation offload makes of a long transfer's segments, at most: an IP packet has no more than 64 KiB."""


_WINDOWS = (501, 502, 1026, 2053, 8195, 8212, 64128, 64240, 65280, 65535)
"""Receive windows as they stand in the header, of one kind of system or another."""


class Segment(NamedTuple):
    """What the TCP header of a packet says: sequence and acknowledgement numbers as sent, and the window."""

    flags: str
    seq: int
    ack: int
    window: int


def packet(
    time: int, ends: tuple[str, str, int, int], kind: str, length: int, info: str, segment: Segment | None = None
) -> str:
    """A packet as `tshark -T ek` writes it, with the columns of its summary.

    `ends` is source, destination and their ports; `length` the frame's bytes; the frame's number is set when it is
    written. TCP has a `segment`.
    """
    source, to, source_port, port = ends
    when = moment(time).isoformat(timespec="microseconds").removesuffix("+00:00")
    layer = "udp" if kind in ("dns", "udp") else "icmp" if kind == "icmp" else "tcp"
    above = "" if kind in ("tcp", "udp", "icmp", "data") else f":{kind}"
    transport = (
        f'"{layer}":{{"{layer}_{layer}_srcport":"{source_port}","{layer}_{layer}_dstport":"{port}"'
        + (_header(segment) if segment else "")
        + "},"
        if layer != "icmp"
        else f'"icmp":{{"icmp_icmp_type":"{0 if "reply" in info else 8}"}},'
    )
    name = _COLUMN.get(kind, kind.upper())
    return (
        f'{{"timestamp":"{time // 1000}","layers":{{"frame":{{"frame_frame_time_epoch":"{when}000Z",'
        f'"frame_frame_number":"{NUMBER}","frame_frame_len":"{length}",'
        f'"frame_frame_protocols":"eth:ethertype:ip:{layer}{above}"}},'
        f'"ip":{{"ip_ip_ttl":"{_hops(source)}","ip_ip_src":"{source}","ip_ip_dst":"{to}"}},{transport}'
        f'"_ws_col":{{"_ws_col_protocol":"{name}","_ws_col_info":"{info}"}}}}}}'
    )


def _header(segment: Segment) -> str:
    return (
        f',"tcp_tcp_seq_raw":"{segment.seq}","tcp_tcp_ack_raw":"{segment.ack}","tcp_tcp_flags_str":"{segment.flags}"'
        f',"tcp_tcp_window_size_value":"{segment.window}"'
    )


def _hops(address: str) -> int:
    """Time to live of a packet where it is captured: that of the sender's system, less the routers on the way."""
    number = crc32(address.encode())
    start = 128 if number % 3 else 64
    return start - (0 if address.startswith("10.") else 6 + number // 3 % 14)


def conversation(
    rng: random.Random, time: int, ends: tuple[str, str, int, int], name: str, volume: tuple[int, int], protocol: str
) -> Iterator[tuple[int, str]]:
    """The packets of a conversation: times and lines. `volume` is the bytes sent and received.

    At most a few packets of data are shown in each direction, like a capture that is cut at some packets a flow; the
    numbers of the last one count all bytes.
    """
    client, server, source_port, port = ends
    back = (server, client, port, source_port)
    if protocol != "tcp":
        for end, size, echo in zip((ends, back), volume, ("request", "reply"), strict=True):
            for length in _pieces(size, _SEGMENT):
                info = f"{end[2]} → {end[3]} Len={length}" if protocol == "udp" else f"Echo (ping) {echo}"
                yield time, packet(time, end, protocol, length + 42, info)
                time += rng.randrange(300, 60_000)
        return
    kind = "tls" if port in (443, 8443, 993, 465) else _SERVICES.get(port, "data")
    lap = rng.randrange(400, 45_000)
    upcoming = [rng.getrandbits(32), rng.getrandbits(32)]
    windows = [rng.choice(_WINDOWS), rng.choice(_WINDOWS)]

    def sent(time: int, way: int, kind: str, size: int, info: str, flags: str) -> tuple[int, str]:
        """A packet of `size` bytes of data, by the client (way 0) or the server (1)."""
        opens = "S" in flags
        seen = upcoming[1 - way] if "A" in flags else 0
        segment = Segment(flags, upcoming[way], seen, windows[way])
        upcoming[way] = (upcoming[way] + size + opens) % (1 << 32)
        return time, packet(time, (back if way else ends), kind, (66 if opens else 54) + size, info, segment)

    for way, told, flags in ((0, "[SYN]", "··········S·"), (1, "[SYN, ACK]", "·······A··S·"),
                             (0, "[ACK]", "·······A····")):  # fmt: skip
        ports = f"{port} → {source_port}" if way else f"{source_port} → {port}"
        yield sent(time, way, "tcp", 0, f"{ports} {told}", flags)
        time += lap
    greeted = [0, 0]
    if kind == "tls":
        # What a browser and most tools show of the name that they want.
        greeted = [529 + len(name), _SEGMENT]
        yield sent(time, 0, kind, greeted[0], f"Client Hello (SNI={name})", _DATA)
        time += lap
        yield sent(time, 1, kind, greeted[1], "Server Hello, Certificate", _DATA)
    elif kind == "http":
        greeted = [146 + len(name), 0]
        yield sent(time, 0, kind, greeted[0], f"GET / HTTP/1.1 (Host: {name})", _DATA)
    says = _SAYS.get(kind, "[PSH, ACK]")
    for way, size in enumerate(volume):
        shown = 0
        for length in _pieces(size, _OFFLOADED):
            # Pauses of a conversation are of every order of magnitude.
            time += min(20_000_000, int(rng.lognormvariate(11.5, 2.2)))
            yield sent(time, way, kind, length, f"{says} Len={length}", _DATA)
            shown += length
        # The capture is cut, the numbers go on.
        upcoming[way] = (upcoming[way] + size - shown) % (1 << 32)
    time += rng.randrange(1_000, 3_000_000)
    seq, ack = (1 + early + size for early, size in zip(greeted, volume, strict=True))
    last = f"{source_port} → {port} [FIN, ACK] Seq={seq} Ack={ack} Win=64128 Len=0"
    yield sent(time, 0, "tcp", 0, last, "·······A···F")


def _pieces(size: int, most: int) -> Iterator[int]:
    """Lengths of the first packets of so many bytes, each of `most` bytes at most."""
    count = min(_MOST_DATA, max(1, -(-size // _SEGMENT)))
    for number in range(count):
        yield min(most, max(1, size // count) if number else max(1, size - size // count * (count - 1)))


def firewall_line(rng: random.Random, time: int, ends: tuple[str, str, int, int], *, out: bool, blocked: bool,
                  protocol: str) -> str:  # fmt: skip
    """A line of iptables' LOG target at the border, one router from whoever is inside."""
    source, to, source_port, port = ends
    verdict = "DROP" if blocked else "ACCEPT"
    way = "IN=eth1 OUT=eth0" if out else "IN=eth0 OUT=eth1"
    number = rng.randrange(65536)
    ports = f" SPT={source_port} DPT={port}" if protocol != "icmp" else f" TYPE=8 CODE=0 ID={number >> 4} SEQ=1"
    tail = {"tcp": " WINDOW=64240 RES=0x00 SYN URGP=0", "udp": " LEN=40"}.get(protocol, "")
    return (
        f"{syslog_time(time)} fw01 kernel: [{time // 1_000_000 % 10_000_000}.{time % 1_000_000:06d}] FW-{verdict} "
        f"{way} SRC={source} DST={to} LEN=60 TOS=0x00 PREC=0x00 TTL={_hops(source) - out} "
        f"ID={number} DF PROTO={protocol.upper()}{ports}{tail}"
    )


def watched(time: int, seconds: float, data: dict[str, str | bool]) -> str:
    """An event of an ActivityWatch bucket."""
    when = moment(time).isoformat(timespec="milliseconds")
    event = {"id": NUMBER, "timestamp": when, "duration": round(seconds, 3), "data": data}
    return orjson.dumps(event).decode().replace('"\\u0000"', NUMBER)


def one_at_a_time(records: Sequence[Record]) -> list[Record]:
    """Records in order of time, in which a tab or a window lasts no longer than until the next one of its host."""
    follows: dict[str, int] = {}
    found = []
    for record in reversed(records):
        if isinstance(record.body, str) and record.file.startswith("browser/"):
            left = (follows.get(record.file, record.time + _DAY) // 1000 - record.time // 1000) / 1000
            seconds = min(left, float(_DURATION.findall(record.body)[0]))
            follows[record.file] = record.time
            found.append(replace(record, body=_DURATION.sub(str(seconds), record.body, count=1)))
        else:
            found.append(record)
    return found[::-1]


class Resolvers:
    """What clients have asked the name server lately: for as long as an answer holds, they don't ask again."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._asked: dict[tuple[str, int], bool] = {}

    def ask(self, record: Record) -> bool:
        """Whether a record, the next in order of time, comes about: one of a query may not."""
        if record.lookup is None:
            return True
        place, number = record.lookup
        if record.lookup not in self._asked:
            asks = self._known.get(place, 0) <= record.time
            self._asked[place, number] = asks
            # Records of one query stand close together, and a long simulation must not remember all of them.
            if len(self._asked) > _QUERIES:
                del self._asked[next(iter(self._asked))]
            if asks:
                self._known[place] = record.time + ttl_of(place.rpartition("/")[2]) * 1_000_000
        return self._asked[place, number]


def bucket_ends(file: str, time: int) -> tuple[str, str]:
    """What stands before and behind the events of an export with one bucket, by the file's name."""
    kind, _, host = file.removeprefix("browser/").removesuffix(".json").partition("_")
    web = kind == "web"
    name = f"aw-watcher-{'web-chrome' if web else 'window'}_{host}"
    head: dict[str, object] = {
        "id": name,
        "created": moment(time).isoformat(),
        "name": None,
        "type": "web.tab.current" if web else "currentwindow",
        "client": f"aw-watcher-{'web' if web else 'window'}",
        "hostname": host,
        "data": {},
    }
    return f'{{"buckets":{{"{name}":{orjson.dumps(head).decode()[:-1]},"events":[\n', "\n]}}}\n"
