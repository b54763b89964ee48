"""The identifiers of a corpus: partial sets that merge in any order, and what they resolve to."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from logfm.configs.schema.anonymize import AnonymizeConfig
from logfm.corpus.anonymize.kept import PUBLIC_DOMAINS, SERVICE_LABELS, SYSTEM_ACCOUNTS, WORDS
from logfm.corpus.anonymize.names import Kind
from logfm.errors import UserError

_KINDS: tuple[Kind, ...] = ("account", "principal", "host", "domain", "user")
_NAME = re.compile(r"\w[\w.\-+$' ]{0,127}")
_NUMBER = re.compile(r"[\d.+\-e]+")
_LITERAL_CHARS = 3


@dataclass
class Names:
    """What a part of the corpus holds; parts merge by union and sum, so that their order changes nothing.

    `seen[kind]` counts each name (lower case) where a position tells that it is one; `keys` counts JSON keys;
    `guids` are those of providers. Keys beyond `max_keys` are dropped by their hash, the same ones in any order.
    """

    config: AnonymizeConfig = field(default_factory=AnonymizeConfig)
    seen: dict[Kind, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in _KINDS})
    keys: Counter[str] = field(default_factory=Counter)
    guids: set[str] = field(default_factory=set)

    def add(self, kind: Kind, name: str, count: int = 1) -> None:
        """Count a name; what is not shaped like one is left to its position."""
        lower = name.strip().lower()
        if kind in ("user", "host") and lower.endswith("$"):
            kind, lower = "host", lower.rstrip("$")
        if _NAME.fullmatch(lower):
            self.seen[kind][lower] += count

    def merge(self, other: "Names") -> "Names":
        """Take in another part; returns itself.

        Raises:
            UserError: more distinct names than `max_identifiers`.
        """
        for kind, names in other.seen.items():
            self.seen[kind].update(names)
        self.keys.update(other.keys)
        self.guids |= other.guids
        return self.bounded()

    def bounded(self) -> "Names":
        """Hold the bounds of memory; returns itself.

        Raises:
            UserError: more distinct names than `max_identifiers`.
        """
        total = sum(map(len, self.seen.values()))
        if total > self.config.max_identifiers:
            raise UserError(
                f"the events hold more than {self.config.max_identifiers} names of users, hosts and domains",
                fix="Raise max_identifiers (about 250 bytes of memory each); leaving some out would leak them.",
            )
        if len(self.keys) > 2 * self.config.max_keys:
            self.trim()
        return self

    def trim(self) -> None:
        """Hold at most `max_keys` JSON keys: those with the smallest hashes, whose counts are complete."""
        kept = sorted(self.keys, key=_order)[: self.config.max_keys]
        self.keys = Counter({key: self.keys[key] for key in kept})
        self.guids = set(sorted(self.guids, key=_order)[: self.config.max_keys])

    def document(self) -> dict[str, Any]:
        """As JSON values, sorted: what a worker hands back. It holds true names: keep it in memory."""
        self.trim()
        return {
            "seen": {kind: dict(sorted(names.items())) for kind, names in self.seen.items()},
            "keys": dict(sorted(self.keys.items())),
            "guids": sorted(self.guids),
        }

    @classmethod
    def of(cls, document: dict[str, Any], config: AnonymizeConfig | None = None) -> "Names":
        """The inverse of `document`."""
        names = cls(config or AnonymizeConfig())
        for kind in _KINDS:
            names.seen[kind] = Counter(document["seen"][kind])
        names.keys, names.guids = Counter(document["keys"]), set(document["guids"])
        return names


@dataclass(frozen=True)
class Identifiers:
    """Each name (lower case) has one kind, so that it has one pseudonym wherever it stands.

    `literals` are replaced wherever they stand between characters that are no letter or digit. `contextual` names
    are too short, only digits, or words of the logs themselves; they are replaced where a position says that they
    are names. `guids` and the names `kept` stay.
    """

    literals: dict[str, Kind]
    contextual: dict[str, Kind]
    guids: frozenset[str] = frozenset()
    kept: frozenset[str] = SYSTEM_ACCOUNTS

    def kind(self, name: str, default: Kind) -> Kind:
        """The kind of a name in lower case."""
        return self.literals.get(name) or self.contextual.get(name) or default

    def counts(self) -> dict[str, int]:
        """Distinct names by kind, for the manifest; `contextual` counts those replaced by position only."""
        return {**Counter(self.literals.values()), "contextual": len(self.contextual)}


def resolve(parts: Names | Iterable[Names], config: AnonymizeConfig | None = None) -> Identifiers:
    """Merge partial results and decide what is replaced where; the order of the parts changes nothing.

    Raises:
        UserError: more distinct names than `max_identifiers`.
    """
    config = config or AnonymizeConfig()
    names = Names(config)
    for part in [parts] if isinstance(parts, Names) else parts:
        names.merge(part)
    names.trim()
    kept = kept_names(config)
    literals: dict[str, Kind] = {}
    contextual: dict[str, Kind] = {}
    for kind in _KINDS:
        for name in sorted(names.seen[kind]):
            if name in kept or name in literals or name in contextual:
                continue
            times = sum(names.seen[other][name] for other in _KINDS)
            target = literals if _stands_alone(kind, name, names.keys[name], times) else contextual
            target[name] = kind
    return Identifiers(literals, contextual, frozenset(names.guids), kept)


def kept_names(config: AnonymizeConfig) -> frozenset[str]:
    """Names in lower case that stay in every position."""
    return SYSTEM_ACCOUNTS | PUBLIC_DOMAINS | {name.lower() for name in config.keep_names}


def _stands_alone(kind: Kind, name: str, as_key: int, as_name: int) -> bool:
    """A name that is more often a JSON key belongs to the format: an attacker may log in as "Message"."""
    if kind in ("account", "principal"):
        return True
    plain = len(name) >= _LITERAL_CHARS and any(char.isalpha() for char in name)
    if _NUMBER.fullmatch(name):
        return False
    return plain and name not in WORDS and name not in SERVICE_LABELS and as_key <= as_name


def _order(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
