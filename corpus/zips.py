"""Members of a zip file, also of one whose end is missing."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Protocol

from logfm.corpus.events import Reject
from logfm.corpus.streams import CHUNK, BrokenInput, file_chunks

_MEMBER = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s5H3I2H")
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
Entry = tuple[str, datetime | None, Iterator[bytes]]


class _Parent(Protocol):
    @property
    def file(self) -> str: ...


def zip_members(disk: IO[bytes], parent: _Parent, only: range | None = None) -> Iterator[Reject | Entry]:
    """Name, time and chunks of each member; what is damaged or encrypted comes as a Reject.

    Raises:
        BrokenInput: the central directory is missing, after the members that could still be found.
    """
    try:
        archive = zipfile.ZipFile(disk)
    except _FAULTS as error:
        yield from _salvage(disk, parent)
        raise BrokenInput(f"truncated or damaged zip ({error})") from None
    if not archive.infolist() and _starts_with_member(disk):
        # An empty directory before members would hide them.
        yield from _salvage(disk, parent)
        raise BrokenInput("truncated or damaged zip (its directory names no member)")
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        seen: dict[str, int] = {}
        labels = [unique_label(entry.filename, seen) for entry in entries]
        for entry, label in list(zip(entries, labels, strict=True))[_slice(only)]:
            if entry.flag_bits & 1:
                yield Reject(f"{parent.file}!{label}", 0, "encrypted member of a zip")
            else:
                yield label, _time(entry.date_time), _chunks(archive, entry)


def _starts_with_member(disk: IO[bytes]) -> bool:
    disk.seek(0)
    return disk.read(len(_MEMBER)) == _MEMBER


def unique_label(label: str, seen: dict[str, int]) -> str:
    """A member's name as valid text; one that comes again gets `#2`, `#3`, ... behind it."""
    label = label.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    seen[label] = seen.get(label, 0) + 1
    return label if seen[label] == 1 else f"{label}#{seen[label]}"


def _slice(only: range | None) -> slice:
    return slice(None) if only is None else slice(only.start, only.stop)


def zip_sizes(disk: IO[bytes]) -> list[int]:
    """Unpacked size in bytes of each member in order, as declared; empty for a damaged zip."""
    try:
        with zipfile.ZipFile(disk) as archive:
            return [entry.file_size for entry in archive.infolist() if not entry.is_dir()]
    except _FAULTS:
        return []


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(entry) as content:
            yield from file_chunks(content)
    except _FAULTS as error:
        raise BrokenInput(f"damaged zip member ({error})") from None


def _time(parts: tuple[int, int, int, int, int, int]) -> datetime | None:
    if parts[:3] == (1980, 1, 1):  # the format's zero
        return None
    try:
        return datetime(*parts, tzinfo=UTC)
    except ValueError:
        return None


def _salvage(disk: IO[bytes], parent: _Parent) -> Iterator[Reject | Entry]:
    """Walk the local headers from the start, as far as they go."""
    place = [0]
    seen: dict[str, int] = {}
    while True:
        disk.seek(place[0])
        head = disk.read(_LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(_MEMBER):
            return
        _, _, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL.unpack(head)
        label = unique_label(disk.read(name_size).decode("utf-8", "surrogateescape"), seen)
        start = place[0] + _LOCAL.size + name_size + extra_size
        if flags & 1 or method not in (0, 8) or (method == 0 and flags & 8):
            yield Reject(f"{parent.file}!{label}", 0, "member of a damaged zip that cannot be unpacked")
            if not packed:
                return
            place[0] = start + packed
            continue
        place[0] = start
        if label.endswith("/"):
            continue
        reader = _inflate_at(disk, place, flags) if method == 8 else _stored_at(disk, place, packed)
        yield label, None, reader
        for _ in reader:  # what the reader of the member left, so that `place` is behind it
            pass


def _stored_at(disk: IO[bytes], place: list[int], size: int) -> Iterator[bytes]:
    end = place[0] + size
    while place[0] < end:
        disk.seek(place[0])
        chunk = disk.read(min(CHUNK, end - place[0]))
        if not chunk:
            raise BrokenInput("truncated zip member")
        place[0] += len(chunk)
        yield chunk


def _inflate_at(disk: IO[bytes], place: list[int], flags: int) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits=-15)
    while not engine.eof:
        disk.seek(place[0])
        chunk = disk.read(CHUNK // 16)
        if not chunk:
            raise BrokenInput("truncated zip member")
        try:
            out = engine.decompress(chunk, CHUNK)
            yield out
            while len(out) == CHUNK and not engine.unconsumed_tail and not engine.eof:
                out = engine.decompress(b"", CHUNK)
                yield out
        except zlib.error as error:
            raise BrokenInput(f"damaged zip member ({error})") from None
        # At the end `unconsumed_tail` may repeat what is in `unused_data`.
        place[0] += len(chunk) - len(engine.unused_data if engine.eof else engine.unconsumed_tail)
    if flags & 8:
        disk.seek(place[0])
        place[0] += 16 if disk.read(4) == b"PK\x07\x08" else 12
