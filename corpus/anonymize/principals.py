"""A value that names someone or something: `DOMAIN\\user`, `user@domain`, `host.domain`, taken apart."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from logfm.corpus.anonymize.names import Kind

Part = tuple[Kind | None, int, int]
_BACKSLASHES = re.compile(r"\\+")
_QUALIFIED = re.compile(r"[\w\-]+(?:\.[\w\-]+)+\$?")
_SHAPED = re.compile(
    r"[Ss]-\d-\d{1,3}(?:-\d+)*|\d+(?:\.\d+){2,}|\{?[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?"
)
_ACCOUNT = re.compile(r"\d{12}")


def parts(kind: Kind, value: str) -> Iterator[Part]:
    """(kind, start, end) of each name in the value; kind None is a qualified name, to be read label by label."""
    start, end = 0, len(value)
    if kind == "account":
        if _ACCOUNT.fullmatch(value):
            yield kind, 0, end
        return
    separators = list(_BACKSLASHES.finditer(value))
    if separators and separators[0].start() == 0:
        start, kind = separators.pop(0).end(), "host"
    if separators:
        cut = separators[0]
        yield from _plain("domain", value, start, cut.start())
        start = cut.end()
        end = separators[1].start() if len(separators) > 1 else end
        yield from _plain("user" if kind == "domain" else kind, value, start, end)
        return
    at = value.rfind("@")
    if kind == "user" and start < at < end - 1:
        yield "user", start, at
        yield from _plain("domain", value, at + 1, end)
        return
    yield from _plain(kind, value, start, end)


def _plain(kind: Kind, value: str, start: int, end: int) -> Iterator[Part]:
    text = value[start:end]
    stripped = text.strip()
    start += len(text) - len(text.lstrip())
    end = start + len(stripped)
    if not stripped or _has_shape(stripped):
        return
    if kind in ("host", "domain") and _QUALIFIED.fullmatch(stripped):
        yield None, start, end
    else:
        yield kind, start, end


def _has_shape(text: str) -> bool:
    """Whether it is a SID, a GUID or an address, which are mapped as such."""
    if _SHAPED.fullmatch(text):
        return True
    if not (text[0].isdigit() or ":" in text):
        return False
    try:
        ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
