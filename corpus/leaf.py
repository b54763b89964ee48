"""What a reader gets to work on: one unpacked file, its head, and the way to make events and rejects of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from logfm.corpus.events import Event, Reject, event_id
from logfm.corpus.lines import UTF8, encoding_of, split_lines, to_text
from logfm.corpus.streams import ChunkStream
from logfm.corpus.times import Clock

HEAD = 1 << 16
EXCERPT = 200


@dataclass(slots=True)
class Leaf:
    """One file to read, archives and compression already opened.

    `head` is its beginning (64 KiB at most) and `sample` the complete lines of that in UTF-8, for recognition.
    Readers yield events and put what became none into `rejects`.
    """

    file: str
    name: str
    source: str
    clock: Clock
    stream: ChunkStream
    limit: int
    head: bytes = b""
    sample: list[bytes] = field(default_factory=list)
    encoding: str = UTF8
    bom: int = 0
    rejects: list[Reject] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Byte offset and UTF-8 bytes of each line that is not blank; overlong lines and runs of NUL become rejects.

        Raises:
            BrokenInput: the stream broke.
        """
        for offset, line, first in split_lines(self.stream, self.encoding, self.bom, self.limit):
            if line is None:
                self.reject(offset, f"record longer than {self.limit} bytes", first)
            elif line[0] == 0 and not line.strip(b"\0 \t\r\n"):
                # What a crash leaves in a log that was being written.
                self.reject(offset, "NUL bytes only", line[:100])
            elif not line.isspace():
                yield offset, line

    def event(self, offset: int, text: str, **columns: Any) -> Event:
        """An event of this file; columns not given stay empty, `source` is the file's."""
        return Event(event_id(self.name, offset), text, columns.pop("source", None) or self.source, self.file,
                     offset, **columns)  # fmt: skip

    def reject(self, offset: int, reason: str, excerpt: bytes = b"") -> None:
        """Count a piece of this file that became no event."""
        self.rejects.append(Reject(self.file, offset, reason, shown(excerpt)))


def open_leaf(file: str, name: str, source: str, clock: Clock, stream: ChunkStream, limit: int) -> Leaf:
    """Read the head of a file.

    Raises:
        BrokenInput: nothing at all can be read.
    """
    head = stream.peek(HEAD)
    encoding, bom = encoding_of(head)
    complete = len(head) < HEAD
    sample = _sample(head[bom:], encoding, complete)
    return Leaf(file, name, source, clock, stream, limit, head, sample, encoding, bom)


def _sample(head: bytes, encoding: str, complete: bool, most: int = 100) -> list[bytes]:
    if encoding != UTF8:
        head = head[: len(head) & ~1].decode(encoding, "replace").encode(UTF8)
    lines = head.split(b"\n")
    if not complete and len(lines) > 1:
        lines.pop()
    found = (line.removesuffix(b"\r") for line in lines)
    return [line for line in found if line.strip()][:most]


def shown(excerpt: bytes | str) -> str:
    """The beginning of some input as printable text."""
    text = to_text(excerpt[:EXCERPT]) if isinstance(excerpt, bytes) else excerpt[:EXCERPT]
    return "".join(char if char.isprintable() else " " for char in text)


def text_of(value: Any) -> str | None:
    """A column's value as text, None for what logs write for "nothing"."""
    if isinstance(value, str):
        return None if value in _NOTHING else value[:1024]
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, list):
        return text_of(value[0]) if value else None
    return str(value)[:1024] if isinstance(value, int | float) else None


_NOTHING = frozenset(("", "-", "--", "?", "N/A", "n/a", "null", "NULL", "None", "(null)", "(none)", "unset", "unknown"))
Columns = dict[str, str | datetime | None]
