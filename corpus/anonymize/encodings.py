"""Encodings that an identifier can hide in: opened, anonymised within, closed again; left alone where none hides."""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

Span = tuple[int, int, str]
Rewrite = Callable[[str], str]
_URL_RUN = re.compile(r"[^\s\"'<>\\]+")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_URL_SAFE = "/:?#[]@!$&'()*+,;=~|^{}<>`"
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{12,}={0,2}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[2-9A-Fa-f][0-9A-Fa-f]|0[09AaDd]){3,})(?![0-9A-Za-z])")
_ENTITY = re.compile(r"&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")
_UNICODE = re.compile(r"(?<!\\)(\\{1,8})u([0-9a-fA-F]{4})")
_BEFORE_NUMBER = re.compile(r"[:\[,]\s{0,4}-?[\d.]{0,30}(?:[eE][+\-]?)?$")
_BEHIND_NUMBER = re.compile(r"[\d.]{0,30}(?:[eE]?[+\-]?\d{1,4})?\s{0,4}[,}\]]")
_CONTROL = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r"}


def plain(text: str) -> str:
    """JSON's \\u escapes and numeric entities as the characters they stand for; JSON stays the same JSON."""
    if "\\u" in text:
        text = _UNICODE.sub(_unescaped, text)
    return _ENTITY.sub(_character, text) if "&#" in text else text


def is_escaped(text: str, place: int) -> bool:
    """Whether the character at `place` of JSON is the letter of an escape: `\\tom` is a tab and "om"."""
    slashes = 0
    while slashes < place and text[place - slashes - 1] == "\\":
        slashes += 1
    return slashes % 2 == 1


def encoded_spans(text: str, rewrite: Rewrite, percent: bool) -> Iterator[Span]:
    """Runs of URL, base64 and hexadecimal encoding whose content `rewrite` changes."""
    if percent:
        for found in _URL_RUN.finditer(text):
            if "%" in found[0] and _ESCAPED.search(found[0]):
                content = unquote(found[0], errors="surrogateescape")
                made = rewrite(content)
                if made != content:
                    yield *found.span(), quote(made, safe=_URL_SAFE, errors="surrogateescape")
    for found in _BASE64.finditer(text):
        if _in_number(text, *found.span()):
            continue
        made_base64 = reencoded_base64(found[0], rewrite)
        if made_base64 is not None:
            yield *found.span(), made_base64
    for found in _HEX.finditer(text):
        if len(found[1]) % 2 == 0 and not _in_number(text, *found.span(1)):
            made_bytes = _rewritten(bytes.fromhex(found[1]), rewrite)
            if made_bytes is not None:
                upper = any("A" <= char <= "F" for char in found[1])
                yield *found.span(1), made_bytes.hex().upper() if upper else made_bytes.hex()


def reencoded_base64(run: str, rewrite: Rewrite) -> str | None:
    """The run with its content rewritten, or None where it holds no text or nothing in it changes."""
    body = run.rstrip("=")
    if len(body) % 4 == 1:
        return None
    try:
        content = base64.b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        return None
    made = _rewritten(content, rewrite)
    if made is None:
        return None
    coded = base64.b64encode(made).decode()
    return coded if run != body or len(body) % 4 == 0 else coded.rstrip("=")


def _in_number(text: str, start: int, end: int) -> bool:
    """Whether the span belongs to a number of a JSON document, which has to stay one."""
    if not text[start:end].strip("eE").isdecimal():
        return False
    return bool(_BEFORE_NUMBER.search(text, max(0, start - 40), start) and _BEHIND_NUMBER.match(text, end))


def _rewritten(content: bytes, rewrite: Rewrite) -> bytes | None:
    """UTF-8 or UTF-16 text rewritten; None where it is no text or nothing changes. A cut last character stays."""
    zeros = content[1::2].count(0)
    codec, even = ("utf-16-le", len(content) // 2 * 2) if zeros * 2 > len(content) // 2 else ("utf-8", len(content))
    try:
        text = content[:even].decode(codec)
    except UnicodeDecodeError:
        return None
    if sum(not (char.isprintable() or char in "\r\n\t\0") for char in text) * 20 > len(text):
        return None
    made = rewrite(text)
    return None if made == text else made.encode(codec, "surrogatepass") + content[even:]


def _unescaped(found: re.Match[str]) -> str:
    slashes, code = found[1], int(found[2], 16)
    char = chr(code)
    if code in _CONTROL or char == '"':
        return slashes + _CONTROL.get(code, char)
    # Of three backslashes two are one that was escaped; of two within nested JSON both belong to the escape.
    own = len(slashes) & -len(slashes)
    if char == "\\":
        return slashes + slashes[:own]
    return slashes[own:] + char if char.isprintable() and not 0xD800 <= code < 0xE000 else found[0]


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16) if found[1] else int(found[2])
    printable = 32 < code < 0xD800 and chr(code) not in "\"\\<>&'"
    return chr(code) if printable else found[0]
