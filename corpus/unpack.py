"""From the bytes of an input to the files inside it: compression layers and archives, in bounded memory.

Nothing is ever written under a member's name, so names such as `../../etc/passwd` are labels and no more.
"""

import bz2
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any

import zstandard

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.events import Reject
from logfm.corpus.streams import CHUNK, BrokenInput, ChunkStream, spool
from logfm.corpus.zips import Entry, unique_label, zip_members

_XZ_MEMORY = 256 << 20
_SPOOL_MEMORY = 64 << 20
_TAR_PIECE = 4096
_ZSTD_PIECE = 2048  # a zstd block of 4 bytes can stand for 128 KiB, and its API has no output limit


@dataclass(frozen=True, slots=True)
class Member:
    """A file to be read, perhaps inside archives: its label, its relative name, its time, its bytes."""

    file: str
    name: str
    modified: datetime
    stream: ChunkStream


@dataclass(slots=True)
class Budget:
    """What one input may still unpack to."""

    packed: int
    config: CorpusConfig
    unpacked: int = 0
    exhausted: bool = False

    def spend(self, amount: int) -> None:
        """Count unpacked bytes.

        Raises:
            BrokenInput: the input looks like a bomb.
        """
        self.unpacked += amount
        ratio = self.config.max_ratio
        self.exhausted = True
        if self.unpacked > self.config.max_unpacked_bytes:
            raise BrokenInput(f"unpacks to more than {self.config.max_unpacked_bytes} bytes")
        if self.unpacked > max(self.config.ratio_grace_bytes, self.packed * ratio):
            raise BrokenInput(f"unpacks to more than {ratio} times its size")
        self.exhausted = False


def kind_of(head: bytes) -> str | None:
    """Which archive or compression these first bytes belong to."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else None


_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)


def members(
    top: Member, budget: Budget, disk: IO[bytes] | None = None, only: range | None = None
) -> Iterator[Member | Reject]:
    """The files inside an input, in the archive's order; an input that is no archive is its own only member.

    Each member must be read before the next one is asked for. `disk` is the open file behind `top`, if there is
    one; `only` limits a zip to some of its members.
    """
    yield from _open(top, budget, 0, False, disk, only)


def _open(
    member: Member, budget: Budget, depth: int, in_layer: bool, disk: IO[bytes] | None, only: range | None
) -> Iterator[Member | Reject]:
    try:
        kind = kind_of(member.stream.peek(512))
    except BrokenInput as error:
        yield Reject(member.file, 0, error.reason)
        return
    if kind is None:
        yield member
        return
    depth += not (kind == "tar" and in_layer)
    if depth > budget.config.max_nesting:
        yield Reject(member.file, 0, "archives nested too deeply")
        return
    if kind in _LAYERS:
        stream = ChunkStream(_metered(_LAYERS[kind](member.stream.chunks()), budget))
        inner = Member(member.file, member.name, _gzip_time(member, kind), stream)
        yield from _open(inner, budget, depth, True, None, None)
        return
    try:
        if kind == "tar":
            yield from _nested(member, _tar(member), budget, depth)
        elif disk is not None:
            yield from _nested(member, zip_members(disk, member, only), budget, depth)
        else:
            with tempfile.SpooledTemporaryFile(max_size=_SPOOL_MEMORY) as file:
                fault = spool(member.stream, file)
                try:
                    yield from _nested(member, zip_members(file, member, only), budget, depth)
                except BrokenInput as error:
                    raise fault or error from None  # what broke it first
                if fault is not None:
                    raise fault
    except BrokenInput as error:
        yield Reject(member.file, member.stream.position, error.reason)


def _nested(parent: Member, found: Iterable[Reject | Entry], budget: Budget, depth: int) -> Iterator[Member | Reject]:
    for entry in found:
        if isinstance(entry, Reject):
            yield entry
            continue
        label, modified, chunks = entry
        if _is_junk(label):
            continue
        stream = ChunkStream(_metered(chunks, budget))
        inner = Member(f"{parent.file}!{label}", f"{parent.name}!{label}", modified or parent.modified, stream)
        yield from _open(inner, budget, depth, False, None, None)
        if budget.exhausted:
            return


def _is_junk(label: str) -> bool:
    """What macOS adds to archives."""
    parts = label.split("/")
    return parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] == ".DS_Store"


def _metered(chunks: Iterable[bytes], budget: Budget) -> Iterator[bytes]:
    for chunk in chunks:
        budget.spend(len(chunk))
        yield chunk


def _gzip_time(member: Member, kind: str) -> datetime:
    head = member.stream.peek(8)
    seconds = int.from_bytes(head[4:8], "little") if kind == "gzip" else 0
    return datetime.fromtimestamp(seconds, UTC) if seconds else member.modified


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    engine: Any = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        while chunk:
            if engine is None:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                engine = zlib.decompressobj(wbits=31)
            try:
                out = engine.decompress(chunk, CHUNK)
                yield out
                while len(out) == CHUNK and not engine.unconsumed_tail and not engine.eof:
                    out = engine.decompress(b"", CHUNK)
                    yield out
            except zlib.error as error:
                raise BrokenInput(f"damaged gzip data ({error})") from None
            chunk = engine.unused_data if engine.eof else engine.unconsumed_tail
            if engine.eof:
                engine = None
    if engine is not None:
        raise BrokenInput("truncated gzip data")


def _engine(make: Callable[[], Any], title: str, faults: tuple[type[Exception], ...]) -> Any:
    """Unpack with a decompressor of the bz2 or lzma module, whose calls have an output limit."""

    def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
        engine: Any = None
        for chunk in chunks:
            while True:
                if engine is None:
                    if not chunk.strip(b"\0"):
                        break
                    engine = make()
                try:
                    yield engine.decompress(chunk, CHUNK)
                except faults as error:
                    raise BrokenInput(f"damaged {title} data ({error})") from None
                if engine.eof:
                    chunk, engine = engine.unused_data, None
                elif engine.needs_input:
                    break
                else:
                    chunk = b""
        if engine is not None:
            raise BrokenInput(f"truncated {title} data")

    return unpack


def _unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    engine: Any = None
    for chunk in chunks:
        for start in range(0, len(chunk), _ZSTD_PIECE):
            piece = chunk[start : start + _ZSTD_PIECE]
            while piece:
                engine = engine or zstandard.ZstdDecompressor().decompressobj()
                try:
                    out = engine.decompress(piece)
                except zstandard.ZstdError as error:
                    raise BrokenInput(f"damaged zstd data ({error})") from None
                if out:
                    yield out
                piece = engine.unused_data if engine.eof else b""
                if engine.eof:
                    engine = None
    if engine is not None:
        raise BrokenInput("truncated zstd data")


_LAYERS: dict[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "gzip": _gunzip,
    "bzip2": _engine(bz2.BZ2Decompressor, "bzip2", (OSError, ValueError)),
    "xz": _engine(lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY), "xz", (lzma.LZMAError,)),
    "zstd": _unzstd,
}


def _tar(parent: Member) -> Iterator[Reject | Entry]:
    source = parent.stream.patient()
    fileobj: Any = source  # tarfile's streaming mode calls nothing but read
    seen: dict[str, int] = {}
    try:
        with tarfile.open(fileobj=fileobj, mode="r|", errorlevel=0) as archive:
            for entry in archive:
                label = unique_label(entry.name, seen)
                if entry.isreg():
                    content = archive.extractfile(entry)
                    if content is not None:
                        yield label, _moment(entry.mtime, parent.modified), _tar_chunks(content, source)
                elif not entry.isdir():
                    yield Reject(f"{parent.file}!{label}", 0, "not a file (a link or device in an archive)")
    except (tarfile.TarError, ValueError, EOFError, OSError) as error:
        raise source.fault or BrokenInput(f"damaged tar ({error})") from None
    if source.fault is not None:
        raise source.fault


def _tar_chunks(content: IO[bytes], source: Any) -> Iterator[bytes]:
    try:
        # Small pieces: what tarfile holds when it meets the end is lost.
        while chunk := content.read(_TAR_PIECE):
            yield chunk
    except (tarfile.TarError, EOFError) as error:
        raise source.fault or BrokenInput(f"truncated tar ({error})") from None


def _moment(seconds: float, default: datetime) -> datetime:
    if not seconds:  # what reproducible archives say
        return default
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return default
