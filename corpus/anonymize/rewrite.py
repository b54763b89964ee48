"""One text in, the same text without its identifiers out: every finding is a span, spliced once."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize.addresses import Addresses, is_public
from logfm.corpus.anonymize.domains import Domains
from logfm.corpus.anonymize.encodings import Span, encoded_spans, is_escaped, plain
from logfm.corpus.anonymize.identifiers import Identifiers
from logfm.corpus.anonymize.kept import WORDS as LOG_WORDS
from logfm.corpus.anonymize.names import Kind, Pseudonyms
from logfm.corpus.anonymize.positions import WORDS, Finder, Hit, is_json, places, stands_alone
from logfm.corpus.anonymize.redact import SECRETS, announced, assigned, is_value_key
from logfm.corpus.anonymize.redact import WORDS as SECRET_WORDS
from logfm.corpus.anonymize.tokens import TOKEN, Finding, Shapes

_VERSION = re.compile(r"version[\"'\\=: ]{0,6}$", re.IGNORECASE)
_REST_OF_KEY = re.compile(r"[\w.:@+\-]{0,128}\\{0,4}\"\s{0,4}:")
_ESCAPES = tuple("ntrbf")
_SHORT = 4096


class Rewriter:
    """Rewrites texts under a key; a pure function of the text, whatever was rewritten before."""

    def __init__(self, key: bytes, identifiers: Identifiers, config: AnonymizeConfig) -> None:
        self._config, self._identifiers = config, identifiers
        self._names, addresses = Pseudonyms(key), Addresses(key)
        self._domains = Domains(self._names, addresses, identifiers, config.keep_domains)
        self._shapes = Shapes(key, self._names, addresses, self._domains, identifiers)
        self._literals = sorted(identifiers.literals)
        self._words = (*WORDS, *SECRET_WORDS, *self._literals)
        self._finder = Finder(self._words)
        self._token = lru_cache(maxsize=config.memo_entries)(self._shapes.find)
        self._inner = lru_cache(maxsize=1 << 14)(self._rewrite)

    def text(self, text: str) -> str:
        """The text without its identifiers; the very same object where it holds none."""
        return self._rewrite(text, 0)

    def value(self, kind: Kind, value: str) -> str:
        """A column's value that is a name of a kind, or several (`DOMAIN\\user`), or running text after all."""
        from logfm.corpus.anonymize.principals import parts

        spans = [
            (start, end, made)
            for own, start, end in parts(kind, value)
            if (made := self._named(own, value[start:end])) is not None
        ]
        return spliced(value, spans) if spans else self.text(value)

    def _rewrite(self, text: str, depth: int) -> str:
        if "\\u" in text or "&#" in text:
            opened = plain(text)
            if opened != text:
                made = self._scan(opened, depth)
                if made != opened:
                    return made
        return self._scan(text, depth)

    def _scan(self, text: str, depth: int) -> str:
        json = is_json(text)
        hits = self._finder.find(text)
        secrets = list(self._secrets(text, hits))
        names = [
            (start, end, made)
            for kind, role, start, end in places(text, json, hits, self._words)
            if (made := self._named(kind, text[start:end], role == "authority")) is not None
        ]
        encoded: list[Span] = []
        if depth < self._config.max_depth:
            encoded = list(encoded_spans(text, lambda inner: self._open(inner, depth + 1), "%" in text))
        # What lies within a secret goes with it; what lies beside it must not keep the secret from being redacted.
        encoded = outside(encoded, secrets) if secrets else encoded
        ranks = (encoded, secrets, self._shaped(text, json), names, self._literal(text, hits))
        spans = merged(ranks)
        if json and "\\" in text:
            spans = [span for one in spans if (span := behind_escape(text, one))[0] < span[1]]
        return spliced(text, spans) if spans else text

    def _open(self, text: str, depth: int) -> str:
        return self._inner(text, depth) if len(text) < _SHORT else self._rewrite(text, depth)

    def _secrets(self, text: str, hits: Iterable[Hit]) -> Iterator[Span]:
        first, last = len(WORDS), len(WORDS) + len(SECRET_WORDS)
        for number, start, end in hits:
            if first <= number < last:
                word = self._words[number]
                if is_value_key(word) and number - first < len(SECRET_WORDS) - len(SECRETS):
                    span = assigned(word, text, start, end)
                else:
                    span = announced(SECRETS[number - last + len(SECRETS)], text, start)
                if span is not None:
                    yield span

    def _shaped(self, text: str, json: bool) -> Iterator[Span]:
        for found in TOKEN.finditer(text):
            token, offset = found[1], found.start(1)
            if json and token[0] in _ESCAPES and is_escaped(text, offset):
                # Or the pseudonym would be of another name, one letter longer.
                token, offset = token[1:], offset + 1
            findings: tuple[Finding, ...] | None = self._token(token)
            if findings is None and token[:1] in _ESCAPES and text[offset - 1 : offset] == "\\":
                # An escape within nested JSON (`\\\\t10::1`) looks like the beginning of the word.
                offset, findings = offset + 1, self._token(token[1:])
            if findings is None:
                continue
            for start, end, made, shape in findings:
                start, end = start + offset, end + offset
                if shape == "domain" and json and _REST_OF_KEY.match(text, end):
                    continue
                if shape == "ipv4" and self._is_version(text, start, end):
                    continue
                yield start, end, made

    def _is_version(self, text: str, start: int, end: int) -> bool:
        if not self._config.keep_versions or not _VERSION.search(text, max(0, start - 14), start):
            return False
        return is_public(text[start:end])

    def _named(self, kind: Kind | None, value: str, addressed: bool = False) -> str | None:
        lower = value.strip().lower()
        if lower in self._identifiers.kept or not lower.strip("-_.* "):
            return None
        if kind is None:
            return self._domains.qualified(value)
        if addressed and lower in LOG_WORDS:
            return None
        tail = "$" if value.endswith("$") else ""
        bare = value.rstrip("$")
        return self._named_plain(kind, bare) + tail if bare else None

    def _named_plain(self, kind: Kind, value: str) -> str:
        dashed = self._domains.dashed(value)
        if dashed != value:
            return dashed
        return self._names.name(self._identifiers.kind(value.lower(), kind), value)

    def _literal(self, text: str, hits: Iterable[Hit]) -> list[Span]:
        first = len(WORDS) + len(SECRET_WORDS)
        spans = []
        for number, start, end in hits:
            if number >= first and stands_alone(text, start, end):
                kind = self._identifiers.literals[self._words[number]]
                spans.append((start, end, self._named_plain(kind, text[start:end])))
        # The longest first: `john.smith` before `smith`.
        return sorted(spans, key=lambda span: span[0] - span[1])


def merged(ranks: Iterable[Iterable[Span]]) -> list[Span]:
    """Spans without overlaps, in order; an earlier rank wins, and within a rank what comes first."""
    starts: list[int] = []
    taken: list[Span] = []
    for rank in ranks:
        for span in rank:
            place = bisect_left(starts, span[0])
            clear = place == 0 or taken[place - 1][1] <= span[0]
            if clear and (place == len(taken) or span[1] <= starts[place]) and span[0] < span[1]:
                starts.insert(place, span[0])
                taken.insert(place, span)
    return taken


def behind_escape(text: str, span: Span) -> Span:
    """The span without the letter of a JSON escape that it begins with: `\\tom` is a tab and "om"."""
    start, end, made = span
    if not is_escaped(text, start):
        return span
    return start + (5 if text[start] == "u" else 1), end, made


def outside(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    """The spans that lie within none of the others."""
    within = list(others)
    return [span for span in spans if not any(one[0] <= span[0] and span[1] <= one[1] for one in within)]


def spliced(text: str, spans: Iterable[Span]) -> str:
    """The text with each span (ordered, disjoint) replaced."""
    pieces, place = [], 0
    for start, end, made in spans:
        pieces += [text[place:start], made]
        place = end
    return "".join([*pieces, text[place:]])
