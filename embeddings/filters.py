"""`--where`: an SQL condition over a sidecar, run by DuckDB without access to files, extensions or Python objects."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow.dataset as ds

from logfm.errors import UserError
from logfm.extras import require

# In this order: access is closed before the settings are. Without a temporary directory a condition that needs more
# than the memory fails; with one, DuckDB writes into the working directory even when access is closed.
_CLOSED = (
    "SET TimeZone = 'UTC'",
    "SET temp_directory = ''",
    "SET memory_limit = '2GB'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


_SECONDS = 20.0
"""What a condition may take: over a million events one takes a fraction of a second, but it may count without end."""


@dataclass(frozen=True)
class Filter:
    """Which events may be found: those that meet every part that is given.

    Raises:
        UserError: the times let nothing through, or one lies outside the years 1 to 9999 of UTC.
    """

    where: str | None = None
    """An SQL condition over the columns of `embed.KEYS`; times without a zone are UTC."""
    since: datetime | None = None
    """The earliest time, included."""
    until: datetime | None = None
    """The latest time, not included."""

    def __post_init__(self) -> None:
        times = [time for _, time in self.bounds]
        if len(times) == 2 and times[0] >= times[1]:
            raise UserError("--since must lie before --until", " and ".join(time.isoformat() for time in times))

    @property
    def all(self) -> bool:
        """Whether it lets every event through."""
        return self == Filter()

    @property
    def bounds(self) -> list[tuple[str, datetime]]:
        """What an event's time is compared with, and how, in UTC."""
        given = (("--since", ">=", self.since), ("--until", "<", self.until))
        return [(comparison, _utc(time, option)) for option, comparison, time in given if time is not None]


def matching(sidecar: ds.Dataset, rows: int, which: Filter) -> np.ndarray:
    """A mask, bool (rows,), of the events of a sidecar that a filter lets through.

    The condition is one expression: it can add no clause and no second statement, and reads nothing but the events.

    Raises:
        UserError: DuckDB refuses the condition, or it takes too long.
    """
    duckdb = require("duckdb", "embed")
    with duckdb.connect(":memory:") as connection:
        for setting in _CLOSED:
            connection.execute(setting)
        events = connection.from_arrow(sidecar)
        columns = ", ".join(name for name in events.columns if name != "row")
        limit = threading.Timer(_SECONDS, connection.interrupt)
        limit.start()
        try:
            found = events
            for comparison, time in which.bounds:
                found = found.filter(f"timestamp {comparison} TIMESTAMPTZ '{time.isoformat()}'")
            if which.where is not None:
                found = found.filter(which.where)
            numbers = found.project("row").fetchnumpy()["row"]
        except duckdb.InterruptException as error:
            raise UserError(f"--where: the condition takes longer than {_SECONDS:g} s", which.where) from error
        except duckdb.Error as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(f"--where: {reason}", fix=f"The columns are {columns}.") from error
        finally:
            limit.cancel()
            limit.join()
    mask = np.zeros(rows, dtype=bool)
    mask[np.asarray(numbers, dtype=np.int64)] = True
    return mask


def parse_time(text: str, option: str) -> datetime:
    """A date or time in ISO 8601, UTC unless it names a zone.

    Raises:
        UserError: it is none, or lies outside the years 1 to 9999 of UTC.
    """
    try:
        return _utc(datetime.fromisoformat(text), option)
    except ValueError as error:
        raise UserError(f"{option} is no date or time", text, "Write it as 2026-01-05 or 2026-01-05T10:00.") from error


def _utc(time: datetime, option: str) -> datetime:
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise UserError(f"{option} lies outside the years 1 to 9999 of UTC", time.isoformat()) from error
