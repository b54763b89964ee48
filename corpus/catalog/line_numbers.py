"""Labels by line number, joined to events that are known by their byte offset and can span lines."""

from collections.abc import Iterator, Mapping

from logfm.corpus.events import Event
from logfm.corpus.leaf import Leaf
from logfm.corpus.lines import to_text
from logfm.corpus.streams import ChunkStream

_KEPT = 1 << 20  # bytes of a line that are compared


class LabelledLines:
    """Watches a file's bytes go by and notes where its labelled lines begin.

    An event of one line is known by its offset; one of several (joined audit records, stack traces) by the texts of
    its lines too, since the records of one audit event need not follow each other.
    """

    def __init__(self, leaf: Leaf, labels: Mapping[int, str]) -> None:
        """`labels` go by line number from 1. The leaf's stream is replaced by one that is watched."""
        self._labels = labels
        self._first = leaf.bom
        self._by_offset: dict[int, str] = {}
        self._by_text: dict[str, tuple[int, str]] = {}
        leaf.stream = ChunkStream(self._watched(leaf.stream))

    def label(self, event: Event) -> str | None:
        """The labels of an event's lines, joined by `;`; None if none of them has one."""
        found = [self._by_offset[event.offset]] if event.offset in self._by_offset else []
        if "\n" in event.text:
            noted = (self._by_text.get(line) for line in event.text.split("\n"))
            found += [one[1] for one in noted if one is not None and one[0] >= event.offset]
        return ";".join(dict.fromkeys(one for label in found for one in label.split(";"))) or None

    def _watched(self, stream: ChunkStream) -> Iterator[bytes]:
        wanted_lines = iter(sorted(self._labels))
        wanted = next(wanted_lines, None)
        number, offset = 1, 0  # the line at the current place, and the chunk's first byte
        begin, held = 0, b""  # where the wanted line began, and what came of it in earlier chunks
        for chunk in stream.chunks():
            total = chunk.count(b"\n") if wanted is not None else 0
            if wanted is not None and number + total < wanted:
                number += total
                wanted_here = False
            else:
                wanted_here = True
            start = 0
            while wanted_here and wanted is not None:
                if number == wanted and not held:
                    begin = offset + start
                end = chunk.find(b"\n", start)
                if number == wanted:
                    held += chunk[start : len(chunk) if end < 0 else end][: _KEPT - len(held)]
                if end < 0:
                    break
                if number == wanted:
                    self._note(wanted, begin, held)
                    wanted, held = next(wanted_lines, None), b""
                start, number = end + 1, number + 1
            offset += len(chunk)
            yield chunk
        if wanted is not None and held:
            self._note(wanted, begin, held)

    def _note(self, number: int, offset: int, line: bytes) -> None:
        label = self._labels[number]
        self._by_offset[offset or self._first] = label
        self._by_text[to_text(line.removesuffix(b"\r"))] = offset, label
