"""What placeholders stand for: the cast of an activity, and values that are drawn anew for each event."""

import base64
import random
from collections.abc import Callable, Mapping

from logfm.corpus.simulate import pools
from logfm.corpus.simulate.records import sysmon_time
from logfm.corpus.simulate.world import World, stream, zipf

Draw = Callable[["Cast"], str]
_SCRIPT = (2_000, 12_000)
"""Characters of a module's script."""
_LAST = 0.015
"""How likely it ends after any line beyond the least."""
_YEAR = 365 * 86_400


class Cast:
    """Who and what takes part in one activity; each identity is drawn when it is first asked for, then kept."""

    def __init__(
        self,
        world: World,
        rng: random.Random,
        *,
        role: str = "any",
        fixed: Mapping[str, str] | None = None,
        values: Mapping[str, tuple[str, ...]] | None = None,
        encoded: Mapping[str, str] | None = None,
    ) -> None:
        self.world = world
        self.rng = rng
        self.role = role
        self.time = 0
        """The time of the event that is filled in (microseconds since 1970)."""
        self._kept = dict(fixed or {})
        self._own: dict[str, str] = {}
        for name, choices in (values or {}).items():
            self._own[name] = self.fill(rng.choice(choices))
        for name, text in (encoded or {}).items():
            self._own[name] = base64.b64encode(self.fill(text).encode("utf-16-le")).decode()

    def get(self, name: str) -> str:
        """The value of a placeholder."""
        if name in self._own:
            return self._own[name]
        if name in EVENT_VALUES:
            return EVENT_VALUES[name](self)
        if name not in self._kept:
            self._kept[name] = IDENTITIES[name](self)
        return self._kept[name]

    def fill(self, text: str) -> str:
        """Replace the placeholders of a text."""
        if "{" not in text:
            return text
        from logfm.corpus.simulate.templates import PLACEHOLDER

        return PLACEHOLDER.sub(lambda match: self.get(match[1]), text)


def shared_cast(world: World, rng: random.Random, user: str | None = None) -> dict[str, str]:
    """A whole cast at once, for an attack and what covers it: an office user or `user`, an administrator, servers,
    outside."""
    cast = Cast(world, rng, role="office", fixed={"user": user} if user else None)
    return {name: cast.get(name) for name in IDENTITIES}


def _person(role: str | None = None) -> Draw:
    return lambda cast: cast.rng.choice(cast.world.of_role(role or cast.role)).name


def _host_of(user: str) -> Draw:
    return lambda cast: cast.world.users[cast.get(user)].host


def _address_of(host: str) -> Draw:
    return lambda cast: cast.world.hosts[cast.get(host)].address


def _of_kind(kind: str) -> Draw:
    return lambda cast: cast.rng.choice(cast.world.of_kind(kind))


def _other_user(cast: Cast) -> str:
    return cast.rng.choice([name for name in cast.world.users if name not in (cast.get("user"), cast.get("admin"))])


def _agent(cast: Cast) -> str:
    known = cast.world.agents
    return known[cast.get("visitor")]


def _in_pool(address: str) -> str:
    """The address that the VPN gives to a workstation's user: always the same one."""
    net, _, last = address.rsplit(".", 2)
    return f"{net}.9.{last}"


def _document(cast: Cast) -> str:
    number = cast.rng.choice(["", "", "_2025", "_final", "_v2", f"_{cast.rng.randrange(100, 9999)}"])
    return f"{zipf(cast.rng, pools.DOCUMENTS)}{number}.{zipf(cast.rng, pools.EXTENSIONS)}"


def _page(cast: Cast) -> str:
    page = zipf(cast.rng, pools.PAGES)
    if page in ("/search", "/api/v1/search"):
        return f"{page}?q={zipf(cast.rng, pools.TERMS)}"
    if page in ("/products", "/api/v1/items", "/support/tickets"):
        return f"{page}/{int(cast.rng.paretovariate(0.8)) % 5000}"
    return page


def _script(cast: Cast) -> str:
    """A module's script of 2 to 12 KB, as PowerShell logs whole modules when they load."""
    lines, size = [], 0
    while size < _SCRIPT[0] or (size < _SCRIPT[1] and cast.rng.random() > _LAST):
        lines.append(cast.fill(cast.rng.choice(pools.SCRIPT)))
        size += len(lines[-1])
    return "\n".join(lines)


def _hex(digits: int) -> Draw:
    return lambda cast: f"{cast.rng.getrandbits(4 * digits):0{digits}x}"


def _number(low: int, high: int) -> Draw:
    return lambda cast: str(cast.rng.randrange(low, high))


def _before(low: float, high: float) -> Draw:
    """A time so many seconds before the event, as Sysmon writes it."""
    return lambda cast: sysmon_time(cast.time - int(cast.rng.uniform(low, high) * 1_000_000))


def _short(cast: Cast) -> str:
    return f"{cast.rng.getrandbits(16):04x}"


IDENTITIES: dict[str, Draw] = {
    "user": _person(),
    "host": _host_of("user"),
    "address": _address_of("host"),
    "sid": lambda cast: cast.world.users[cast.get("user")].sid,
    "admin": _person("it"),
    "admin_host": _host_of("admin"),
    "admin_address": _address_of("admin_host"),
    "peer_user": _other_user,
    "peer": _host_of("peer_user"),
    "peer_address": _address_of("peer"),
    "server": _of_kind("server"),
    "server_address": _address_of("server"),
    "dc": _of_kind("dc"),
    "linux": _of_kind("linux"),
    "linux_address": _address_of("linux"),
    "web": _of_kind("web"),
    "instance": lambda cast: f"mi-0{stream(cast.world.seed, 'instance', cast.get('linux')).getrandbits(64):016x}",
    "account": lambda cast: zipf(cast.rng, pools.ACCOUNTS),
    "helper": lambda cast: cast.rng.choice(pools.HELPERS),
    # A stream of its own: other draws stay as they are.
    "helper_id": lambda cast: str(stream(cast.world.seed, "uid", cast.get("helper")).randrange(1010, 1100)),
    "visitor": lambda cast: zipf(cast.rng, cast.world.visitors, 0.6),
    "agent": _agent,
    "browser": lambda cast: cast.world.agents[cast.get("address")],
    "domain": lambda cast: zipf(cast.rng, cast.world.domains, 0.8),
    "domain_address": lambda cast: cast.world.addresses[cast.get("domain")],
    "company": lambda cast: cast.world.company,
    "realm": lambda cast: cast.world.realm,
    "site": lambda cast: f"www.{cast.world.company}.example",
    "intranet": lambda cast: f"intranet.{cast.world.realm}",
    "egress": lambda cast: cast.world.surroundings["egress"],
    "aws_account": lambda cast: cast.world.surroundings["aws_account"],
    "tenant": lambda cast: cast.world.surroundings["tenant"],
    "region": lambda cast: cast.world.surroundings["region"],
    "partner": lambda cast: zipf(cast.rng, cast.world.domains, 0.6).split(".", 1)[1],
    "sender": lambda cast: zipf(cast.rng, cast.world.senders, 0.6),
    "storage": lambda cast: zipf(cast.rng, pools.STORAGE, 0.5),
    "bucket": lambda cast: f"{cast.world.company}-{zipf(cast.rng, pools.BUCKETS, 0.7)}",
    "app": lambda cast: zipf(cast.rng, pools.CLOUD_APPS, 0.7),
    "vpn_address": lambda cast: _in_pool(cast.get("address")),
    "peer_vpn_address": lambda cast: _in_pool(cast.get("peer_address")),
    "vpn_port": lambda cast: str(cast.rng.randrange(32_768, 61_000)),
    "mail_address": lambda cast: cast.world.hosts["mail01"].address,
    "cloud_tool": lambda cast: cast.fill(zipf(cast.rng, pools.CLOUD_TOOLS, 0.5)),
}
"""Drawn once for an activity."""

EVENT_VALUES: dict[str, Draw] = {
    "page": _page,
    "asset": lambda cast: zipf(cast.rng, pools.ASSETS),
    "term": lambda cast: zipf(cast.rng, pools.TERMS),
    "document": _document,
    "any_domain": lambda cast: zipf(cast.rng, cast.world.domains, 0.8),
    "any_visitor": lambda cast: zipf(cast.rng, cast.world.visitors, 0.6),
    "any_user": lambda cast: cast.rng.choice(list(cast.world.users)),
    "guess": lambda cast: zipf(cast.rng, pools.GUESSES, 0.8),
    "hex4": _hex(4),
    "hex8": _hex(8),
    "hex16": _hex(16),
    "hex10": _hex(10),
    "queue_id": lambda cast: f"{cast.rng.getrandbits(40):010X}",
    "hex32": _hex(32),
    "hex40": _hex(40),
    "number": _number(1, 10_000),
    "digit": _number(1, 10),
    "octet": _number(1, 255),
    "port": _number(32_768, 61_000),
    "session": _number(100, 9_000),
    "module": _script,
    "t_lately": _before(5, 300),
    "t_years_ago": _before(2 * _YEAR, 5 * _YEAR),
    "bytes": lambda cast: str(int(cast.rng.lognormvariate(9, 1.4))),
    "unique": lambda cast: (
        f"{cast.rng.getrandbits(32):08x}-{_short(cast)}-{_short(cast)}-{_short(cast)}-{cast.rng.getrandbits(48):012x}"
    ),
}
"""Drawn anew each time."""
