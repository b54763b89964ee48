"""Names that their position gives away, found the same way by both passes."""

import re
from collections.abc import Iterable, Iterator, Sequence

from logfm.corpus.anonymize.names import Kind
from logfm.corpus.anonymize.principals import parts
from logfm.corpus.anonymize.triggers import KEYS, NAMED, PHRASES, Role
from logfm.extras import require

Hit = tuple[int, int, int]
Place = tuple[Kind | None, Role, int, int]
WORDS = (*KEYS, *(phrase.word for phrase in PHRASES))
_NAME = re.compile(r"\w[\w.\-+$' @\\/]{0,255}")
_FOLDERS_OF_ALL = frozenset({"public", "default", "all users", "default user", "shared"})


class Finder:
    """Finds words, given in lower case, in a text of any case: one Aho-Corasick scan, overlaps included."""

    def __init__(self, words: Sequence[str]) -> None:
        self._automaton = require("ahocorasick_rs", "anonymize").BytesAhoCorasick(
            [_lowered(word) for word in words] or [b"\0"]
        )

    def find(self, text: str) -> list[Hit]:
        """(word's number, start, end) in characters."""
        raw = _lowered(text)
        hits = self._automaton.find_matches_as_indexes(raw, overlapping=True)
        if not hits or len(raw) == len(text):
            return hits
        starts = _characters(raw)
        return [(number, starts[start], starts[end]) for number, start, end in hits]


def places(text: str, json: bool, hits: Iterable[Hit], words: Sequence[str]) -> Iterator[Place]:
    """(kind, role, start, end) of names at telling positions; kind None is a name to be read label by label."""
    for number, start, end in hits:
        if number < len(KEYS):
            role = KEYS[words[number]]
            span = _assigned(text, json, start, end)
        elif number < len(WORDS):
            phrase = PHRASES[number - len(KEYS)]
            role, found = phrase.role, phrase.pattern.match(text, start)
            span = found.span(1) if found else None
            if span and text[span[0] : span[1]].lower() in _FOLDERS_OF_ALL:
                span = None
        else:
            continue
        if span is None:
            continue
        value = text[span[0] : span[1]]
        if json and "\\" in value.replace("\\\\", ""):
            continue  # an escape, whose backslash separates no domain from a user
        for kind, first, last in parts("host" if role == "authority" else role, value.rstrip(".")):
            yield kind, role, span[0] + first, span[0] + last


def is_json(text: str) -> bool:
    """Whether a text is meant as a JSON document."""
    return text[:1] in ("{", "[") or text[:64].lstrip()[:1] in ("{", "[")


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether no letter or digit touches the span, those of an escape (`\\n`, `%40`, `\\u0000`) apart."""
    if end < len(text) and text[end].isalnum():
        return False
    if not start or not text[start - 1].isalnum():
        return True
    before = text[max(0, start - 6) : start]
    return (before[-2:-1] == "\\" and before[-1] in "nrtbf") or bool(_ESCAPE.search(before))


_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2})$")


def _assigned(text: str, json: bool, start: int, end: int) -> tuple[int, int] | None:
    if start and text[start - 1].isalnum() and not stands_alone(text, start, start):
        return None
    found = NAMED[json].match(text, end)
    if found is None:
        return None
    if found["bare"] is not None:
        return None if json and (found["close"] or "").endswith('"') else found.span("bare")
    group = "single" if found["double"] is None else "double"
    return found.span(group) if _NAME.fullmatch(found[group]) else None


def _lowered(text: str) -> bytes:
    raw = text if text.isascii() else text.lower() if len(text.lower()) == len(text) else text
    return raw.encode("utf-8", "surrogatepass").lower()


def _characters(raw: bytes) -> list[int]:
    """The character at each byte offset of UTF-8 text, its end included."""
    numbers, count = [], -1
    for byte in raw:
        count += byte & 0xC0 != 0x80
        numbers.append(count)
    return [*numbers, count + 1]
