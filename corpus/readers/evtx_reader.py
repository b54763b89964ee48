"""Windows event logs (EVTX), with the package `evtx`; offsets from the record headers in the file."""

import struct
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import orjson

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.readers.schemas import map_record
from logfm.corpus.streams import spool

_SPOOL_MEMORY = 64 << 20
_FIRST = 4096  # bytes of the file before its first chunk
_CHUNK = 65536
_HEADER = 512  # bytes of a chunk before its first record
_FREE = 48  # where a chunk says at which of its bytes the free space begins
_RECORD = struct.Struct("<4sIQ")
_MAGIC = b"\x2a\x2a\x00\x00"


def recognise(leaf: Leaf) -> str | None:
    """The file signature `ElfFile`."""
    return "signature ElfFile" if leaf.head.startswith(b"ElfFile\0") else None


def read(leaf: Leaf) -> Iterator[Event]:
    """One event a record: `text` is its JSON on one line, `offset` the record's header in the file.

    Raises:
        BrokenInput: the file is truncated, after the records that could be read.
    """
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_MEMORY) as file:
        fault = spool(leaf.stream, file)
        offsets = _offsets(file)
        end = _fill(file)
        if end is not None and fault is None:
            leaf.reject(end, "truncated EVTX file: the last chunk is cut")
        file.seek(0)
        for record in _records(leaf, file):
            number = record["event_record_id"]
            places = offsets.get(number)
            text = record["data"]
            yield leaf.event(places.pop(0) if places else 0, text, **map_record(orjson.loads(text), leaf.clock))
        for places in offsets.values():
            for place in places:
                leaf.reject(place, "damaged record", _MAGIC)
        if fault is not None:
            raise fault


def _records(leaf: Leaf, file: IO[bytes]) -> Iterator[dict[str, Any]]:
    from evtx import PyEvtxParser

    try:
        records: Any = PyEvtxParser(file, number_of_threads=1).records_json()
    except BaseException as error:  # noqa: BLE001 (a panic of its Rust code is no Exception)
        leaf.reject(0, f"damaged EVTX file ({_fault(error)})", leaf.head[:16])
        return
    while True:
        try:
            yield next(records)
        except StopIteration:
            return
        except BaseException as error:  # noqa: BLE001
            leaf.reject(0, f"damaged EVTX record ({_fault(error)})")
            if not isinstance(error, Exception):
                return  # what panicked is in no state to go on


def _fault(error: BaseException) -> str:
    """What the parser reports, also where its Rust code panicked: PyO3 raises that beside `Exception`.

    Raises:
        BaseException: the error is no fault of the file.
    """
    if not isinstance(error, RuntimeError | OSError | ValueError) and type(error).__name__ != "PanicException":
        raise error
    return " ".join(str(error).split())[:120]


def _fill(file: IO[bytes]) -> int | None:
    """Fill a cut chunk with zeros from its last whole record on; returns where the file ended, if it was cut.

    The parser reads no chunk that lacks a byte, and would take zeros within a record for its values.
    """
    size = file.seek(0, 2)
    held = (size - _FIRST) % _CHUNK
    if size <= _FIRST or not held:
        return None
    file.seek(size - held)
    chunk = file.read(held)
    at = _HEADER
    while at + _RECORD.size <= held:
        magic, length, _ = _RECORD.unpack_from(chunk, at)
        if magic != _MAGIC or length < _RECORD.size or at + length > held:
            break
        at += length
    at = min(at, held)
    file.seek(size - held + at)
    file.write(bytes(_CHUNK - at))
    return size


def _offsets(file: IO[bytes]) -> dict[int, list[int]]:
    """Byte offsets of the record headers by record number, walking each chunk from its first record."""
    found: dict[int, list[int]] = {}
    base = _FIRST
    file.seek(base)
    while chunk := file.read(_CHUNK):
        at = _HEADER
        # Behind the free space lie remains of earlier records.
        end = min(len(chunk), int.from_bytes(chunk[_FREE : _FREE + 4], "little"))
        while chunk.startswith(b"ElfChnk\0") and at + _RECORD.size <= end:
            magic, size, number = _RECORD.unpack_from(chunk, at)
            if magic != _MAGIC or size < _RECORD.size:
                break
            found.setdefault(number, []).append(base + at)
            at += size
        base += len(chunk)
    return found
