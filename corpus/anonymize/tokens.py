"""What a token's own shape gives away: addresses, GUIDs, SIDs, e-mails, qualified names."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from logfm.corpus.anonymize.addresses import Addresses
from logfm.corpus.anonymize.domains import DASHED_IP, QUALIFIED, Domains, looks_like_domain
from logfm.corpus.anonymize.identifiers import Identifiers
from logfm.corpus.anonymize.kept import ALGORITHM_DOMAINS, PUBLIC_GUID_NODES, PUBLIC_GUIDS, words
from logfm.corpus.anonymize.key import prf
from logfm.corpus.anonymize.names import Pseudonyms

TOKEN = re.compile(r"(?:\\(?:u[0-9a-fA-F]{4}|[\\ntrbf])){0,4}([\w.:@+\-]{3,})")
Finding = tuple[int, int, str, str]
_GUID = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
_SID = re.compile(r"S-1-(?:5-21|12-1)((?:-\d{1,10}){1,5})(?!\d)", re.IGNORECASE)
_EMAIL = re.compile(r"([\w.+\-]{1,64})@([\w\-]+(?:\.[\w\-]+)*)")
_MAC = re.compile(
    r"(?<![0-9A-Fa-f:\-])[0-9A-Fa-f]{2}([:\-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}(?![:\-]?[0-9A-Fa-f])"
    r"|(?<![0-9A-Fa-f.])(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}(?![0-9A-Fa-f.])"
)
_MAC_PAIR = re.compile(r"(?<![0-9A-Fa-f:])(?:[0-9A-Fa-f]{2}:){13}[0-9A-Fa-f]{2}(?![:0-9A-Fa-f])")
_OCTET = r"(?:25[0-5]|2[0-4]\d|[01]?\d?\d)"
# Five parts are an address and its port, as tcpdump writes it; more are an object identifier.
_IPV4 = re.compile(rf"(?<![0-9.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\d)(?!(?:\.\d+){{2}})(?!\.\d{{6}})")
_IPV6 = re.compile(r"(?<![^\W_])(?<![:.])[0-9A-Fa-f:]{2,39}(?:\.\d{1,3}){0,3}(?![^\W_])")
_PRINCIPAL = re.compile(r"(?<![A-Za-z0-9])(?:AIDA|AROA|AIPA|ANPA|ANVA|AGPA|ACCA|APKA)[A-Z0-9]{12,24}(?![A-Za-z0-9])")
_FIRST_OWN_RID = 1000


@dataclass(frozen=True)
class Shapes:
    """Reads tokens under a key; `find` is a pure function of the token."""

    key: bytes
    names: Pseudonyms
    addresses: Addresses
    domains: Domains
    identifiers: Identifiers

    def find(self, token: str) -> tuple[Finding, ...] | None:
        """(start, end, replacement, shape) of what the token holds, without overlaps; None for nothing."""
        taken: list[Finding] = []
        for shape, pattern, change in self._readers(token):
            for found in pattern.finditer(token):
                start, end = found.span()
                if all(end <= one[0] or start >= one[1] for one in taken):
                    made = change(found)
                    if made is not None:
                        taken.append((start, end, made, shape))
        return tuple(taken) or None

    def _readers(self, token: str) -> Iterator[tuple[str, re.Pattern[str], Callable[[re.Match[str]], str | None]]]:
        if token[:1] == "A" or ":A" in token:
            yield "principal", _PRINCIPAL, lambda found: self.names.name("principal", found[0])
        dashes, dots, colons = token.count("-"), token.count("."), token.count(":")
        if dashes >= 4:
            yield "sid", _SID, self._sid
            yield "guid", _GUID, self._guid
        if "@" in token:
            yield "email", _EMAIL, self._email
        if colons >= 13:
            yield "mac", _MAC_PAIR, self._mac_pair
        if colons >= 5 or dashes >= 5 or dots >= 2:
            yield "mac", _MAC, lambda found: self.addresses.mac(found[0])
        if colons >= 2:
            yield "ipv6", _IPV6, self._ipv6
        if dots:
            yield "domain", QUALIFIED, self._domain
        if dots >= 3:
            yield "ipv4", _IPV4, lambda found: self.addresses.ipv4(found[0])
        if dashes >= 3:
            yield "dashed", DASHED_IP, lambda found: self.domains.dashed(found[0])

    def _sid(self, found: re.Match[str]) -> str:
        numbers = found[1].split("-")[1:]
        prefix = found[0][: -len(found[1])]
        machine = "-".join(numbers[:3]).encode()
        digest = prf(self.key, "sid", machine, 12)
        mapped = [str(int.from_bytes(digest[place : place + 4], "big")) for place in (0, 4, 8)][: len(numbers)]
        for number in numbers[3:]:
            own = int.from_bytes(prf(self.key, "rid", machine + b"-" + number.encode(), 6), "big") % (1 << 31)
            mapped.append(number if int(number) < _FIRST_OWN_RID else str(_FIRST_OWN_RID + own))
        return "-".join([prefix, *mapped])

    def _guid(self, found: re.Match[str]) -> str | None:
        lower = found[0].lower()
        node = lower.rpartition("-")[2]
        if lower in PUBLIC_GUIDS or lower in self.identifiers.guids or node.startswith(PUBLIC_GUID_NODES):
            return None
        digits = prf(self.key, "guid", bytes.fromhex(lower.replace("-", "")), 16).hex()
        made = "-".join((digits[:8], digits[8:12], lower[14] + digits[13:16], lower[19] + digits[17:20], digits[20:]))
        return made.upper() if any("A" <= char <= "F" for char in found[0]) else made

    def _email(self, found: re.Match[str]) -> str | None:
        local, domain = found[1], found[2]
        if domain.lower() in ALGORITHM_DOMAINS:
            return found[0]
        lower = local.lower()
        if lower not in self.identifiers.kept:
            local = self.names.name(self.identifiers.kind(lower, "user"), local)
        try:
            return f"{local}@{self.addresses.ipv4(domain)}"
        except ValueError:
            mapped = self.domains.qualified(domain) if "." in domain else self.domains.label(domain)
            return f"{local}@{mapped}"

    def _mac_pair(self, found: re.Match[str]) -> str:
        return f"{self.addresses.mac(found[0][:17])}:{self.addresses.mac(found[0][18:35])}{found[0][35:]}"

    def _ipv6(self, found: re.Match[str]) -> str | None:
        try:
            return self.addresses.ipv6(found[0])
        except ValueError:
            return None

    def _domain(self, found: re.Match[str]) -> str | None:
        lower = found[0].lower()
        labels = lower.split(".")
        known = any(label in self.identifiers.literals for label in labels[:-1]) and not labels[-1].isdigit()
        if not looks_like_domain(lower) and not (known and len(labels[-1]) > 1 and labels[-1] in CLEAR_OR_OWN):
            return None
        return self.domains.qualified(found[0])


# A name of the corpus below an unclear top-level domain, such as `corp.io`, is still a domain.
CLEAR_OR_OWN = frozenset(
    words(
        """
    io co ai me tv us in so is to app dev cloud info name systems tech group
    """
    )
)
