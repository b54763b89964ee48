"""Conditions and time ranges: what they let through, and that they reach nothing but the events."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from logfm.embeddings import filters
from logfm.embeddings.filters import Filter, matching, parse_time
from logfm.errors import UserError

MOMENT = datetime(2026, 1, 5, 10, tzinfo=UTC)
SECRET = "the content of another file"


@pytest.fixture
def sidecar(tmp_path, monkeypatch):
    """Ten events, one an hour, the last without a time; beside them a file that no condition may read."""
    path = tmp_path / "events.parquet"
    times = [MOMENT + timedelta(hours=hour) for hour in range(9)] + [None]
    columns = {
        "host": [f"host{row % 3}" for row in range(10)],
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "text": [SECRET if row == 4 else "line" for row in range(10)],
        "row": list(range(10)),
    }
    pq.write_table(pa.table(columns), path)
    (tmp_path / "secret.csv").write_text(f"a\n{SECRET}\n")
    monkeypatch.chdir(tmp_path)
    return ds.dataset(path, format="parquet")


def rows(sidecar, which):
    mask = matching(sidecar, 10, which)
    assert mask.dtype == bool and mask.shape == (10,)
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (Filter("host = 'host1'"), [1, 4, 7]),
        (Filter("timestamp >= '2026-01-05 17:00'"), [7, 8]),
        (Filter(since=MOMENT + timedelta(hours=7)), [7, 8]),
        (Filter(until=MOMENT + timedelta(hours=2)), [0, 1]),
        (Filter("host = 'host0'", MOMENT, MOMENT + timedelta(hours=3)), [0]),
        (Filter(since=datetime(2026, 1, 5, 18)), [8]),
        (Filter(since=datetime(1, 1, 1), until=datetime.max), [*range(9)]),
        (Filter(since=datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=-6)))), [8]),
        (Filter("timestamp IS NULL"), [9]),
        (Filter("host = 'nobody'"), []),
        (Filter("text IN (SELECT 'line' WHERE true) AND row < 3"), [0, 1, 2]),
    ],
)
def test_what_passes(sidecar, which, expected):
    assert rows(sidecar, which) == expected
    assert not which.all


@pytest.mark.parametrize(
    "where",
    [
        "text IN (SELECT a FROM 'secret.csv')",
        "text IN (SELECT a FROM read_csv('secret.csv'))",
        "text IN (SELECT content FROM read_text('secret.csv'))",
        "row IN (SELECT size FROM read_blob('secret.csv'))",
        "'secret.csv' IN (SELECT file FROM glob('*'))",
        "row IN (SELECT 1 FROM 'events.parquet')",
        "row IN (SELECT 1 FROM parquet_metadata('events.parquet'))",
        "row IN (SELECT 1 FROM sniff_csv('secret.csv'))",
        "row IN (SELECT 1 FROM read_json('secret.csv'))",
        "true); COPY (SELECT 1) TO 'written.csv'; SELECT (true",
        "true; COPY (SELECT 1) TO 'written.csv'",
        "true; ATTACH 'written.db' AS other",
        "true; INSTALL httpfs",
        "true; SET enable_external_access = true",
        "row IN (FROM (COPY (SELECT 1) TO 'written.csv'))",
        "row IN (SELECT 1 FROM secret)",
        "text = getenv('HOME')",
        "load_extension('httpfs')",
    ],
)
def test_no_condition_reads_or_writes_a_file(sidecar, tmp_path, where):
    with pytest.raises(UserError, match="--where: ") as caught:
        matching(sidecar, 10, Filter(where))
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.parquet", "secret.csv"]


def _with_memory(limit):
    settings = [one for one in filters._CLOSED if "memory_limit" not in one]
    assert len(settings) == len(filters._CLOSED) - 1  # there is a limit anyway
    return (f"SET memory_limit = '{limit}'", "SET threads = 1", *settings)


def test_what_does_not_fit_in_memory_is_not_spilled_into_the_working_directory(sidecar, tmp_path, monkeypatch):
    monkeypatch.setattr(filters, "_CLOSED", _with_memory("40MB"))
    large = "(SELECT sum(n) FROM (SELECT row_number() OVER (ORDER BY hash(range)) AS n FROM range(2000000))) > row"
    with pytest.raises(UserError, match="--where: Out of Memory"):
        matching(sidecar, 10, Filter(large))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.parquet", "secret.csv"]


def test_times_are_read():
    assert parse_time("2026-01-05", "--since") == datetime(2026, 1, 5, tzinfo=UTC)
    assert parse_time("2026-01-05T10:00+02:00", "--since") == datetime(2026, 1, 5, 8, tzinfo=UTC)
    for wrong in ("yesterday", "", "2026-13-01", "'; DROP TABLE x"):
        with pytest.raises(UserError, match="--until is no date or time"):
            parse_time(wrong, "--until")
    for wrong in ("0001-01-01T00:00+14:00", "9999-12-31T23:00-02:00"):
        with pytest.raises(UserError, match="--since lies outside the years 1 to 9999 of UTC"):
            parse_time(wrong, "--since")
        with pytest.raises(UserError, match="--until lies outside"):
            Filter(until=datetime.fromisoformat(wrong))


@pytest.mark.parametrize("hours", [0, 1])
def test_times_that_let_nothing_through_are_refused(hours):
    until = MOMENT.astimezone(timezone(timedelta(hours=5)))
    with pytest.raises(UserError, match="--since must lie before --until: 2026-01-05T1"):
        Filter(since=MOMENT + timedelta(hours=hours), until=until)


@pytest.mark.parametrize("rows", ["range(1000000000000)", "range(100000000) a, range(100000000) b"])
def test_a_condition_without_end_is_stopped(sidecar, monkeypatch, rows):
    monkeypatch.setattr(filters, "_SECONDS", 0.3)
    with pytest.raises(UserError, match=r"--where: the condition takes longer than 0\.3 s"):
        matching(sidecar, 10, Filter(f"(SELECT count(*) FROM {rows}) > 0"))
    assert threading.active_count() < 10
    assert matching(sidecar, 10, Filter("host = 'host1'")).sum() == 3
