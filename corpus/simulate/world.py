"""The invented company: users in roles, workstations, servers, sites, and the internet around it."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import TypeVar
from uuid import UUID

from logfm.corpus.simulate import invented, pools

ItemT = TypeVar("ItemT")
_ADDRESS = re.compile(r"^\d+\.\d+\.\d+\.\d+$")
VISITORS = 160
DOMAINS = 180
SENDERS = 400


def stream(*parts: object) -> random.Random:
    """A random stream of its own for one part of the work, from the seed and the part's name."""
    return random.Random("/".join(str(part) for part in parts))


@dataclass(frozen=True)
class User:
    """A person: the account's name, role, security identifier and workstation."""

    name: str
    role: str
    sid: str
    host: str


@dataclass(frozen=True)
class Host:
    """A machine of the company."""

    name: str
    address: str
    kind: str


@dataclass(frozen=True)
class Process:
    """A running process of a Windows host."""

    host: str
    pid: int
    guid: str
    image: str
    command: str
    user: str
    integrity: str
    logon_id: str


@dataclass(frozen=True)
class World:
    """Everything that telemetry names; the same seed and number of hosts give the same world."""

    seed: int
    company: str
    users: dict[str, User]
    hosts: dict[str, Host]
    domains: tuple[str, ...]
    addresses: dict[str, str]
    """Address of each domain and of each host's full name."""
    visitors: tuple[str, ...]
    senders: tuple[str, ...]
    """First and last name of people who write to the company."""
    agents: dict[str, str]
    """User agent of each visitor and each workstation's address."""
    processes: dict[tuple[str, str], Process] = field(repr=False)
    """Processes of the system, by host and short name."""
    surroundings: dict[str, str] = field(default_factory=dict)
    """The company's address on the internet, its cloud account, tenant and region."""

    @property
    def realm(self) -> str:
        """DNS suffix of the internal hosts."""
        return f"{self.company}.local"

    @property
    def authority(self) -> str:
        """What the security identifiers of the company's accounts begin with."""
        return next(iter(self.users.values())).sid.rpartition("-")[0]

    def of_kind(self, kind: str) -> list[str]:
        """Names of the hosts of a kind."""
        return [host.name for host in self.hosts.values() if host.kind == kind]

    def of_role(self, role: str) -> list[User]:
        """The users of a role; of any."""
        return [user for user in self.users.values() if role in ("any", user.role)]


def zipf(rng: random.Random, items: Sequence[ItemT], exponent: float = 1.0) -> ItemT:
    """Draw an item; the k-th is taken in proportion to 1 / k ** exponent."""
    return rng.choices(items, cum_weights=_zipf_weights(len(items), exponent))[0]


@cache
def _zipf_weights(count: int, exponent: float) -> list[float]:
    return list(accumulate((k + 1) ** -exponent for k in range(count)))


def make_world(seed: int, workstations: int) -> World:
    """Invent a company with that many workstations and users."""
    rng = stream(seed, "world")
    company = invented.company(rng)
    net = f"10.{rng.randrange(1, 250)}"
    hosts = _hosts(rng, net, workstations)
    domains, addresses = _internet(rng, company)
    addresses |= {f"{host.name.lower()}.{company}.local": host.address for host in hosts.values()}
    web = next(host.address for host in hosts.values() if host.kind == "web")
    addresses |= {f"www.{company}.example": web, f"intranet.{company}.local": web}
    users = _users(rng, [host.name for host in hosts.values() if host.kind == "workstation"])
    visitors = tuple(dict.fromkeys(_address(rng) for _ in range(VISITORS)))
    agents = dict(zip(visitors, invented.agents(rng, len(visitors)), strict=True))
    agents |= zip((host.address for host in hosts.values()), invented.office_agents(rng, len(hosts)), strict=True)
    processes = {}
    owners = {user.host: user.name for user in users.values()}
    for host in hosts.values():
        if host.kind in ("workstation", "server", "dc"):
            for short, image in pools.SYSTEM_PROCESSES.items():
                owner = owners.get(host.name, "Administrator") if short in ("explorer", "taskhost") else "SYSTEM"
                processes[host.name, short] = _boot(rng, host.name, image, owner)
    surroundings = _surroundings(seed, addresses)
    for name, owner in owners.items():
        for short, image in pools.USER_PROCESSES.items():
            processes[name, short] = _boot(stream(seed, name, short), name, image, owner)
    senders = tuple(f"{first}.{last}" for first, last in invented.people(stream(seed, "senders"), SENDERS))
    return World(seed, company, users, hosts, domains, addresses, visitors, senders, agents, processes, surroundings)


def _surroundings(seed: int, addresses: dict[str, str]) -> dict[str, str]:
    rng = stream(seed, "surroundings")
    for name in (*pools.STORAGE, *pools.CHATS):
        addresses[name] = _address(rng)
    return {
        "egress": _address(rng),
        "aws_account": str(rng.randrange(10**11, 10**12)),
        "tenant": str(UUID(int=rng.getrandbits(128))),
        "region": rng.choice(pools.REGIONS),
    }


def address_of(world: World, name: str) -> str:
    """The address of a name; names of a domain that nobody has listed share one, always the same."""
    if _ADDRESS.match(name):
        return name
    domain = ".".join(name.split(".")[-2:])
    return world.addresses.get(name) or _address(stream(world.seed, "address", domain))


def _hosts(rng: random.Random, net: str, workstations: int) -> dict[str, Host]:
    prefix = rng.choice(["WS", "PC-", "DESK", "LT-"])
    names = [f"{prefix}{number:03d}" for number in range(1, workstations + 1)]
    found = [Host(name, f"{net}.{10 + n // 200}.{20 + n % 200}", "workstation") for n, name in enumerate(names)]
    found += [Host("DC01", f"{net}.1.10", "dc")]
    found += [Host(name, f"{net}.1.{20 + n}", "server") for n, name in enumerate(("FS01", "SQL01", "APP01"))]
    found += [Host("web01", f"{net}.2.10", "web")]
    found += [Host(name, f"{net}.2.{20 + n}", "linux") for n, name in enumerate(("db01", "git01", "build01", "mon01"))]
    found += [Host("mail01", f"{net}.2.30", "mail"), Host("vpn01", f"{net}.2.31", "vpn")]
    return {host.name: host for host in found}


def _users(rng: random.Random, hosts: Sequence[str]) -> dict[str, User]:
    style = rng.choice(["{0}.{1}", "{2}{1}"])
    authority = "-".join(str(rng.randrange(10**8, 4 * 10**9)) for _ in range(3))
    pairs = invented.people(rng, 2 * len(hosts) + 20)
    names = list(dict.fromkeys(style.format(first, last, first[0]) for first, last in pairs))
    users = {}
    for number, (name, host) in enumerate(zip(names, hosts, strict=False)):
        role = "it" if number % 6 == 0 else "developer" if number % 6 == 1 else "office"
        users[name] = User(name, role, f"S-1-5-21-{authority}-{1104 + number}", host)
    return users


def _internet(rng: random.Random, company: str) -> tuple[tuple[str, ...], dict[str, str]]:
    domains: dict[str, str] = {}
    for word in invented.words(rng, DOMAINS):
        for service in rng.sample(pools.SERVICES, rng.choice([1, 1, 2, 3])):
            domains[f"{service}.{word}.example"] = _address(rng)
    return tuple(domains)[:DOMAINS], dict(domains)


def _address(rng: random.Random) -> str:
    network = rng.choice(rng.choice([pools.NETWORKS, pools.BENCHMARK_NETWORKS, pools.BENCHMARK_NETWORKS]))
    return f"{network}.{rng.randrange(1, 255)}"


def _boot(rng: random.Random, host: str, image: str, user: str) -> Process:
    system = user == "SYSTEM"
    pid = 4 if image == "System" else 4 * rng.randrange(120, 1900)
    logon = "0x3e7" if system else f"0x{rng.randrange(0x20000, 0x9FFFF):x}"
    integrity = "System" if system else "Medium"
    return Process(host, pid, guid(rng, host, pid), image, image, user, integrity, logon)


def guid(rng: random.Random, host: str, pid: int) -> str:
    """A Sysmon process GUID: the machine's part, then what varies."""
    machine = stream("machine", host).getrandbits(32)
    low = rng.getrandbits(32)
    return f"{{{machine:08x}-{low & 0xFFFF:04x}-{low >> 16:04x}-{pid & 0xFFFF:04x}-{rng.getrandbits(16):012x}}}"
