from bisect import bisect_left
from random import Random

import pytest

from logfm.corpus.simulate.tempo import bursts, clock_of

SECOND = 1_000_000
# A busy minute with a hundred events, then a lull of a minute with one.
TIMES = [*(number * 600_000 for number in range(100)), 90 * SECOND]


def test_the_wall_clock_is_left_alone() -> None:
    wait = clock_of(TIMES, 0, 120 * SECOND, 0.0)
    assert wait(5 * SECOND, 7 * SECOND) == pytest.approx(12 * SECOND, abs=2)


def test_a_wait_by_events_is_short_where_much_goes_on_and_long_in_a_lull() -> None:
    wait = clock_of(TIMES, 0, 120 * SECOND, 1.0)
    # A second holds 102 / 120 events on average, and in the busy minute 100 / 60.
    assert wait(10 * SECOND, 10 * SECOND) - 10 * SECOND == pytest.approx(10 * SECOND * 102 / 120 * 0.6, rel=0.05)
    assert wait(61 * SECOND, SECOND) - 61 * SECOND > 10 * SECOND


def test_moments_by_events_avoid_lulls() -> None:
    wait = clock_of(TIMES, 0, 120 * SECOND, 1.0)
    time, late = 0, 0
    for _ in range(150):
        after = wait(time, SECOND)
        assert after >= time
        time, late = after, late + (60 * SECOND < after <= 120 * SECOND)
    assert late <= 5
    assert bisect_left(TIMES, time) == len(TIMES)


def test_beyond_the_session_time_is_time() -> None:
    wait = clock_of(TIMES, 0, 120 * SECOND, 1.0)
    assert wait(130 * SECOND, SECOND) == 131 * SECOND
    assert wait(-SECOND, SECOND) == 0
    assert wait(119 * SECOND, 50 * SECOND) >= 120 * SECOND


def test_bursts_lie_in_the_session() -> None:
    found = bursts(Random(0), 100, 200, 50)
    assert len(found) == 50 and len(set(found)) > 20
    assert all(100 <= time < 200 for time in found)
