"""A window that moves over a JSON document and gives its objects with their byte offsets."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import UTF8, to_text
from logfm.corpus.streams import BrokenInput

_NEXT_OBJECT = re.compile(r"\n\s*(?=\{)|\}\s*,\s*(?=\{)")
_SPACE = re.compile(r"[\s,\]]*")
_STRAY = re.compile("[\udc80-\udcff]")  # bytes that are no UTF-8, as `surrogateescape` decodes them
decoder = json.JSONDecoder(strict=False)


class Window:
    """A window over a JSON document, in characters that map back to bytes; `at` is its front."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.text, self.at = "", 0
        leaf.stream.read(leaf.bom)
        self.offset = leaf.bom
        # Latin-1 keeps one character a byte; the structure of JSON is ASCII, and values are parsed from bytes.
        self._codec = "latin-1" if leaf.encoding == UTF8 else leaf.encoding
        self._decode = codecs.getincrementaldecoder(self._codec)("replace").decode
        self._chunks = leaf.stream.chunks()
        self._fault: BrokenInput | None = None

    def more(self) -> bool:
        """Add a chunk and let go of what is behind the front; False at the end of the stream."""
        try:
            chunk = next(self._chunks, None)
        except BrokenInput as error:
            self._fault, chunk = error, None
        if chunk is not None:
            self.text, self.at = self.text[self.at :] + self._decode(chunk), 0
        return chunk is not None

    def skip(self, size: int) -> None:
        """Move the front by `size` characters."""
        narrow = self._codec == "latin-1"
        piece = self.text[self.at : self.at + size]
        self.offset += len(piece) if narrow else len(piece.encode(self._codec, "replace"))
        self.at += len(piece)

    def take(self, size: int) -> bytes:
        """`size` characters as UTF-8 bytes; the front moves behind them."""
        piece = self.text[self.at : self.at + size]
        self.skip(size)
        return piece.encode("latin-1" if self._codec == "latin-1" else UTF8, "replace")

    def objects(self, *, only_first_array: bool = False) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        """Byte offset, bytes (UTF-8) and value of each object from the front on; what is none becomes a reject.

        With `only_first_array` it ends at the first character that is neither an object nor what separates them.

        Raises:
            BrokenInput: the document ends in the middle.
        """
        while self.skip_space():
            if self.text[self.at] != "{":
                if only_first_array:
                    return
                self.resync("not a JSON object")
                continue
            size = self.object_size()
            if size is None:
                self.resync("malformed JSON")
                continue
            offset, piece = self.offset, self.take(size)
            record = parse_object(piece)
            if record is None:
                self.leaf.reject(offset, "malformed JSON", piece)
                continue
            yield offset, piece, record

    def skip_space(self) -> bool:
        """Go to the next object; False at the end of the document.

        Raises:
            BrokenInput: the document ends in the middle.
        """
        while True:
            match = _SPACE.match(self.text, self.at)
            self.skip(match.end() - self.at if match else 0)
            if self.at < len(self.text):
                return True
            if not self.more():
                if self._fault is not None:
                    raise self._fault
                return False

    def object_size(self) -> int | None:
        """Characters of the object at the front; None if it is malformed, too long or unfinished."""
        tried = 0
        while (size := len(self.text) - self.at) <= self.leaf.limit or not tried:
            # Trying again only once the window has doubled keeps long objects linear.
            if size >= 2 * tried:
                tried = size
                try:
                    return self._parsed()
                except json.JSONDecodeError as error:
                    unfinished = error.msg.startswith("Unterminated string") or error.pos > len(self.text) - 64
                    if not unfinished:
                        return None
                except RecursionError:
                    return None
            if not self.more():
                break
        try:
            found = self._parsed()
        except (json.JSONDecodeError, RecursionError):
            return None
        return found if found <= self.leaf.limit else None

    def _parsed(self) -> int:
        return decoder.raw_decode(self.text, self.at)[1] - self.at

    def resync(self, reason: str) -> None:
        """Reject what is at the front and go on at the next object.

        Raises:
            BrokenInput: the stream ended in this object because it is broken.
        """
        excerpt = self.text[self.at : self.at + 200].encode(self._codec, "replace")
        if self._fault is not None:
            self._fault.offset, self._fault.excerpt = self.offset, excerpt
            raise self._fault
        if len(self.text) - self.at > self.leaf.limit:
            reason = f"malformed JSON, or a record longer than {self.leaf.limit} bytes"
        self.leaf.reject(self.offset, reason, excerpt)
        self.skip(1)
        while not (match := _NEXT_OBJECT.search(self.text, self.at)):
            self.skip(max(0, len(self.text) - self.at - 64))
            if not self.more():
                self.skip(len(self.text))
                return
        self.skip(match.end() - self.at)


def parse_object(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line; None if it is none."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = _lenient(line)
    return record if isinstance(record, dict) else None


def one_line(piece: bytes, record: dict[str, Any]) -> str:
    """The text of an object: as it is if it is on one line, printed on one line if not."""
    return to_text(piece if b"\n" not in piece else orjson.dumps(record))


def _lenient(line: bytes) -> Any:
    """What orjson refuses and the standard library reads: NaN, lone surrogates, invalid UTF-8, a prefix `@cee:`."""
    text = line.decode(UTF8, "surrogateescape")
    text = (
        _STRAY.sub(lambda match: f"\\\\x{ord(match[0]) - 0xDC00:02x}", text)
        .strip()
        .removeprefix("\ufeff")
        .removeprefix("@cee:")
    )
    if not text.endswith("}"):
        return None
    try:
        record = json.loads(text, strict=False, parse_constant=lambda name: None, parse_float=_finite)
        # The same values again, now without the surrogates that no column can hold.
        return orjson.loads(json.dumps(record).encode().replace(b"\\ud", b"\\\\ud"))
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
