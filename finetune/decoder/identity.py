"""Hosts, users, addresses and times of a case: masked, the same one the same way, or varied."""

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from ipaddress import ip_address
from random import Random
from typing import Literal

import numpy as np

from logfm.corpus.anonymize.kept import SYSTEM_ACCOUNTS
from logfm.corpus.simulate import invented

_IPV4 = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)"
# Also what only looks like one, such as a time of day: it is parsed before it is replaced.
_IPV6 = r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{3,39}(?![0-9A-Za-z:])"
_MAIL = r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+"
_ADDRESS = re.compile(f"(?P<mail>{_MAIL})|(?P<four>{_IPV4})|(?P<six>{_IPV6})")
_PADDED = re.compile(r"(?:^|\.)0\d")
_DOTTED = re.compile(r"\d{1,4}(?:\.\d{1,4}){3}")
_HOME = re.compile(r"(?<=/home/)[^/\s\"':;]{2,64}|(?<=:\\Users\\)[^\\\"/:;]{2,64}(?=\\)", re.IGNORECASE)
# Where a command line or a message names a user whom no column names.
_NAMED = re.compile(
    r"(?P<before>[/-]user(?:name)?[:= ]\s?|Account Name:\s{1,4}|\bnet1? user )(?P<quote>\"?)"
    r"(?P<name>[^\s\"/:;,*<>|]{3,64})",
    re.IGNORECASE,
)
_SHARED = frozenset({"public", "default", "all users", "default user"})
_SID = re.compile(r"S-1-5-21(?:-\d+){3,4}")
_RID = {"500": "-admin", "502": "-krbtgt", "512": "-admins"}
# What never means the same thing twice, and what the dates of a data set would tell.
_NOISE = (
    (re.compile(r"\{?[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\}?"), "GUID"),
    (re.compile(r"\b(?:19|20)\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "TIME"),
    (re.compile(r"\b(?:19|20)\d\d/\d\d/\d\d(?:[ /T]\d\d:\d\d:\d\d)?(?![\d/])"), "TIME"),
    (re.compile(r"\b\d{1,2}/\d{1,2}/(?:19|20)\d\d(?: \d{1,2}:\d\d(?::\d\d)?(?: [AP]M)?)?(?![\d/])"), "TIME"),
    (re.compile(r"\b\d\d/[A-Z][a-z]{2}/(?:19|20)\d\d:\d\d:\d\d:\d\d(?: [+-]\d{4})?"), "TIME"),
    (re.compile(r"^(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d "), ""),
    (re.compile(r"(?<![0-9A-Za-z:.])(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d{1,9})?(?![0-9A-Za-z:])"), "TIME"),
    (re.compile(r"(?<![0-9A-Za-z])(?:0x)?(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{16,}(?![0-9A-Za-z])"), "HEX"),
    (re.compile(r"\b(?:AKIA|ASIA|AIDA|AROA)[A-Za-z0-9]{12,28}\b"), "KEY"),
    (re.compile(r"(?<!\d)\d{12,}(?!\d)"), "NUM"),
)
_MADE = re.compile(r"(?:USER|HOST|DOMAIN|SID|GUID|HEX|NUM|IP|EXT|X)\d*(?:-\w+)?")
_LEAST = 3
_MOST_NAMES = 64
_INVENTED = 1000
"""People and companies that varied names are of."""
Mode = Literal["masked", "varied", "kept"]


class Identities:
    """What identifies someone in one case, and what stands instead; numbers follow the first appearance."""

    def __init__(self, mode: Mode, seed: int) -> None:
        self._mode = mode
        self._rng = np.random.default_rng(seed)
        self._known: dict[str, tuple[str, str]] = {}  # name in lower case -> kind, and whom it names
        self._shown: dict[tuple[str, str], str] = {}
        self._pattern: re.Pattern[str] | None = None

    def know(self, hosts: Iterable[str | None], users: Iterable[str | None]) -> None:
        """Take the hosts and users that the events' columns name: they are replaced wherever they stand."""
        if self._mode == "kept":
            return
        for host in filter(None, hosts):
            self._host(host)
        for user in filter(None, users):
            self._user(user)
        self._compile()

    def clean(self, text: str) -> str:
        """A value without identities; under `kept` only without what is noise."""
        for pattern, instead in _NOISE:
            text = pattern.sub(instead, text)
        if self._mode == "kept":
            return text
        text = _SID.sub(self._sid, text)
        text = _NAMED.sub(self._named, text)
        text = _HOME.sub(self._home, text)
        text = _ADDRESS.sub(self._address, text)
        if self._pattern is not None:
            text = self._pattern.sub(lambda match: self._show(*self._known[match[0].lower()]), text)
        return text

    def _compile(self) -> None:
        names = sorted(self._known, key=len, reverse=True)[:_MOST_NAMES]
        # Underscores count as borders: names stand in tasks' and files' names.
        found = "|".join(map(re.escape, names))
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{found})(?![A-Za-z0-9])", re.IGNORECASE) if names else None

    def _host(self, host: str) -> None:
        if is_address(host) or "://" in host:
            return
        short, _, domain = host.lower().partition(".")
        if _names_someone(short):
            self._known.setdefault(short, ("HOST", short))
            self._known.setdefault(host.lower(), ("HOST", short))
        for name in (domain, domain.partition(".")[0]):
            if _names_someone(name):
                self._known.setdefault(name, ("DOMAIN", domain))

    def _user(self, user: str) -> None:
        domain, _, name = user.lower().rpartition("\\")
        name, _, behind = name.partition("@")
        if _names_someone(domain) and domain != name:
            self._known.setdefault(domain, ("DOMAIN", domain))
        if name.endswith("$"):
            self._host(name[:-1])
        elif _names_someone(name) and not name.startswith("s-1-") and "/" not in name:
            self._known.setdefault(name, ("USER", name))
            if behind:
                self._known.setdefault(f"{name}@{behind}", ("USER", name))

    def _address(self, match: re.Match[str]) -> str:
        given = match[0].lower()
        if match["mail"]:
            name = given.partition("@")[0]
            return self._show("USER", name if self._known.get(name, ("",))[0] == "USER" else given)
        try:
            address = ip_address(given)
        except ValueError:
            return self._show("EXT", given) if _PADDED.search(given) else match[0]
        if address.is_loopback or address.is_unspecified or address.is_multicast:
            return match[0]
        return self._show("IP" if _is_internal(given) else "EXT", given)

    def _home(self, match: re.Match[str]) -> str:
        return self._name(match[0])

    def _named(self, match: re.Match[str]) -> str:
        domain, border, name = match["name"].rpartition("\\")
        return match["before"] + match["quote"] + domain + border + self._name(name)

    def _name(self, given: str) -> str:
        name = given.lower()
        if name in _SHARED or not _names_someone(name) or _MADE.fullmatch(given):
            return given
        if name not in self._known:
            self._known[name] = ("USER", name)
            self._compile()
        return self._show(*self._known[name])

    def _sid(self, match: re.Match[str]) -> str:
        return self._show("SID", match[0]) + _RID.get(match[0].rpartition("-")[2], "")

    def _show(self, kind: str, whom: str) -> str:
        shown = self._shown.get((kind, whom))
        if shown is None:
            number = 1 + sum(one == kind for one, _ in self._shown)
            shown = f"{kind}{number}" if self._mode == "masked" else _VARIED[kind](self._rng)
            self._shown[kind, whom] = shown
        return shown


def _names_someone(name: str) -> bool:
    return len(name) >= _LEAST and name not in SYSTEM_ACCOUNTS and not name.isdigit()


def _varied_host(rng: np.random.Generator) -> str:
    prefix = ("WS", "PC", "LAP", "DESK", "SRV", "HQ-WS", "CLIENT")[int(rng.integers(7))]
    return f"{prefix}{int(rng.integers(1, 1000)):03d}"


@cache
def _people() -> list[tuple[str, str]]:
    return invented.people(Random("varied"), _INVENTED)


@cache
def _companies() -> list[str]:
    rng = Random("varied")
    return [invented.company(rng) for _ in range(_INVENTED)]


def _varied_user(rng: np.random.Generator) -> str:
    return ".".join(_people()[int(rng.integers(_INVENTED))])


def _varied_address(network: str, rng: np.random.Generator) -> str:
    parts = network.split(".")
    parts += [str(int(rng.integers(1, 255))) for _ in range(4 - len(parts))]
    return ".".join(parts)


def _varied_sid(rng: np.random.Generator) -> str:
    return "-".join(
        ["S-1-5-21", *(str(int(one)) for one in rng.integers(10**8, 10**9, 3)), str(rng.integers(1001, 9999))]
    )


def _varied_domain(rng: np.random.Generator) -> str:
    return _companies()[int(rng.integers(_INVENTED))]


_VARIED: dict[str, Callable[[np.random.Generator], str]] = {
    "DOMAIN": _varied_domain,
    "HOST": _varied_host,
    "USER": _varied_user,
    "IP": partial(_varied_address, "10"),
    "EXT": partial(_varied_address, "198.51.100"),
    "SID": _varied_sid,
}


def is_address(text: str) -> bool:
    """Whether a text is an IP address, or numbers in its place (`06.1.250.216`, as some data sets mask them)."""
    try:
        ip_address(text)
    except ValueError:
        return _DOTTED.fullmatch(text) is not None
    return True


# The ranges for documentation and benchmarks stand for public ones in simulated logs.
_PUBLIC = ("192.0.2.", "198.51.100.", "203.0.113.", "198.18.", "198.19.")


def _is_internal(address: str) -> bool:
    return ip_address(address).is_private and not address.startswith(_PUBLIC)
