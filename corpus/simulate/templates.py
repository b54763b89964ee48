"""Behaviour as data: event templates in YAML, for attack scenarios and for the benign routines of a company.

A template's texts hold `{placeholders}`. The cast of an activity (who, where, from which address) is drawn from the
company; `values` and `encoded` of the file add choices of its own. Both classes are written with the same templates,
so that nothing but behaviour tells them apart.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from logfm.corpus.simulate.preconditions import check_steps, check_variant
from logfm.corpus.simulate.values import EVENT_VALUES, IDENTITIES
from logfm.errors import UserError

HERE = Path(__file__).parent
PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
Range = tuple[float, float]
Count = tuple[int, int]
Technique = Annotated[str, Field(pattern=r"^T\d{4}(\.\d{3})?$")]


class Template(BaseModel):
    """Base of what is read from YAML: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Event(Template):
    after: Range = (0.05, 2.0)
    """Seconds after the previous event."""
    repeat: Count = (1, 1)
    """How often it happens."""
    chance: float = Field(1.0, gt=0, le=1)
    """Whether it happens at all."""
    technique: tuple[Technique, ...] = ()
    """What an attack's event shows of its step's techniques; all of them by default."""


class ProcessEvent(_Event):
    """A process starts on a Windows host (Sysmon 1, and 5 when it ends; Security 4688 on servers)."""

    event: Literal["process"]
    image: str
    command: str
    host: str = "{host}"
    user: str = "{user}"
    parent: str = "explorer"
    """The `name` of an earlier process, or a process of the system."""
    name: str | None = None
    integrity: Literal["Low", "Medium", "High", "System"] = "Medium"
    seconds: Range = (0.2, 40.0)
    """How long it runs."""


class NetworkEvent(_Event):
    """A process connects (Sysmon 3); a domain is looked up first (Sysmon 22 and the name server's log)."""

    event: Literal["network"]
    by: str
    to: str
    """A domain, a host's name or an address."""
    port: int = 443
    host: str = "{host}"
    sent: Count = (300, 6_000)
    """Bytes sent, as the packets show."""
    received: Count = (600, 30_000)
    """Bytes received."""


class FileEvent(_Event):
    """A process writes a file (Sysmon 11)."""

    event: Literal["file"]
    by: str
    path: str
    host: str = "{host}"


class RegistryEvent(_Event):
    """A process sets a registry value (Sysmon 13)."""

    event: Literal["registry"]
    by: str
    key: str
    value: str
    host: str = "{host}"


class AccessEvent(_Event):
    """A process opens another one (Sysmon 10)."""

    event: Literal["access"]
    by: str
    target: str
    mask: str
    host: str = "{host}"


class LogonEvent(_Event):
    """Someone logs on at a Windows host (Security 4624, and the domain controller's 4769), or fails to (4625)."""

    event: Literal["logon"]
    host: str = "{host}"
    user: str = "{user}"
    type: Literal[2, 3, 5, 7, 10] = 2
    source: str = "-"
    """The host or address it comes from."""
    failed: bool = False
    ntlm: bool = False
    """By NTLM: without a ticket."""


class WindowsEvent(_Event):
    """Any other record of a Windows channel."""

    event: Literal["windows"]
    id: int
    channel: str = "Security"
    provider: str = "Microsoft-Windows-Security-Auditing"
    host: str = "{host}"
    by: str | None = None
    """The process that does it, where it is an event of Sysmon about one."""
    target: str | None = None
    """The process that it does it to."""
    data: dict[str, str]


class AuthEvent(_Event):
    """A line of a Linux server's authentication log."""

    event: Literal["auth"]
    program: str
    message: str
    host: str = "{linux}"
    pid: str | None = None
    """Lines of the same name share a process id."""


class WebEvent(_Event):
    """A request to one of the company's sites."""

    event: Literal["web"]
    path: str
    client: str = "{visitor}"
    method: str = "GET"
    status: tuple[int, ...] = (200,)
    size: Count = (200, 40_000)
    """Bytes sent."""
    agent: str = "{agent}"
    referrer: str = "-"
    user: str = "-"


class DnsEvent(_Event):
    """A query to the company's name server."""

    event: Literal["dns"]
    query: str
    client: str = "{host}"
    type: Literal["A", "AAAA", "TXT", "PTR", "SRV", "MX", "HTTPS"] = "A"
    rcode: Literal["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"] = "NOERROR"
    answer: str | None = None


class BrowseEvent(_Event):
    """Someone looks at a page: the browser's tab (ActivityWatch), its connection, and what the network sees."""

    event: Literal["browse"]
    url: str
    title: str
    host: str = "{host}"
    seconds: Range = (2.0, 90.0)
    """How long the page is looked at."""
    sent: Count = (500, 8_000)
    received: Count = (2_000, 60_000)


class FocusEvent(_Event):
    """A window comes to the front (ActivityWatch)."""

    event: Literal["focus"]
    app: str
    title: str
    host: str = "{host}"
    seconds: Range = (2.0, 240.0)


class TrafficEvent(_Event):
    """Packets between two machines, and the firewall's line where they leave or enter the company."""

    event: Literal["traffic"]
    to: str
    """A domain, a host's name or an address."""
    client: str = "{host}"
    """A host's name or an address."""
    port: int = 443
    client_port: str = ""
    """The client's port; any by default."""
    protocol: Literal["tcp", "udp", "icmp"] = "tcp"
    sent: Count = (300, 6_000)
    received: Count = (600, 30_000)
    blocked: bool = False
    """The firewall drops it; there is no answer."""


class LogEvent(_Event):
    """A record of a source that is described in `sources/`, such as `mail.received`."""

    event: Literal["log"]
    record: str
    data: dict[str, str] = {}

    @model_validator(mode="after")
    def _check_record(self) -> "LogEvent":
        from logfm.corpus.simulate.sources_of import check_record

        check_record(self.record, self.data)
        return self


AnyEvent = Annotated[
    ProcessEvent | NetworkEvent | FileEvent | RegistryEvent | AccessEvent | LogonEvent | WindowsEvent | AuthEvent
    | WebEvent | DnsEvent | BrowseEvent | FocusEvent | TrafficEvent | LogEvent,
    Field(discriminator="event"),
]  # fmt: skip
OnlyWide = (BrowseEvent, FocusEvent, TrafficEvent, LogEvent)
"""Events that only sources of `--sessions` show."""


class _Behaviour(Template):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    clock: Literal["work", "always", "night"] = "always"
    """When it begins: mostly in working hours, evenly, or in the small hours."""
    values: dict[str, tuple[str, ...]] = {}
    """Choices; one is drawn for each activity, in the order of the file."""
    encoded: dict[str, str] = {}
    """Texts that become Base64 of UTF-16, as PowerShell takes commands."""

    def events(self) -> Iterator[_Event]:
        """Every event template."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _check_placeholders(self) -> "_Behaviour":
        known = {*IDENTITIES, *EVENT_VALUES, *self.values, *self.encoded}
        texts = [*self.encoded.values(), *(text for choices in self.values.values() for text in choices)]
        texts += [text for event in self.events() for text in texts_of(event.model_dump())]
        for text in texts:
            for name in PLACEHOLDER.findall(text):
                if name not in known:
                    raise ValueError(f"unknown placeholder {{{name}}}")
        return self


class Step(Template):
    """One step of an attack: what it is in ATT&CK, and the ways it can be done."""

    name: str
    technique: tuple[Technique, ...] = Field(min_length=1)
    tactic: str = Field(pattern=r"^[a-z]+(-[a-z]+)*$")
    after: Range = (1.0, 10.0)
    """Minutes after the previous step."""
    needs: tuple[str, ...] = ()
    """Earlier steps that must have taken place; without them this one doesn't."""
    chance: float = Field(1.0, gt=0, le=1)
    """Whether it takes place at all."""
    variants: tuple[tuple[AnyEvent, ...], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_techniques(self) -> "Step":
        shown = [event.technique or self.technique for variant in self.variants for event in variant]
        if other := {name for names in shown for name in names} - {*self.technique}:
            raise ValueError(f"{self.name} has no technique {', '.join(sorted(other))}")
        if unseen := {*self.technique} - {name for names in shown for name in names}:
            raise ValueError(f"no event of {self.name} shows {', '.join(sorted(unseen))}")
        return self


class Scenario(_Behaviour):
    """An attack of several steps."""

    title: str
    steps: tuple[Step, ...] = Field(min_length=2)

    def events(self) -> Iterator[_Event]:
        """Every event template of every variant."""
        return (event for step in self.steps for variant in step.variants for event in variant)

    @model_validator(mode="after")
    def _check_steps(self) -> "Scenario":
        check_steps(self.steps)
        return self


class Routine(_Behaviour):
    """Something that people or machines of the company do, or that the internet does to it."""

    source: Literal["windows", "linux", "web", "dns", "network", "browser", "mail", "cloud", "vpn"]
    """The source that it is counted for."""
    weight: float = Field(1.0, gt=0)
    """How often, relative to the others of its source."""
    role: Literal["any", "it", "developer", "office"] = "any"
    """Whose routine it is."""
    cover: bool = False
    """Whether it is also played with the cast of each attack, so that no name or address occurs in attacks only."""
    first: bool = False
    """Whether each session holds it, with the session's own cast: what an attack may name is in both kinds. Without
    `cover` only as far as its hour is one for it."""
    everyone: bool = False
    """Whether each user does it at least once."""
    alike: bool = False
    """Whether it has the shape of an attack's step: it then waits as the attack of its session would."""
    since: float = Field(0.0, ge=0, lt=1)
    """The part of the span that has passed when it first occurs: new software, where drift is asked for."""
    until: float = Field(2.0, gt=0)
    """The part of the span that has passed when it no longer occurs: software that goes."""
    there: tuple[ProcessEvent, ...] = ()
    """Processes that run when it begins, each with a name: no record shows how they began."""
    variants: tuple[tuple[AnyEvent, ...], ...] = Field(min_length=1)

    def events(self) -> Iterator[_Event]:
        """Every event template of every variant, and what is there before."""
        yield from self.there
        yield from (event for variant in self.variants for event in variant)

    @model_validator(mode="after")
    def _check_processes(self) -> "Routine":
        if any(event.technique for event in self.events()):
            raise ValueError("a routine shows no technique")
        there = check_variant(self.there, {})
        if len(there) < len(self.there):
            raise ValueError("each process that is there needs a name of its own")
        for variant in self.variants:
            check_variant(variant, there)
        return self


class _Routines(Template):
    routines: tuple[Routine, ...]


BehaviourT = TypeVar("BehaviourT", bound=Template)


def tactic_of(techniques: Sequence[str], usual: str) -> str:
    """The tactic of what has these techniques: the usual one if it serves it, else the first that one of them has."""
    served = [tactic for name in techniques for tactic in _tactics().get(name, ())]
    return usual if usual in served or not served else served[0]


@cache
def _tactics() -> dict[str, tuple[str, ...]]:
    known = yaml.safe_load((HERE / "attack.yaml").read_text(encoding="utf-8"))
    return {name: tuple(one["tactics"]) for name, one in known.items()}


def load_scenarios(
    names: Sequence[str] | None = None, folder: Path = HERE / "scenarios", *, wide: bool = False
) -> list[Scenario]:
    """Attack scenarios by name, in the order of `names`; all by default. `wide`: also those of `--sessions`.

    Raises:
        UserError: no scenario has that name, or a file is wrong.
    """
    known = {scenario.name: scenario for scenario in _scenarios(folder)}
    if wide:
        known |= {scenario.name: scenario for scenario in _scenarios(folder / "wide")}
    for name in names or ():
        if name not in known:
            more = "" if wide else " The others need --sessions."
            raise UserError("unknown scenario", name, f"Known: {', '.join(known)}.{more}")
    return [known[name] for name in (names or known)]


@cache
def load_routines(folder: Path = HERE / "routines") -> list[Routine]:
    """The benign routines of a folder; those of `routines/wide` leave records in the sources of `--sessions`.

    Raises:
        UserError: a file is wrong.
    """
    return [routine for path in sorted(folder.glob("*.yaml")) for routine in _read(_Routines, path).routines]


@cache
def _scenarios(folder: Path) -> list[Scenario]:
    return [_read(Scenario, path) for path in sorted(folder.glob("*.yaml"))]


def _read(kind: type[BehaviourT], path: Path) -> BehaviourT:
    try:
        return kind.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        # A misspelt key is also a missing one; the misspelling says more.
        first = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{place}: {first['msg']}", path) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError("cannot read the scenario", path, " ".join(str(error).split())[:200]) from error


def texts_of(document: Any) -> Iterator[str]:
    """The texts of a document and of what it maps to."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from texts_of(value)
