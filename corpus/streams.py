"""Bytes that come in chunks: read ahead, read by size, and an error that keeps what was read before it."""

from collections.abc import Iterable, Iterator
from typing import IO

CHUNK = 1 << 18


class BrokenInput(Exception):
    """The rest of an input cannot be read; what came before it can. `excerpt` is the unfinished last record."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset: int | None = None
        self.excerpt = b""


class ChunkStream:
    """A forward-only stream over an iterator of byte chunks; `position` counts the bytes handed out."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._ahead = b""
        self._fault: BrokenInput | None = None
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes (fewer at the end) without consuming them.

        Raises:
            BrokenInput: nothing at all can be read.
        """
        while len(self._ahead) < size and (chunk := self._next()):
            self._ahead += chunk
        if not self._ahead and self._fault is not None:
            raise self._fault
        return self._ahead[:size]

    def chunks(self) -> Iterator[bytes]:
        """All that is left, in chunks.

        Raises:
            BrokenInput: after the last byte that could be read.
        """
        while chunk := self._take():
            self.position += len(chunk)
            yield chunk
        if self._fault is not None:
            raise self._fault

    def read(self, size: int) -> bytes:
        """At most `size` bytes, b"" at the end.

        Raises:
            BrokenInput: after the last byte that could be read.
        """
        chunk = self._take()
        if not chunk and self._fault is not None:
            raise self._fault
        self._ahead = chunk[size:]
        self.position += len(chunk[:size])
        return chunk[:size]

    def patient(self) -> "PatientStream":
        """The same bytes for a library that must not see our error in the middle of its read."""
        return PatientStream(self)

    def _take(self) -> bytes:
        chunk, self._ahead = self._ahead, b""
        return chunk or self._next()

    def _next(self) -> bytes:
        if self._fault is not None:
            return b""
        try:
            for chunk in self._chunks:
                if chunk:
                    return chunk
        except BrokenInput as error:
            self._fault = error
        except OSError as error:
            self._fault = BrokenInput(f"cannot be read ({error.strerror or error})")
        return b""


class PatientStream:
    """Ends where its stream breaks, and keeps the error in `fault`."""

    def __init__(self, stream: ChunkStream) -> None:
        self._stream = stream
        self.fault: BrokenInput | None = None

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end."""
        parts: list[bytes] = []
        try:
            while size > 0 and (part := self._stream.read(size)):
                parts.append(part)
                size -= len(part)
        except BrokenInput as error:
            self.fault = error
        return b"".join(parts)


def spool(stream: ChunkStream, file: IO[bytes]) -> BrokenInput | None:
    """Write the rest of a stream to a temporary file and go to its start; the fault that ended it, if one did."""
    fault: BrokenInput | None = None
    try:
        for chunk in stream.chunks():
            file.write(chunk)
    except BrokenInput as error:
        fault = error
    except OSError as error:  # the disk of the temporary files is full
        fault = BrokenInput(f"cannot be unpacked to a temporary file ({error.strerror or error})")
    file.seek(0)
    return fault


def file_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of an open file in chunks."""
    while chunk := file.read(CHUNK):
        yield chunk
