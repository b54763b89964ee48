"""Packet captures (pcap, pcapng) with the package `dpkt`: one event a packet."""

import struct
import tempfile
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.streams import spool
from logfm.corpus.times import from_epoch

MAGIC = {
    b"\xd4\xc3\xb2\xa1": "pcap", b"\xa1\xb2\xc3\xd4": "pcap", b"\x4d\x3c\xb2\xa1": "pcap",
    b"\xa1\xb2\x3c\x4d": "pcap", b"\x0a\x0d\x0d\x0a": "pcapng",
}  # fmt: skip
_SPOOL_MEMORY = 64 << 20
_LINKS = {0: "loopback", 1: "ethernet", 101: "raw", 113: "sll", 228: "raw", 229: "raw"}
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"HTTP/1.")
_FLAGS = "FSRPAUEC"  # of TCP, from the lowest bit
_FAULTS = (ValueError, TypeError, IndexError, KeyError, AttributeError, struct.error, AssertionError)


def recognise(leaf: Leaf) -> str | None:
    """The file's magic number."""
    kind = MAGIC.get(leaf.head[:4])
    return f"magic number of {kind}" if kind else None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event a packet: `text` is one JSON line of its headers (and of DNS queries and HTTP request lines).

    `offset` is the packet's record in the file. Without the package `dpkt` the file is one reject.

    Raises:
        BrokenInput: the file is truncated, after the packets that could be read.
    """
    try:
        dpkt: Any = import_module("dpkt")
    except ModuleNotFoundError:
        leaf.reject(0, 'a capture needs the package dpkt: pip install "logfm[pcap]"', leaf.head[:4])
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_MEMORY) as file:
        fault = spool(leaf.stream, file)
        for offset, seconds, data, link in _packets(dpkt, leaf, file):
            record = _describe(dpkt, data, link)
            yield leaf.event(
                offset,
                orjson.dumps({"ts": float(seconds), **record}).decode(),
                source="pcap",
                timestamp=from_epoch(float(seconds)),
                host=record.get("src"),
                process=record.get("user_agent"),
                log_type=record.get("proto"),
            )
        if fault is not None:
            raise fault


class _Careful:
    """A file that refuses the huge reads which a hostile length field asks for. `short` tells of the last read."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._limit = file, limit
        self.name = "capture"
        self.short = False

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._limit:
            raise ValueError(f"record longer than {self._limit} bytes")
        data = self._file.read(size)
        self.short = len(data) < size
        return data

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def _packets(dpkt: Any, leaf: Leaf, disk: IO[bytes]) -> Iterator[tuple[int, Any, bytes, str]]:
    file = _Careful(disk, leaf.limit)
    offset = 0
    try:
        capture = dpkt.pcap.UniversalReader(file)
        link = _LINKS.get(capture.datalink(), "unknown")
        packets = iter(capture)
        while True:
            offset = file.tell()
            seconds, data = next(packets)
            if file.short:
                leaf.reject(offset, "truncated capture: the last packet is cut", data[:200])
                return
            yield offset, seconds, data, link
    except StopIteration:
        return
    except (dpkt.Error, *_FAULTS) as error:
        leaf.reject(offset, f"damaged capture ({' '.join(str(error).split())[:100] or type(error).__name__})")


def _describe(dpkt: Any, data: bytes, link: str) -> dict[str, Any]:
    """Headers of a packet, as far as they can be parsed."""
    record: dict[str, Any] = {"length": len(data)}
    try:
        layer = _network(dpkt, data, link)
        if not isinstance(layer, dpkt.ip.IP | dpkt.ip6.IP6):
            return record | {"proto": type(layer).__name__.lower() if layer is not None else link}
        record["src"], record["dst"] = dpkt.utils.inet_to_str(layer.src), dpkt.utils.inet_to_str(layer.dst)
        inner = layer.data
        record["proto"] = "fragment" if isinstance(inner, bytes) else type(inner).__name__.lower()
        if isinstance(inner, dpkt.tcp.TCP | dpkt.udp.UDP):
            record["sport"], record["dport"] = inner.sport, inner.dport
            if isinstance(inner, dpkt.tcp.TCP):
                record["flags"] = "".join(flag for bit, flag in enumerate(_FLAGS) if inner.flags >> bit & 1)
            record["payload_bytes"] = len(inner.data)
            record |= _application(dpkt, inner)
        elif isinstance(inner, dpkt.icmp.ICMP):
            record["type"], record["code"] = inner.type, inner.code
    except (dpkt.Error, *_FAULTS):
        record.setdefault("proto", "malformed")
    return record


def _network(dpkt: Any, data: bytes, link: str) -> Any:
    if link == "ethernet":
        return dpkt.ethernet.Ethernet(data).data
    if link == "sll":
        return dpkt.sll.SLL(data).data
    if link == "loopback":
        return dpkt.loopback.Loopback(data).data
    if link == "raw" and data:
        return dpkt.ip6.IP6(data) if data[0] >> 4 == 6 else dpkt.ip.IP(data)
    return None


def _application(dpkt: Any, segment: Any) -> dict[str, Any]:
    payload = bytes(segment.data)
    if isinstance(segment, dpkt.udp.UDP) and 53 in (segment.sport, segment.dport):
        message = dpkt.dns.DNS(payload)
        return {
            "dns": "response" if message.qr else "query",
            "names": [question.name for question in message.qd],
            "answers": [_answer(dpkt, answer) for answer in message.an],
        }
    if payload.startswith(_METHODS):
        lines = payload[:4096].split(b"\r\n")
        found: dict[str, Any] = {"http": lines[0].decode("utf-8", "backslashreplace")}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            if name.lower() in (b"host", b"user-agent"):
                found[name.decode().lower().replace("-", "_")] = value.strip().decode("utf-8", "backslashreplace")
        return found
    return {}


def _answer(dpkt: Any, answer: Any) -> str:
    if answer.type in (dpkt.dns.DNS_A, dpkt.dns.DNS_AAAA):
        return str(dpkt.utils.inet_to_str(answer.rdata))
    return str(getattr(answer, "cname", "") or answer.name)
