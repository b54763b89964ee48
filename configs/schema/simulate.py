"""Configuration of the simulator: how much telemetry, of what span and company, with how many attacks."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field, field_validator, model_validator

from logfm.configs.base import Config

EVENTS_PER_ATTACK = 200
EVENTS_PER_HOST = 15


class SimulateConfig(Config):
    """Telemetry of a company, with labelled attacks. The same configuration gives the same bytes."""

    seed: int = Field(default=0, ge=0)
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
        if not 1990 <= moment.year <= 2100:
            raise ValueError("start lies outside 1990 to 2100")
        return moment.astimezone(UTC)

    @model_validator(mode="after")
    def _room(self) -> "SimulateConfig":
        if self.attacks * EVENTS_PER_ATTACK > self.events:
            raise ValueError(f"{self.attacks} attacks need at least {self.attacks * EVENTS_PER_ATTACK} events")
        if self.hosts * EVENTS_PER_HOST > self.events:
            raise ValueError(f"{self.hosts} hosts need at least {self.hosts * EVENTS_PER_HOST} events")
        return self
