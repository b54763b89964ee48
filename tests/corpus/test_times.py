from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from logfm.corpus.times import Clock, find_time, from_epoch, parse_time

CLOCK = Clock(UTC, datetime(2024, 1, 5, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-10-12T22:32:48.932Z", "2020-10-12T22:32:48.932000"),
        ("2020-10-12 22:32:48,932", "2020-10-12T22:32:48.932000"),
        ("2019-06-24T09:21:27.3694184Z", "2019-06-24T09:21:27.369418"),
        ("2022-02-08 09:23:37+11:00", "2022-02-07T22:23:37"),
        ("2018-01-24 18:25:08,454 -0800", "2018-01-25T02:25:08.454000"),
        ("17/May/2015:10:05:03 +0300", "2015-05-17T07:05:03"),
        ("Sun Dec 04 04:47:44 2005", "2005-12-04T04:47:44"),
        ("Wed, 02 Jan 2019 10:00:00 GMT", "2019-01-02T10:00:00"),
        ("2023 Jan 11 19:27:57 CET", "2023-01-11T18:27:57"),
        ("9/27/2013 2:42:26 PM", "2013-09-27T14:42:26"),
        ("25/12/2020 10:10:10", "2020-12-25T10:10:10"),
        ("2005-06-03-15.42.50.675872", "2005-06-03T15:42:50.675872"),
        ("081109 203615", "2008-11-09T20:36:15"),
        ("17/06/09 20:10:40", "2017-06-09T20:10:40"),
        ("20171223-22:15:29:606", "2017-12-23T22:15:29.606000"),
        ("1615150974.493", "2021-03-07T21:02:54.493000"),
        ("1681363713123", "2023-04-13T05:28:33.123000"),
    ],
)
def test_formats_to_utc(text, expected):
    assert parse_time(text, CLOCK) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "-", "hello", "12", "99:99:99", "2020-13-45T00:00:00Z", "Feb 31 10:00:00", "x" * 500]
)
def test_what_is_no_time(text):
    assert parse_time(text, CLOCK) is None


@pytest.mark.parametrize(
    ("text", "year"),
    [("Jan  5 11:00:00", 2024), ("Jan  6 11:00:00", 2024), ("Jan  7 11:00:00", 2023), ("Dec 31 23:59:59", 2023),
     ("Feb 29 01:01:01", 2020), ("03-17 16:13:38.811", 2023)],
)  # fmt: skip
def test_a_missing_year_is_the_latest_that_is_not_after_the_file(text, year):
    assert parse_time(text, CLOCK).year == year


def test_a_given_year_and_zone_are_kept():
    clock = Clock(ZoneInfo("Europe/Warsaw"), CLOCK.modified, 2016)
    assert parse_time("Jul  1 12:00:00", clock) == datetime(2016, 7, 1, 10, tzinfo=UTC)
    assert parse_time("2016-07-01T12:00:00Z", clock) == datetime(2016, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
def test_epochs_are_told_apart_by_size(scale):
    assert from_epoch(1_700_000_000 * scale) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_the_order_of_parsing_does_not_matter():
    before = parse_time("02/03/2020 10:10:10", CLOCK)
    parse_time("25/12/2020 10:10:11", CLOCK)
    assert before == parse_time("02/03/2020 10:10:10", Clock(UTC, CLOCK.modified, 2000))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("[Sat Jun 01 02:17:42 2013] [error] x", datetime(2013, 6, 1, 2, 17, 42, tzinfo=UTC)),
        ("Info: 1649097617.352 7 1.2.3.4", datetime(2022, 4, 4, 18, 40, 17, 352000, tzinfo=UTC)),
        ("no time in 10.20.30.40 here", None),
        ("x" * 200 + " 2020-01-01 00:00:00", None),
    ],
)
def test_a_time_near_the_head_of_a_line(line, expected):
    assert find_time(line, CLOCK) == expected
