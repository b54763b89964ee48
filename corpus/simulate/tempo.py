"""The tempo of a session: its events are a clock, by which an attack waits as others do.

Whatever happens at a random time falls into a lull more often than an event of the session does: lulls last longer. An
attack that waited by the wall clock would be found by that alone, without a look at any record.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from random import Random

Clock = Callable[[int, int], int]
"""The time after a wait, from a time and the wait (microseconds)."""


def clock_of(times: Sequence[int], start: int, end: int, by_events: float) -> Clock:
    """A clock on which a part of each wait, `by_events`, is measured in events at `times` (in order), the rest in time.

    A wait of a second takes as long as the session's mean number of events in a second; 0 is the wall clock.
    """
    ticks = [start, *(time for time in times if start < time < end), end]
    rate = (len(ticks) - 1) / (end - start)

    def wait(time: int, pause: int) -> int:
        if not start <= time < end:
            return time + pause
        place = _place(ticks, time) + by_events * pause * rate
        later = _time(ticks, place) if place < len(ticks) - 1 else end + pause
        return max(time, min(later, end + pause)) + int((1 - by_events) * pause)

    return wait


def _place(ticks: Sequence[int], time: int) -> float:
    """How many ticks have passed at a time."""
    low = bisect_right(ticks, time) - 1
    return low + (time - ticks[low]) / max(1, ticks[low + 1] - ticks[low])


def _time(ticks: Sequence[int], place: float) -> int:
    low = int(place)
    return ticks[low] + int((place - low) * (ticks[low + 1] - ticks[low]))


def bursts(rng: Random, start: int, end: int, count: int) -> list[int]:
    """Times around which more goes on."""
    return [start + int(rng.random() * (end - start)) for _ in range(count)]
