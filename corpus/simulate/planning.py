"""The plan of a set of sessions: whose, when, how long, and which of them hold an attack."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import cycle
from random import Random

from logfm.configs.schema.simulate import LEAST_EVENTS, SessionsConfig
from logfm.corpus.simulate.drift import staff_of
from logfm.corpus.simulate.records import moment
from logfm.corpus.simulate.scheduling import busy
from logfm.corpus.simulate.templates import Scenario
from logfm.corpus.simulate.world import World, stream
from logfm.errors import UserError

SECOND = 1_000_000
_HOUR = 3_600 * SECOND
_DAY = 24 * _HOUR
# Sessions by hour of the day: a working day from 8 to 18 h with a lunch break, and a second peak at 22 h.
_HOURS = (3, 3, 3, 3, 3, 4, 8, 18, 34, 38, 38, 34, 26, 32, 37, 36, 33, 27, 12, 9, 8, 10, 24, 6)
# A weekend's day weighs so much more that a third of the sessions lies on weekends (LogAtlas: 34.8 %).
_WEEKEND = 1.33
_LONGEST = 6.0


@dataclass(frozen=True)
class Session:
    """One session; times in microseconds since 1970."""

    number: int
    user: str
    host: str
    start: int
    end: int
    events: int
    split: str
    scenario: str | None
    like: str
    """The scenario whose size it has room for: in a session without an attack one that does not take place."""
    share: float
    """The part of the whole span that has passed at its beginning."""

    @property
    def name(self) -> str:
        """Its name, which is its folder's."""
        return f"{self.number:05d}"


def plan(config: SessionsConfig, world: World, scenarios: Sequence[Scenario]) -> list[Session]:
    """All sessions in order of time. What an attack is does not depend on the user, the time or the length.

    Scenarios take turns within each split, so that each split has all of them as far as its number of attacks allows;
    those that begin with a held-out technique take place in the split `test` only, which begins with what holds one.

    Raises:
        UserError: no scenario is left for an attack outside of the split `test`, or there are too few attacks in it for
            all techniques that are held out.
    """
    rng = stream(config.seed, "sessions")
    drawn = sorted(_window(rng, config) for _ in range(config.sessions))
    tests = set(rng.sample(range(config.sessions), round(config.test_share * config.sessions)))
    attacks, like = _attacks(rng, config, tests, scenarios, [start for start, _ in drawn])
    staff = staff_of(world, config.drift)
    users = list(world.users.values())
    # At least one user on either side.
    kept = min(len(users) - 1, max(1, round(config.test_share * len(users)))) if tests else 0
    sides = {"test": users[len(users) - kept :], "train": users[: len(users) - kept]}
    first = (config.start - moment(0)) // timedelta(microseconds=1)
    found = []
    for number, (start, end) in enumerate(drawn):
        split = "test" if number in tests else "train"
        share = (start - first) / (config.days * _DAY)
        user = rng.choice([one for one in sides[split] if staff.there(one.name, share)] or sides[split])
        length = (end - start) / (config.minutes * 60 * SECOND)
        events = max(LEAST_EVENTS // 4, round(config.session_events * length * rng.lognormvariate(-0.02, 0.2)))
        found.append(Session(number, user.name, user.host, start, end, events, split, attacks.get(number),
                             like[number], share))  # fmt: skip
    return found


def _window(rng: Random, config: SessionsConfig) -> tuple[int, int]:
    first = (config.start - moment(0)) // timedelta(microseconds=1)
    days = range(config.days)
    weights = [_WEEKEND if moment(first + day * _DAY).weekday() >= 5 else 1.0 for day in days]
    day = rng.choices(days, weights)[0]
    hour = rng.choices(range(24), _HOURS)[0]
    start = first + day * _DAY + hour * 3600 * SECOND + rng.randrange(3600 * SECOND)
    minutes = config.minutes
    if config.spread:
        minutes = min(_LONGEST, max(0.25, math.exp(rng.gauss(0, config.spread)))) * config.minutes
    return start, start + int(minutes * 60 * SECOND)


def _attacks(
    rng: Random, config: SessionsConfig, tests: set[int], scenarios: Sequence[Scenario], starts: Sequence[int]
) -> tuple[dict[int, str], dict[int, str]]:
    """The scenario of each session with an attack; and one for each session, whose size it has room for."""
    order = [one.name for one in scenarios]
    rng.shuffle(order)
    cover = _cover(scenarios, order, config.holdout_techniques)
    inside, outside = sorted(tests), sorted(set(range(config.sessions)) - tests)
    count = max(round(config.test_share * config.attack_sessions), len(cover), config.attack_sessions - len(outside))
    count = min(count, config.attack_sessions, len(inside))
    if count < len(cover):
        raise UserError("too few attacks in the split test for all held-out techniques", f"{count} of {len(cover)}",
                        "Take more sessions or attacks, a larger test_share, or hold out fewer.")  # fmt: skip
    chosen = [*rng.sample(inside, count), *rng.sample(outside, config.attack_sessions - count)]
    begins = {one.name: one.steps[0].technique for one in scenarios}
    open_ = [name for name in order if not any(is_held(one, config.holdout_techniques) for one in begins[name])]
    if not open_ and any(number not in tests for number in chosen):
        raise UserError("every scenario begins with a held-out technique", ", ".join(order),
                        "Hold out others, or take more scenarios.")  # fmt: skip
    # First one split, then the other, without beginning anew: few attacks still have as many scenarios as can be.
    numbers = sorted(chosen, key=lambda number: (number in tests, number))
    attacks = dict(zip([number for number in numbers if number in tests], cover, strict=False))
    attacks |= _in_turn([number for number in numbers if number not in attacks], tests, order, open_)
    others = [number for number in range(config.sessions) if number not in attacks]
    working = {one.name for one in scenarios if one.clock == "work"}
    found = [attacks, _in_turn(others, tests, order, open_ or order)]
    attacks, like = (_at_work(config.seed, one, tests, working, starts) for one in found)
    return attacks, attacks | like


def _cover(scenarios: Sequence[Scenario], order: Sequence[str], held: Sequence[str]) -> list[str]:
    """Few scenarios that together hold all held-out techniques: each time the one with the most that are missing."""
    shown = {one.name: {name for step in one.steps for name in step.technique} for one in scenarios}
    holds = {name: {one for one in held if any(is_held(its, (one,)) for its in shown[name])} for name in order}
    missing, found = set(held), list[str]()
    while missing:
        best = max(order, key=lambda name: len(holds[name] & missing))
        if not holds[best] & missing:
            break
        found.append(best)
        missing -= holds[best]
    return found


def _in_turn(numbers: Iterable[int], tests: set[int], order: Sequence[str], open_: Sequence[str]) -> dict[int, str]:
    found, turn = {}, cycle(order)
    for number in numbers:
        found[number] = next(name for name in turn if number in tests or name in open_)
    return found


def _at_work(
    seed: int, found: dict[int, str], tests: set[int], working: set[str], starts: Sequence[int]
) -> dict[int, str]:
    """The same scenarios for the same sessions, changed about within a split: where somebody must be at work for one,
    its session's hour is likely to be a working one."""
    rng = stream(seed, "hours")
    # Drawn one after the other in proportion to how busy their hours are.
    late = {number: -(rng.random() ** (1 / busy("work", starts[number]))) for number in sorted(found)}
    changed: dict[int, str] = {}
    for split in (True, False):
        numbers = [number for number in found if (number in tests) == split]
        names = [found[number] for number in numbers]
        first = [name for name in names if name in working]
        rest = [name for name in names if name not in working]
        changed |= dict(zip(sorted(numbers, key=late.__getitem__), [*first, *rest], strict=True))
    return changed


@cache
def usual(clock: str) -> float:
    """How usual something with that clock is in the mean session."""
    found = weights = 0.0
    for day in range(7):
        for hour, often in enumerate(_HOURS):
            time = day * _DAY + hour * _HOUR
            weight = often * (_WEEKEND if moment(time).weekday() >= 5 else 1.0)
            found += weight * busy(clock, time)
            weights += weight
    return found / weights


def is_held(technique: str, held: Sequence[str]) -> bool:
    """Whether a technique is held out, by its own id or its parent's."""
    return technique in held or technique.split(".")[0] in held
