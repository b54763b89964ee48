"""Configuration of a decoder head's cases: where labelled events lie, how they are cut, written, masked and split."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from logfm.configs.base import Config

Level = Literal["informational", "low", "medium", "high", "critical"]
Task = Literal["chunks", "techniques", "text", "triage"]


def _compiles(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"no regular expression: {pattern} ({error})") from None
    return patterns


def _listed(given: object) -> object:
    return (given,) if isinstance(given, str) else given


class SigmaConfig(Config):
    """Sigma rules as weak labels of single events, where a capture has one label for all of them."""

    rules: Path
    """Folder or zip of rules."""

    level: Level = "medium"
    """An event is suspicious where a rule of this level or above fired on it."""

    techniques: bool = False
    """Whether a chunk's techniques are those of the rules that fired on it; by default they are the capture's."""


class _Source(Config):
    """What all data sets have in common."""

    name: str
    """What the data set is called in cases and reports."""

    input: tuple[str, ...] = Field(min_length=1)
    """INPUT: files, folders, globs, a corpus."""

    group_attack: int = Field(default=40, ge=0)
    """Cases with something suspicious that a session or file gives at most, drawn by seed."""

    group_normal: int = Field(default=10, ge=0)
    """Normal cases that a session or file gives at most, drawn by seed."""

    hide: tuple[str, ...] = ()
    """Regular expressions of what gives the label away in the text, beside `writing.hide`."""

    without: tuple[str, ...] = ()
    """Sources of events (`tshark`) that are left out before events become chunks."""

    _several = field_validator("input", mode="before")(_listed)
    _patterns = field_validator("hide")(_compiles)


class EventsSource(_Source):
    """Events that carry labels themselves (`label`, `techniques`), or have them in a table beside."""

    kind: Literal["events"] = "events"

    dataset: str | None = None
    """Data set of the catalogue (`logfm corpus catalog`) whose layout says the labels; `input` is its one folder."""

    labels: Path | None = None
    """Table of labels, Parquet or CSV: `event_id` or (`file`, `offset`), and label, techniques."""

    group: tuple[str, ...] = ("session_id",)
    """Columns of an event that name its group, the first that has a value; else it is the file."""

    _columns = field_validator("group", mode="before")(_listed)


class SimulatedSource(_Source):
    """Sessions that `logfm simulate --sessions` wrote; `input` is its one folder. The truth labels every event."""

    kind: Literal["simulated"] = "simulated"

    by: tuple[str, ...] = ()
    """Columns whose values the events of a chunk share; by default a session is one time line over all its hosts."""

    skip: tuple[str, ...] = ()
    """Names of files of a session that are not read (`packets.json`, `web_*.json`)."""

    test_scenarios: tuple[str, ...] = ()
    """Attacks that only test has: their sessions are test, and test sessions with another attack are left out. Without
    it train and test show the same attacks, by other users on other hosts."""

    test_normal: int | None = Field(default=None, ge=0)
    """Normal cases that a test session gives at most, where that is not `group_normal`: with all of them attacks are as
    rare as they are in the sessions."""

    _columns = field_validator("by", "skip", "test_scenarios", mode="before")(_listed)


class CapturesSource(_Source):
    """Files that are labelled as a whole, in a CSV beside them."""

    kind: Literal["captures"] = "captures"

    labels: Path
    """The CSV, a row a file."""

    file: tuple[str, ...] = ("file",)
    """Columns whose values, joined with `/`, end the path of the row's file (`!` in it counts as `/`)."""

    extension: str | None = None
    """Only files with this ending are read (`.evtx`), where events are there twice."""

    techniques: tuple[str, ...] = ("techniques",)
    """Columns of technique ids, the first that has any."""

    reason: tuple[str, ...] = ("title",)
    """Columns that say what the file shows, the first that has a value."""

    tactics: str | None = None
    """Column of tactics, ids or names."""

    severity: str | None = None
    """Column of a severity."""

    group: tuple[str, ...] = ()
    """Columns that name the row's group together; where they are empty, and by default, it is the file."""

    drop: tuple[str, ...] = ()
    """Fields that are taken out of every event, as they give the label away (`RuleName`)."""

    events: int = Field(default=60_000, ge=1)
    """Events of a group that are read; further ones are left out and counted (events)."""

    sigma: SigmaConfig | None = None
    """Tells suspicious events from others; without it all events of a labelled file are suspicious."""

    _columns = field_validator("file", "techniques", "reason", "group", mode="before")(_listed)


class RowsSource(_Source):
    """A table with one case a row: JSON lines (also .gz) or CSV."""

    kind: Literal["rows"] = "rows"

    text: str = "text"
    """Column of the sentence, the raw line or the record."""

    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Only rows are taken whose column has one of these values, as text (`{kind: [rule]}`)."""

    techniques: tuple[str, ...] = ("techniques",)
    """Columns of technique ids, the first that has any; a tactic may stand before each (`TA0001:T1566`)."""

    reason: tuple[str, ...] = ()
    """Columns that say why, the first that has a value."""

    severity: str | None = None
    """Column of the severity."""

    alert: str | None = None
    """Column that says whether the row is an alert at all; others are taken as benign or left out (`benign`)."""

    product: str | None = None
    """Column of the product that wrote the entry."""

    group: tuple[str, ...] = Field(min_length=1)
    """Columns that name the row's group: rule, document."""

    drop: tuple[str, ...] = ()
    """Fields that are taken out of the record, at any depth."""

    _columns = field_validator("techniques", "reason", "group", mode="before")(_listed)


CaseSource = Annotated[EventsSource | SimulatedSource | CapturesSource | RowsSource, Field(discriminator="kind")]


class AttackConfig(Config):
    """The ATT&CK release that labels are held against."""

    path: Path | None = None
    """Folder with techniques.jsonl.gz and revoked_by.jsonl.gz; by default what ships (`finetune/attack`, v18.1)."""

    release: str = "18.1"
    """Which release that is; it is written into what is trained. Another one than what ships needs a path."""

    sha256: str | None = None
    """Hash that techniques.jsonl.gz, or what ships, must have: pins the release."""

    unknown: Literal["drop", "keep", "refuse"] = "drop"
    """What happens to ids that the release doesn't have: they are left out and counted, kept, or an error."""

    level: Literal["technique", "parent"] = "technique"
    """Whether sub-techniques are labels of their own, or their technique is."""


class ChunkConfig(Config):
    """How a group's events become chunks."""

    events: int = Field(default=7, ge=1)
    """Consecutive events of a chunk; triage and text look at one."""

    least: int = Field(default=1, ge=1)
    """A last chunk with fewer events is left out, and counted."""

    by: tuple[str, ...] = ("host",)
    """Columns of an event whose values the events of a chunk share; simulated sessions have a `by` of their own."""

    _columns = field_validator("by", mode="before")(_listed)


class WritingConfig(Config):
    """How events are written for the model."""

    fields: tuple[str, ...] = (
        "finetune/fields/windows",
        "finetune/fields/cloudtrail",
        "finetune/fields/zeek",
        "finetune/fields/auditd",
        "finetune/fields/network",
        "finetune/fields/firewall",
        "finetune/fields/web",
        "finetune/fields/syslog",
        "finetune/fields/browser",
        "finetune/fields/generic",
    )
    """Field selections, YAML files or recipes that ship: the first that matches an event writes it."""

    tokens: int = Field(default=700, ge=16)
    """The longest text of a case; longer events are cut and what is cut is counted (tokens of the model)."""

    identity: Literal["masked", "varied", "kept"] = "masked"
    """Hosts, users and addresses: HOST1, USER1, IP1, ... within a case; or plausible others, drawn by seed; or as they
    are."""

    times: Literal["relative", "none"] = "relative"
    """Seconds since the event before, or nothing."""

    hide: tuple[str, ...] = (
        r"(?<![A-Za-z0-9])T1\d{3}(?:[._]\d{3})?(?!\d)",
        r"stratus[-_ ]?red[-_ ]?team[\w-]*",
        r"atomic[-_ ]?red[-_ ]?team",
        r"attack[-_ ]?range\w*",
        r"mordor\w*",
        r"purple[-_ ]?sharp",
    )
    """Regular expressions of what gives the label away in the text, as technique ids and the names of the tools that
    public data sets were made with do: it becomes X."""

    repeats: bool = True
    """Whether events that are written alike, one after another, are written once with their number."""

    _patterns = field_validator("hide")(_compiles)


class LimitConfig(Config):
    """How many cases there are."""

    techniques: int | None = Field(default=None, ge=1)
    """Cases with more techniques than this are left out and counted: a campaign's whole list says little of a chunk."""

    cases: int | None = Field(default=None, ge=1)
    """Cases at most, drawn by seed."""

    least_groups: int = Field(default=1, ge=1)
    """Techniques that fewer groups have are taken out of the cases, and counted."""


class CasesConfig(Config):
    """The cases of one task."""

    task: Task

    sources: tuple[CaseSource, ...] = Field(min_length=1)
    """The data sets."""

    attack: AttackConfig = AttackConfig()
    chunk: ChunkConfig = ChunkConfig()
    writing: WritingConfig = WritingConfig()
    limits: LimitConfig = LimitConfig()

    threats: str = "finetune/threats"
    """Triage: YAML of what tactic is which threat class, and how severities are called."""

    benign: bool = False
    """Triage: whether entries that are no alert are cases too, of the threat class benign."""

    validation: float = Field(default=0.15, gt=0, lt=1)
    """Share of the groups that are not in test, for validation."""

    given_split: bool = False
    """Whether test is what the data set says (simulated sessions: their users and hosts occur in no other session),
    instead of a fold."""

    @model_validator(mode="after")
    def _sources_are_named(self) -> "CasesConfig":
        names = [one.name for one in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources have the same name")
        return self
