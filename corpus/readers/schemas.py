"""Which keys of a JSON object (or columns of a table) are time, host, user, process and type: by product."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from logfm.configs import Config
from logfm.configs.base import parse, read_yaml
from logfm.corpus.leaf import Columns, text_of
from logfm.corpus.times import Clock, parse_time

FOLDER = Path(__file__).parents[1] / "formats" / "json"
_TIME_NAME = re.compile(r"time|date|_ts$|created", re.IGNORECASE)
Getter = Callable[[Mapping[str, Any]], Any]


class JsonSchema(Config):
    """A product's JSON. Key lists are tried in order; `a.b` is a key with a dot or key b inside a."""

    name: str
    source: str | None = None
    order: int = 50
    """Schemas of lower order are tried first."""
    has: tuple[str, ...] = ()
    """Keys that an object of this product has, all of them."""
    where: dict[str, str] = Field(default_factory=dict)
    """Key -> regular expression that its value matches."""
    time: tuple[str, ...] = ()
    time_utc: tuple[str, ...] = ()
    """Keys of times that are UTC although they do not say so; tried before `time`."""
    host: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    process: tuple[str, ...] = ()
    log_type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Compiled:
    schema: JsonSchema
    has: tuple[Getter, ...]
    where: tuple[tuple[Getter, re.Pattern[str]], ...]
    time: tuple[Getter, ...]
    time_utc: tuple[Getter, ...]
    columns: tuple[tuple[str, tuple[Getter, ...]], ...]


@lru_cache(maxsize=1)
def schemas() -> tuple[_Compiled, ...]:
    """The schemas that ship, in the order in which they are tried; the last one fits everything."""
    found = [parse(JsonSchema, read_yaml(path), path) for path in sorted(FOLDER.glob("*.yaml"))]
    return tuple(_compile(schema) for schema in sorted(found, key=lambda one: one.order))


def map_record(record: Mapping[str, Any], clock: Clock) -> Columns:
    """Event columns of one parsed object: source, timestamp (UTC), host, user, process, log_type."""
    for one in schemas():
        if _fits(one, record):
            return _columns(one, record, clock)
    return {}


def schema_name(record: Mapping[str, Any]) -> str:
    """The name of the schema that fits an object."""
    return next((one.schema.name for one in schemas() if _fits(one, record)), "any")


def _fits(one: _Compiled, record: Mapping[str, Any]) -> bool:
    for get in one.has:
        if get(record) is None:
            return False
    for get, pattern in one.where:
        if not isinstance(value := get(record), str) or not pattern.search(value[:256]):
            return False
    return True


def _columns(one: _Compiled, record: Mapping[str, Any], clock: Clock) -> Columns:
    columns: Columns = {"source": one.schema.source}
    for name, getters in one.columns:
        for get in getters:
            if (value := text_of(get(record))) is not None:
                columns[name] = value
                break
    for get in one.time_utc:
        value = get(record)
        if value is not None and (moment := parse_time(value, Clock(UTC, clock.modified, clock.year))):
            columns["timestamp"] = moment
            return columns
    if not one.has and (moment := _date_and_time(record, clock)):
        columns["timestamp"] = moment
        return columns
    for get in one.time:
        value = get(record)
        if value is not None and (moment := parse_time(value, clock)):
            columns["timestamp"] = moment
            return columns
    if not one.has and (moment := _any_time(record, clock)):
        columns["timestamp"] = moment
    return columns


def _date_and_time(record: Mapping[str, Any], clock: Clock) -> datetime | None:
    """For objects of no known product: a date beside a time of day."""
    for date, time in (("date", "time"), ("Date", "Time")):
        day, hour = record.get(date), record.get(time)
        if isinstance(day, str | int) and isinstance(hour, str | int):
            moment = parse_time(f"{day} {hour}", clock)
            if moment is not None:
                return moment
    return None


def _any_time(record: Mapping[str, Any], clock: Clock) -> datetime | None:
    """For objects of no known product: the first value whose name speaks of time."""
    for key in islice(record, 64):
        if _TIME_NAME.search(key) and (moment := parse_time(record[key], clock)):
            return moment
    return None


def _compile(schema: JsonSchema) -> _Compiled:
    return _Compiled(
        schema,
        tuple(map(_getter, schema.has)),
        tuple((_getter(key), re.compile(pattern)) for key, pattern in schema.where.items()),
        tuple(map(_getter, schema.time)),
        tuple(map(_getter, schema.time_utc)),
        tuple((name, tuple(map(_getter, getattr(schema, name)))) for name in ("host", "user", "process", "log_type")),
    )


def _getter(key: str) -> Getter:
    if "." not in key:
        return lambda record: record.get(key)
    first, *rest = key.split(".")

    def get(record: Mapping[str, Any]) -> Any:
        if key in record:
            return record[key]
        value = record.get(first)
        for part in rest:
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    return get
