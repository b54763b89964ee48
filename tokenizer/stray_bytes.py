"""Text of bytes that are not UTF-8, with nothing lost: each stray byte becomes one private-use character.

Byte 0x80+k is written U+EF80+k (the scheme of MirBSD's OPTU-8). Where the input really holds one of the
characters U+EF80 to U+EFFF, its own three bytes are written that way, so that `unescape(escape(data)) ==
data` for any bytes.
"""

import re

_SHIFT = 0xEF80 - 0xDC80
_FROM_SURROGATE = {0xDC80 + k: 0xEF80 + k for k in range(128)}
_TO_SURROGATE = {private: surrogate for surrogate, private in _FROM_SURROGATE.items()}
_UNSAFE = re.compile("[\ud800-\udfff]")
_PRIVATE = re.compile("[\uef80-\uefff]")


def escape(data: bytes) -> str:
    """Bytes as valid text; bytes that are UTF-8 without U+EF80 to U+EFFF come out unchanged."""
    text = data.decode("utf-8", "surrogateescape")
    return _PRIVATE.sub(_stray, text).translate(_FROM_SURROGATE) if not text.isascii() else text


def unescape(text: str) -> bytes:
    """The bytes that `escape` was given."""
    return text.translate(_TO_SURROGATE).encode("utf-8", "surrogateescape")


def encodable(text: str) -> str:
    """Text without lone surrogates, each written as its stray bytes; any other text comes out unchanged."""
    return _UNSAFE.sub(_stray, text)


def _stray(match: re.Match[str]) -> str:
    character = match[0]
    if 0xDC80 <= ord(character) <= 0xDCFF:
        return chr(ord(character) + _SHIFT)
    return "".join(chr(0xEF00 + byte) for byte in character.encode("utf-8", "surrogatepass"))
