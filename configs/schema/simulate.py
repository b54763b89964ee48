"""Configuration of the simulator: one span of a company's telemetry, or a set of sessions, with how many attacks."""

import math
from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, field_validator, model_validator

from logfm.configs.base import Config

EVENTS_PER_ATTACK = 200
EVENTS_PER_MINUTE = 132
LEAST_EVENTS = 200
EVENTS_PER_HOST = 15
USUAL_ATTACKS, USUAL_PREVALENCE = 70, 0.08


class SimulateConfig(Config):
    """Telemetry of a company, with labelled attacks. The same configuration gives the same bytes."""

    seed: int = Field(default=0, ge=0, lt=1 << 63)
    """Seed of everything that varies."""

    events: int = Field(default=20_000, ge=EVENTS_PER_ATTACK, le=5_000_000)
    """Events to make, over all sources (about; attack events included)."""

    attacks: int = Field(default=1, ge=0, le=10_000)
    """Attack runs; the scenarios take turns. At most one in 200 events."""

    scenarios: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the scenarios to take; all by default."""

    start: AwareDatetime = datetime(2025, 3, 3, tzinfo=UTC)
    """The first moment; the company's clocks show UTC."""

    hours: float = Field(default=24.0, ge=1.0, le=24.0 * 180)
    """The time that the telemetry spans (hours); below a year, because BSD syslog times carry none."""

    hosts: int = Field(default=12, ge=4, le=200)
    """Windows workstations, each with its user; servers are added."""

    @field_validator("start")
    @classmethod
    def _utc(cls, moment: datetime) -> datetime:
        return _in_utc(moment)

    @model_validator(mode="after")
    def _room(self) -> "SimulateConfig":
        if self.attacks * EVENTS_PER_ATTACK > self.events:
            raise ValueError(f"{self.attacks} attacks need at least {self.attacks * EVENTS_PER_ATTACK} events")
        if self.hosts * EVENTS_PER_HOST > self.events:
            raise ValueError(f"{self.hosts} hosts need at least {self.hosts * EVENTS_PER_HOST} events")
        return self


class SessionsConfig(Config):
    """Sessions of a company's users, each with every source of its minutes. The same configuration, the same bytes."""

    seed: int = Field(default=0, ge=0, lt=1 << 63)
    """Seed of everything that varies, the company included."""

    sessions: int = Field(default=870, ge=1, le=100_000)
    """Sessions to make."""

    attacks: int | None = Field(default=None, ge=0)
    """Sessions that hold an attack; the scenarios take turns. By default 8 % of them, at most 70."""

    prevalence: float | None = Field(default=None, ge=0, le=1)
    """The part of the sessions that holds an attack; takes the place of `attacks`."""

    minutes: float = Field(default=20.0, ge=1.0, le=24 * 60)
    """How long a session is (minutes); the median where `spread` is given."""

    spread: float = Field(default=0.0, ge=0, le=2)
    """Standard deviation of the logarithm of the sessions' lengths; 0 makes all of one length."""

    events: int | None = Field(default=None, ge=LEAST_EVENTS, le=1_000_000)
    """Events of a session of `minutes` (mean, about), 132 a minute by default; those of an attack are among them."""

    scenarios: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the scenarios to take; all by default."""

    holdout_techniques: tuple[str, ...] = ()
    """Techniques that occur only in sessions of the split `test`; an id stands for its sub-techniques too."""

    test_share: float = Field(default=0.2, ge=0, le=0.9)
    """The part of the sessions that is the split `test`; its users and workstations occur in no other session."""

    drift: float = Field(default=1.0, ge=0, le=1)
    """The part of the changes that take place over the days: software, versions, formats, people; 0 for none."""

    start: AwareDatetime = datetime(2025, 3, 3, tzinfo=UTC)
    """The first day; the company's clocks show UTC."""

    days: int = Field(default=28, ge=1, le=180)
    """Days over which the sessions are spread."""

    hosts: int = Field(default=40, ge=4, le=200)
    """Windows workstations, each with its user; servers are added."""

    @field_validator("start")
    @classmethod
    def _utc(cls, moment: datetime) -> datetime:
        return _in_utc(moment)

    @property
    def attack_sessions(self) -> int:
        """Sessions that hold an attack."""
        if self.prevalence is not None:
            return round(self.prevalence * self.sessions)
        few = min(USUAL_ATTACKS, math.ceil(USUAL_PREVALENCE * self.sessions))
        return few if self.attacks is None else self.attacks

    @property
    def session_events(self) -> int:
        """Events of a session of `minutes` (mean, about)."""
        return round(EVENTS_PER_MINUTE * self.minutes) if self.events is None else self.events

    @model_validator(mode="after")
    def _possible(self) -> "SessionsConfig":
        if self.attack_sessions > self.sessions:
            raise ValueError(f"{self.attacks} attacks need at least {self.attacks} sessions")
        if self.holdout_techniques and not (self.attack_sessions and round(self.test_share * self.sessions)):
            raise ValueError("holdout_techniques need attacks and sessions of the split test to occur in")
        return self


def _in_utc(moment: datetime) -> datetime:
    if not 1990 <= moment.year <= 2100:
        raise ValueError("start lies outside 1990 to 2100")
    return moment.astimezone(UTC)
