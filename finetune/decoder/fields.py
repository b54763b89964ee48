"""Which fields of an event are written, in which order, how shortened: read from YAML, the first that fits an event."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator

from logfm.configs.base import Config, find, parse, read_yaml
from logfm.errors import UserError


class FieldSpec(Config):
    """How one field is written."""

    name: str = ""
    """What it is called for the model; nothing writes the value alone."""

    cut: Literal["all", "file"] = "all"
    """The whole value, or the last part of a path."""

    most: int = Field(default=160, ge=4)
    """A longer value keeps its beginning and its end (characters)."""

    hidden: tuple[str, ...] = ()
    """Values that say nothing and are not written."""

    unless: str | None = None
    """It is not written where this field is."""

    again: bool = True
    """Whether a value is written that another field of the event has already."""


class MatchSpec(Config):
    """Which events a selection is for: all of what is given must hold."""

    sources: tuple[str, ...] = ()
    """Values of an event's source."""

    log_types: tuple[str, ...] = ()
    """Values of its log_type."""

    keys: tuple[str, ...] = ()
    """Keys that the record has."""


class FieldsSpec(Config):
    """How the events of one format are written."""

    match: MatchSpec = MatchSpec()

    shape: Literal["windows", "keys", "flat", "line"] = "flat"
    """windows: fields of Windows events, whatever the collector; keys: those named, `a.b` for b inside a; flat: all
    plain values, in the record's order; line: the text as it is."""

    title: tuple[str, ...] = ()
    """Fields whose values stand first; windows puts channel and event id there. `@process`, `@log_type` and `@source`
    are the event's columns, here and in `fields`."""

    names: dict[str, str] = Field(default_factory=dict)
    """What a title is called instead."""

    fields: dict[str, FieldSpec] = Field(default_factory=dict)
    """The fields, in the order in which they are written."""

    skip: tuple[str, ...] = ()
    """Regular expressions of keys that say nothing, where not all fields are named."""

    ids: tuple[str, ...] = ()
    """Regular expressions of keys of ids: only values that are a path (`.../networkWatchers/x`) are written."""

    users: str | None = None
    """Regular expression of keys whose values name users: they are masked wherever they stand."""

    hosts: str | None = None
    """The same for hosts."""

    shorten: dict[str, str] = Field(default_factory=dict)
    """Regular expressions in values and what stands instead."""

    most: int = Field(default=160, ge=4)
    """The longest value of a field that isn't named (characters)."""

    line: int = Field(default=400, ge=4)
    """The longest text of an event without fields (characters)."""

    @field_validator("fields", mode="before")
    @classmethod
    def _short_form(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: {"name": spec} if isinstance(spec, str) else spec for name, spec in given.items()}

    @field_validator("skip", "ids", "shorten", "users", "hosts")
    @classmethod
    def _compile(cls, given: Any) -> Any:
        for pattern in [given] if isinstance(given, str) else given or ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"no regular expression: {pattern} ({error})") from None
        return given

    @cached_property
    def called(self) -> dict[str, str]:
        """What `names` says, whatever the case: collectors write `Security` and `security`."""
        return {name.casefold(): instead for name, instead in self.names.items()}

    @cached_property
    def skipped(self) -> re.Pattern[str] | None:
        """What `skip` says, as one expression."""
        return re.compile("|".join(self.skip), re.IGNORECASE) if self.skip else None

    @cached_property
    def identifying(self) -> re.Pattern[str] | None:
        """What `ids` says, as one expression."""
        return re.compile("|".join(self.ids)) if self.ids else None

    @cached_property
    def shortened(self) -> list[tuple[re.Pattern[str], str]]:
        """What `shorten` says."""
        return [(re.compile(pattern, re.IGNORECASE), instead) for pattern, instead in self.shorten.items()]

    @cached_property
    def named(self) -> tuple[re.Pattern[str] | None, re.Pattern[str] | None]:
        """What `hosts` and `users` say."""
        hosts, users = (None if one is None else re.compile(one, re.IGNORECASE) for one in (self.hosts, self.users))
        return hosts, users

    def fits(self, source: str, log_type: str | None, record: dict[str, Any]) -> bool:
        """Whether this selection is for an event."""
        sources, types, keys = self.match.sources, self.match.log_types, self.match.keys
        return (
            (not sources or source in sources)
            and (not types or log_type in types)
            and all(key in record for key in keys)
        )


def load_fields(names: Sequence[str]) -> list[FieldsSpec]:
    """The field selections of that name, in order.

    Raises:
        UserError: no such file, or one that is no field selection; or the last one doesn't fit every event.
    """
    found = [parse(FieldsSpec, read_yaml(path), path) for path in map(find, names)]
    if not found or found[-1].match != MatchSpec():
        raise UserError("the last field selection must fit every event", fix="End with finetune/fields/generic.")
    return found
