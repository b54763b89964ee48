"""Qualified names, label by label: the public suffix and public services stay, relations between names survive."""

import re
from functools import lru_cache
from typing import Any

from logfm.corpus.anonymize.addresses import Addresses
from logfm.corpus.anonymize.identifiers import Identifiers
from logfm.corpus.anonymize.kept import CLEAR_TLDS, PUBLIC_DOMAINS, SERVICE_LABELS
from logfm.corpus.anonymize.names import Pseudonyms
from logfm.extras import require

QUALIFIED = re.compile(r"(?<![\w.])[\w\-]+(?:\.[\w\-]+)+")
DASHED_IP = re.compile(r"(?<!\d)(?<!\d-)(?<![Ss]-)(\d{1,3})-(\d{1,3})-(\d{1,3})-(\d{1,3})(?!\d)(?!-\d)")
_REVERSE = ".in-addr.arpa"


def suffix_labels(name: str) -> int:
    """Labels of the public suffix of a lower-case name (publicsuffix.org, with private suffixes such as
    `s3.amazonaws.com`); 1 for unknown ones such as `corp.local`'s."""
    suffix = _suffixes().publicsuffix(name)
    return 1 if suffix is None else suffix.count(".") + 1


def is_public(name: str, more: tuple[str, ...] = ()) -> bool:
    """Whether a lower-case name lies in a public service's domain and below no suffix that customers share."""
    labels = name.split(".")
    shared = suffix_labels(name)
    tails = {".".join(labels[-count:]) for count in range(2, len(labels) + 1)}
    if any(tail in more for tail in tails):
        return True
    return shared <= 2 and bool(tails & PUBLIC_DOMAINS) and not DASHED_IP.search(name)


def looks_like_domain(name: str) -> bool:
    """Whether a lower-case dotted name in running text is a domain, rather than a file or a namespace."""
    labels = name.split(".")
    if len(labels) < 2 or not any(char.isalpha() for char in labels[-2]):
        return False
    return labels[-1] in CLEAR_TLDS


class Domains:
    """Maps qualified names."""

    def __init__(
        self, names: Pseudonyms, addresses: Addresses, identifiers: Identifiers, more: tuple[str, ...] = ()
    ) -> None:
        self._names, self._addresses, self._identifiers, self._more = names, addresses, identifiers, more

    def qualified(self, name: str) -> str:
        """Map a dotted name; labels that are hosts or domains of the corpus map as these do."""
        lower = name.lower()
        if lower.endswith(_REVERSE):
            return self._reverse(name)
        if is_public(lower, self._more):
            return name
        labels = name.split(".")
        count = min(suffix_labels(lower), len(labels) - 1)
        own = [self.label(label, first=place == 0) for place, label in enumerate(labels[:-count])]
        return ".".join([*own, *labels[-count:]])

    def label(self, label: str, first: bool = False) -> str:
        """Map one label; a dashed address in it maps as the address."""
        dashed = self.dashed(label)
        if dashed != label:
            return dashed
        lower = label.lower()
        if lower in SERVICE_LABELS or lower in self._identifiers.kept or (first and not label.strip("-_")):
            return label
        return self._names.name(self._identifiers.kind(lower, "domain"), label)

    def dashed(self, label: str) -> str:
        """Map `ip-10-0-0-1` to the dashes of the mapped address."""

        def mapped(found: re.Match[str]) -> str:
            try:
                return self._addresses.ipv4(".".join(found.groups())).replace(".", "-")
            except ValueError:
                return found[0]

        return DASHED_IP.sub(mapped, label)

    def _reverse(self, name: str) -> str:
        head, tail = name[: -len(_REVERSE)], name[-len(_REVERSE) :]
        labels = head.split(".")
        try:
            mapped = self._addresses.ipv4(".".join(reversed(labels[-4:])))
        except ValueError:
            return ".".join([*(self.label(label) if not label.isdigit() else "0" for label in labels)]) + tail
        return ".".join([*map(self.label, labels[:-4]), *reversed(mapped.split("."))]) + tail


@lru_cache(maxsize=1)
def _suffixes() -> Any:
    return require("publicsuffixlist", "anonymize").PublicSuffixList()
