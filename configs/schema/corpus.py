"""Configuration of the corpus stage: limits against hostile input, the reading of clocks, shards and views."""

from typing import Literal

from pydantic import Field, field_validator

from logfm.configs import Config

MIB = 1 << 20


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

    dedup: tuple[Literal["exact"], ...] = ("exact",)
    """Views to make beside the full stream; "exact" keeps the first of equal texts."""

    shard_bytes: int = Field(default=64 * MIB, ge=1024)
    """Text a shard holds before the next one begins, and the size of one piece of work (bytes)."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name!r}") from None
        return name
