"""Names of people, companies and domains as Faker invents them, and browsers that real visitors have."""

import random
import re
import unicodedata
from functools import cache
from importlib.metadata import version
from typing import Any

LIBRARIES = ("Faker", "fake-useragent")
# Latin scripts only: the names become accounts and domains.
_LOCALES = ("en_US", "en_GB", "en_IN", "de_DE", "es_ES", "fr_FR", "it_IT", "nl_NL", "pl_PL", "pt_BR", "sv_SE", "tr_TR")
_HOME = 0.6
"""The part of a company's people whose names are of its own country."""
_SHORTEST, _LONGEST = 4, 15
"""Characters of a company's name: NetBIOS takes no more."""
_NAME = re.compile(rf"[a-z]{{3,{_LONGEST}}}")
_AGENT = re.compile(r"[A-Za-z][ !#-~]{10,300}")
# Not of browsers: scripts that call a site.
_TOOLS = {"python-requests/2.32.3": 0.02, "curl/8.5.0": 0.01}
_OFFICE = ("Chrome", "Edge", "Firefox")
_RARE = 0.1
"""The least percentage of all visitors that a workstation's browser has: a company keeps its browsers up to date."""


def versions() -> dict[str, str]:
    """The releases of the libraries: other ones invent other names from the same seed."""
    return {name: version(name) for name in LIBRARIES}


def people(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """First and last names in lower case and ASCII, all pairs different; more than half of them from one country."""
    home = rng.choice(_LOCALES)
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        fake = _faker(home if rng.random() < _HOME else rng.choice(_LOCALES), rng)
        pair = _plain(fake.first_name()), _plain(fake.last_name())
        if all(_NAME.fullmatch(name) for name in pair):
            found[pair] = None
    return list(found)


def company(rng: random.Random) -> str:
    """The name of a company as one word, such as `juarez`."""
    while True:
        name = _plain(_faker(rng.choice(_LOCALES), rng).company())
        if len(name) >= _SHORTEST and _NAME.fullmatch(name):
            return name


def words(rng: random.Random, count: int) -> list[str]:
    """Different names of other companies' domains, such as `klein-morse`."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = _faker(rng.choice(_LOCALES), rng).domain_word()
        if len(word) >= _SHORTEST:
            found[word] = None
    return list(found)


def agents(rng: random.Random, count: int) -> list[str]:
    """User agents of visitors of a site, each as often as it is among real ones, and a few of scripts."""
    known = _browsers() | {name: part * 100 for name, part in _TOOLS.items()}
    return rng.choices(list(known), list(known.values()), k=count)


def office_agents(rng: random.Random, count: int) -> list[str]:
    """User agents of workstations that run Windows."""
    known = _browsers("Windows")
    return rng.choices(list(known), list(known.values()), k=count)


def _plain(name: str) -> str:
    """The first word of a name, without what ASCII does not have."""
    first = re.split(r"[\s,.'’-]", name.strip())[0]
    return unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode().lower()


@cache
def _makers() -> dict[str, Any]:
    from faker import Faker

    return {locale: Faker(locale) for locale in _LOCALES}


def _faker(locale: str, rng: random.Random) -> Any:
    # A generator is shared, so what it gave before must not tell what it gives now.
    fake = _makers()[locale]
    fake.seed_instance(rng.getrandbits(64))
    return fake


@cache
def _browsers(system: str | None = None) -> dict[str, float]:
    """User agents, and the percentage of visitors that have each; of workstations of a system, or of any device."""
    from fake_useragent import FakeUserAgent

    found: dict[str, float] = {}
    for one in FakeUserAgent().data_browsers:
        name, wanted = one["useragent"], system is None or (one["os"] == system and one["browser"] in _OFFICE)
        # A quotation mark would end the access log's field.
        if wanted and _AGENT.fullmatch(name):
            found[name] = found.get(name, 0.0) + one["percent"]
    return {name: part for name, part in found.items() if system is None or part >= _RARE}
