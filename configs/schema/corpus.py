"""Configuration of the corpus stage: limits against hostile input, the reading of clocks, shards and views."""

from typing import Literal

from pydantic import Field, field_validator

from logfm.configs import Config
from logfm.configs.schema.anonymize import AnonymizeConfig

MIB = 1 << 20


class NearConfig(Config):
    """What counts as a near-duplicate, and how candidates are found."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of two events' shingle sets from which the later one is left out of the view."""

    shingle: int = Field(default=5, ge=1, le=64)
    """Consecutive words a shingle has."""

    permutations: int = Field(default=128, ge=8, le=1024)
    """MinHash values an event; more find more pairs, at more time and disk."""

    recall: float = Field(default=0.98, gt=0, lt=1)
    """Probability to find a pair that lies exactly at the threshold; pairs above it are found more often."""


class CorpusConfig(Config):
    """How raw files become a corpus. The same configuration on the same bytes gives the same corpus."""

    max_record_bytes: int = Field(default=MIB, ge=256)
    """A longer line or JSON document is rejected without being held in memory (bytes)."""

    max_unpacked_bytes: int = Field(default=256 << 30, ge=1)
    """What one input file may unpack to, over all layers and members, before the rest is rejected (bytes)."""

    max_ratio: int = Field(default=500, ge=1)
    """Unpacked bytes per packed byte beyond which an archive is a bomb; see `ratio_grace_bytes`."""

    ratio_grace_bytes: int = Field(default=64 * MIB, ge=0)
    """What may unpack before `max_ratio` is looked at: short files of repeated lines are harmless (bytes)."""

    max_nesting: int = Field(default=2, ge=1)
    """Archives within archives: 2 reads an archive inside an archive (layers; `.tar.gz` is one)."""

    timezone: str = "UTC"
    """IANA zone of timestamps that carry none."""

    year: int | None = Field(default=None, ge=1970, le=9999)
    """Year of timestamps that carry none (BSD syslog); by default that of the file's modification time."""

    licences: tuple[str, ...] = ()
    """Licences of the data; they travel with every artifact made from it."""

    dataset: str | None = None
    """Public data set of the catalogue whose downloaded copy the one input is; its labels go into the events."""

    sessions: float | None = Field(default=None, gt=0, le=1e9)
    """Pause after which what a host, process and user log is another session (seconds); null makes no sessions."""

    dedup: tuple[Literal["exact", "near"], ...] = ("exact",)
    """Views to make beside the full stream: "exact" keeps the first of equal texts, "near" (which needs "exact") of
    those the first of near-duplicates, over all sources together."""

    near: NearConfig = NearConfig()
    """Near-duplicates; read only where `dedup` has "near"."""

    anonymize: AnonymizeConfig = AnonymizeConfig()
    """How identifiers become pseudonyms; read only where a key is given."""

    shard_bytes: int = Field(default=64 * MIB, ge=1024)
    """Text a shard holds before the next one begins, and the size of one piece of work (bytes)."""

    @field_validator("dedup")
    @classmethod
    def _near_needs_exact(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        if "near" in views and "exact" not in views:
            raise ValueError('"near" is made from "exact": name both')
        return views

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name!r}") from None
        return name


class SetsConfig(Config):
    """Sessions of a corpus as a foundation or a defense set, split without leaks."""

    kind: Literal["foundation", "defense"] = "foundation"
    """"foundation" keeps every session; "defense" draws labelled ones to a share of attacks."""

    prevalence: float = Field(default=0.35, gt=0, lt=1)
    """Share of attack sessions in each split of a defense set."""

    split: Literal["time", "host", "scenario"] = "time"
    """What train, validation and test must not share."""

    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of sessions for train, validation and test."""

    seed: int = Field(default=0, ge=0)
    """Seed of the draw."""

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("three shares above zero that sum to 1")
        return shares
