"""Lines of a text file with their byte offsets: any encoding, any length, bounded memory."""

import codecs
from collections.abc import Iterable, Iterator

from logfm.corpus.streams import BrokenInput, ChunkStream

UTF8 = "utf-8"
_EXCERPT = 256
_BOMS = ((codecs.BOM_UTF8, UTF8), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def encoding_of(head: bytes) -> tuple[str, int]:
    """Encoding and size in bytes of the byte-order mark; UTF-16 without one is known by its NULs."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, len(mark)
    sample = head[:4096]
    if len(sample) >= 8:
        even, odd = sample[::2].count(0) / len(sample[::2]), sample[1::2].count(0) / len(sample[1::2])
        if odd > 0.4 and even < 0.05:
            return "utf-16-le", 0
        if even > 0.4 and odd < 0.05:
            return "utf-16-be", 0
    return UTF8, 0


def to_text(line: bytes) -> str:
    r"""Text of a line; bytes that are no UTF-8 become `\xNN`, so that nothing is lost. NULs stay."""
    return line.decode(UTF8, "backslashreplace")


def split_lines(
    stream: ChunkStream, encoding: str, start: int, limit: int
) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Yield (byte offset, line in UTF-8 without its end, b"") for each line that is not empty.

    `start` bytes (the byte-order mark) are skipped. A line over `limit` bytes comes as (offset, None, its first
    bytes) and is never held in memory.

    Raises:
        BrokenInput: the stream broke; its `offset` and `excerpt` are those of the unfinished last line.
    """
    stream.read(start)
    pieces = _pieces(stream, encoding)
    if encoding == UTF8:
        yield from _assemble(pieces, start, limit, 1)
    else:
        for offset, line, first in _assemble(pieces, start, limit, 2):
            if line is not None:
                line = line.decode(encoding, "backslashreplace").removesuffix("\r").encode(UTF8)
            yield offset, line, first.decode(encoding, "replace").encode(UTF8)


def _pieces(stream: ChunkStream, encoding: str) -> Iterator[list[bytes]]:
    """Each chunk cut at its line ends: n line ends give n + 1 pieces."""
    if encoding == UTF8:
        for chunk in stream.chunks():
            yield chunk.split(b"\n")
        return
    newline = "\n".encode(encoding)
    rest = b""
    for chunk in stream.chunks():
        chunk = rest + chunk
        even = len(chunk) & ~1
        chunk, rest = chunk[:even], chunk[even:]
        yield _split_wide(chunk, newline)
    if rest:
        yield [rest]


def _split_wide(chunk: bytes, newline: bytes) -> list[bytes]:
    """Split at line ends that lie on a two-byte boundary."""
    parts: list[bytes] = []
    begin = at = 0
    while (at := chunk.find(newline, at)) >= 0:
        if at % 2:
            at += 1
            continue
        parts.append(chunk[begin:at])
        begin = at = at + 2
    parts.append(chunk[begin:])
    return parts


def _assemble(
    chunks: Iterable[list[bytes]], offset: int, limit: int, width: int
) -> Iterator[tuple[int, bytes | None, bytes]]:
    """Join what a chunk's border cut, and let go of a line that grows over the limit."""
    held: list[bytes] = []
    size = 0
    carriage = b"\r" if width == 1 else b""
    try:
        for parts in chunks:
            for number, part in enumerate(parts):
                if number:  # a line end came before this piece
                    yield from _line(held, offset, size, limit, carriage)
                    offset += size + width
                    held, size = [part], len(part)
                    continue
                size += len(part)
                if size <= limit or not held:
                    held.append(part)
                elif len(held) > 1 or len(held[0]) > _EXCERPT:
                    held = [b"".join([*held, part])[:_EXCERPT]]
    except BrokenInput as error:
        error.offset, error.excerpt = offset, b"".join(held)[:_EXCERPT]
        raise
    yield from _line(held, offset, size, limit, carriage)


def _line(
    held: list[bytes], offset: int, size: int, limit: int, carriage: bytes
) -> Iterator[tuple[int, bytes | None, bytes]]:
    if size > limit:
        yield offset, None, b"".join(held)[:_EXCERPT]
        return
    line = held[0] if len(held) == 1 else b"".join(held)
    if carriage and line.endswith(carriage):
        line = line[:-1]
    if line:
        yield offset, line, b""
