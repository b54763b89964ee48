"""When who does what: activities over the span, in numbers that fill each source's share."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from random import Random

from logfm.configs.schema.simulate import SimulateConfig
from logfm.corpus.simulate.playing import SECOND, Player
from logfm.corpus.simulate.records import AUTH, DNS, WEB, WINDOWS, Record, Truth, moment
from logfm.corpus.simulate.templates import Routine, Scenario
from logfm.corpus.simulate.values import Cast, shared_cast
from logfm.corpus.simulate.world import World, stream

SHARES = {WINDOWS: 0.35, AUTH: 0.20, WEB: 0.25, DNS: 0.20}
_FILES = {"windows": WINDOWS, "linux": AUTH, "web": WEB, "dns": DNS}
# Activity by hour of the day: a working day with a lunch break, and a second, small peak in the late evening.
_WORK = (1, 1, 1, 1, 1, 2, 5, 14, 30, 34, 34, 30, 22, 29, 33, 32, 28, 18, 9, 6, 5, 6, 8, 3)
_NIGHT = (10, 20, 20, 20, 10) + (0,) * 18 + (5,)
_WEEKEND = 1 / 3
_SELDOM = 0.15
"""What is left in a session of something whose hours it does not lie in: people work late too."""
_PILOTS = 6
_COVERS = 2
_HOUR = 3600 * SECOND
# The part of the span within which an attack has to fit.
_ATTACK_SHARE = 0.6


@dataclass(frozen=True)
class Activity:
    """Something that begins at `time` (microseconds since 1970); `key` names its random stream."""

    time: int
    key: str
    behaviour: Routine | Scenario
    cast: Mapping[str, str] | None = None
    pace: float = 1.0
    """What the minutes between an attack's steps are multiplied with."""


def schedule(
    world: World, config: SimulateConfig, scenarios: Sequence[Scenario], routines: Sequence[Routine]
) -> list[Activity]:
    """Every activity, in order of time."""
    attacks = list(_attacks(world, config, scenarios))
    covers = [*_covers(config, attacks, routines), *_roll_call(world, config, routines)]
    start = _start(config)
    yields = {one.name: _yield_of(world, one, start) for one in routines}
    fixed: Counter[str] = Counter()
    for cover in covers:
        fixed.update(yields[cover.behaviour.name])
    for attack in attacks:
        fixed.update(_sources(play(world, attack)))
    room = max(config.events - sum(fixed.values()), config.events // 5)
    counts = _counts(routines, yields, room)
    planned = [
        Activity(time, f"{routine.name}/{number}", routine)
        for routine in routines
        for number, time in enumerate(
            _times(stream(config.seed, "times", routine.name), config, routine.clock, counts[routine.name])
        )
    ]
    return sorted([*planned, *covers, *attacks], key=lambda one: (one.time, one.key))


def play(world: World, activity: Activity) -> list[Record]:
    """What an activity leaves."""
    behaviour = activity.behaviour
    rng = stream(world.seed, activity.key)
    role = behaviour.role if isinstance(behaviour, Routine) else "office"
    cast = Cast(world, rng, role=role, fixed=activity.cast, values=behaviour.values, encoded=behaviour.encoded)
    player = Player(world, rng, cast, activity.time)
    if isinstance(behaviour, Routine):
        player.begin(behaviour.there)
        player.play(rng.choice(behaviour.variants))
        player.finish()
        return player.records
    done: set[str] = set()
    for step in behaviour.steps:
        if not done.issuperset(step.needs) or (step.chance < 1 and rng.random() >= step.chance):
            continue
        if done:
            player.time += int(rng.uniform(*step.after) * activity.pace * 60 * SECOND)
        done.add(step.name)
        player.truth = Truth("attack", step.technique, step.tactic, behaviour.name, step.name)
        player.play(rng.choice(step.variants))
    player.finish()
    return player.records


def span(config: SimulateConfig) -> tuple[int, int]:
    """The first and the last moment, in microseconds since 1970."""
    start = _start(config)
    return start, start + int(config.hours * _HOUR)


def _start(config: SimulateConfig) -> int:
    return (config.start - moment(0)) // timedelta(microseconds=1)


def _attacks(world: World, config: SimulateConfig, scenarios: Sequence[Scenario]) -> Iterator[Activity]:
    order = list(scenarios)
    stream(config.seed, "scenarios").shuffle(order)
    start, end = span(config)
    for number in range(config.attacks):
        scenario = order[number % len(order)]
        rng = stream(config.seed, "attack", number)
        longest = sum(step.after[1] for step in scenario.steps[1:]) * 60 * SECOND
        pace = min(1.0, _ATTACK_SHARE * (end - start) / longest)
        latest = end - 1.1 * longest * pace
        times = _times(rng, config, scenario.clock, 1, until=int(latest))
        yield Activity(times[0], f"attack/{number}", scenario, shared_cast(world, rng), pace)


def _covers(config: SimulateConfig, attacks: Sequence[Activity], routines: Sequence[Routine]) -> Iterator[Activity]:
    start, end = span(config)
    until = start + int(0.9 * (end - start))
    for attack in attacks:
        for routine in routines:
            if routine.cover:
                key = f"cover/{attack.key}/{routine.name}"
                for number, time in enumerate(_times(stream(config.seed, key), config, routine.clock, _COVERS, until)):
                    yield Activity(time, f"{key}/{number}", routine, attack.cast)


def _roll_call(world: World, config: SimulateConfig, routines: Sequence[Routine]) -> Iterator[Activity]:
    start, end = span(config)
    until = start + int(0.9 * (end - start))
    for routine in routines:
        if routine.everyone:
            for user in world.users:
                key = f"{routine.name}/{user}"
                time = _times(stream(config.seed, "roll call", key), config, routine.clock, 1, until)[0]
                yield Activity(time, key, routine, {"user": user})


def _times(rng: Random, config: SimulateConfig, clock: str, count: int, until: int | None = None) -> list[int]:
    """Beginnings within the span, or before `until`, distributed as the clock says."""
    start, end = span(config)
    end = end if until is None else until
    edges = [*range(start, end, _HOUR), end]
    bins = list(pairwise(edges))
    weights = [_weight(clock, low) * (high - low) for low, high in bins]
    if not sum(weights):
        weights = [float(high - low) for low, high in bins]
    return [rng.randrange(low, high) for low, high in rng.choices(bins, weights=weights, k=count)] if bins else [start]


def _weight(clock: str, time: int) -> float:
    when = moment(time)
    if clock == "work":
        return _WORK[when.hour] * (_WEEKEND if when.weekday() >= 5 else 1.0)
    return float(_NIGHT[when.hour]) if clock == "night" else 1.0


def busy(clock: str, time: int) -> float:
    """How usual something with that clock is at a time, from a little to 1."""
    most = {"work": max(_WORK), "night": max(_NIGHT)}.get(clock, 1.0)
    return max(_SELDOM, _weight(clock, time) / most)


def _sources(records: Sequence[Record]) -> Counter[str]:
    return Counter(record.file for record in records)


def _yield_of(world: World, routine: Routine, time: int) -> dict[str, float]:
    """Mean number of records that a routine leaves in each file, from a few trials."""
    total: Counter[str] = Counter()
    for number in range(_PILOTS):
        total.update(_sources(play(world, Activity(time, f"pilot/{routine.name}/{number}", routine))))
    return {file: count / _PILOTS for file, count in total.items()}


def _counts(routines: Sequence[Routine], yields: Mapping[str, Mapping[str, float]], events: int) -> dict[str, int]:
    """How often each routine is played, so that the sources get their shares of that many events."""
    groups = {file: [one for one in routines if _FILES[one.source] == file] for file in SHARES}
    weights = {file: sum(one.weight for one in group) for file, group in groups.items()}
    means = {
        (file, group): sum(one.weight * yields[one.name].get(file, 0.0) for one in members) / weights[group]
        for group, members in groups.items()
        for file in SHARES
    }
    plays = dict.fromkeys(SHARES, 0.0)
    # Gauss-Seidel: activities of one source leave records in others too.
    for _ in range(40):
        for file, share in SHARES.items():
            others = sum(means[file, group] * plays[group] for group in SHARES if group != file)
            plays[file] = max(0.0, (share * events - others) / means[file, file])
    counts: dict[str, int] = {}
    for file, group in groups.items():
        before = 0.0
        for one in group:
            after = before + plays[file] * one.weight / weights[file]
            counts[one.name] = round(after) - round(before)
            before = after
    return counts
