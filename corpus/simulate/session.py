"""One session: what its minutes leave in every source, benign behaviour and, in some, an attack."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from random import Random

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate.drift import is_used
from logfm.corpus.simulate.lookalikes import lookalikes
from logfm.corpus.simulate.network import Resolvers, one_at_a_time
from logfm.corpus.simulate.planning import SECOND, Session, is_held
from logfm.corpus.simulate.playing import Player
from logfm.corpus.simulate.records import Record, Truth
from logfm.corpus.simulate.scheduling import busy
from logfm.corpus.simulate.templates import HERE, Routine, Scenario, load_routines, load_scenarios
from logfm.corpus.simulate.tempo import Clock, bursts, clock_of
from logfm.corpus.simulate.values import Cast, shared_cast
from logfm.corpus.simulate.world import World, stream

# How often a routine is taken, beside its weight: the first four sources' routines were made for whole companies.
_SOURCES = {"windows": 1.0, "linux": 0.6, "web": 0.13, "dns": 0.55, "cloud": 3.4, "browser": 0.8, "mail": 1.3}
_OWN = 0.72
"""The part of the routines of workstations that is the session's own user's; the rest is the others'."""
_OF_COVERS = ("domain", "domain_address", "partner", "cloud_tool", "visitor", "agent", "server", "server_address",
              "linux", "linux_address", "account", "helper")  # fmt: skip
"""The identities of the session's cast that what covers an attack has too."""
_ALIKE = 0.6
"""The part of the routines that has the shape of an attack's step."""
_BURSTS = 6
_NEAR, _WIDTH = 0.75, 0.01
"""The part of the routines that lies in bursts, and a burst's standard deviation as a part of the session."""
_BY_EVENTS = 0.8
"""The part of an attack's waits that is measured in events of its session."""
_ATTACK_SHARE = 0.8
_QUIETEST, _BUSIER = 0.8, 0.35
"""What a session's planned events are multiplied with when nobody works, and how much more when all do."""
_MOST_OF = 0.6
"""The part of a session's events beyond which an attack gets company however many events were planned."""


@cache
def all_routines() -> list[Routine]:
    """The routines of the first four sources, those of all others, and those in the shape of attack steps."""
    known = [*load_routines(), *load_routines(HERE / "routines" / "wide")]
    usual = sum(one.weight * _SOURCES.get(one.source, 1.0) for one in known)
    return [*known, *lookalikes(load_scenarios(None, wide=True), known, usual * _ALIKE / (1 - _ALIKE))]


def play_session(world: World, config: SessionsConfig, session: Session, like: Scenario) -> list[Record]:
    """The records of a session in order of time: with the attack `like`, or without one but with room for it.

    Were there room in attacks only, a short session's number of events would tell the label.
    """
    rng = stream(config.seed, "session", session.number)
    cast = shared_cast(world, rng, session.user)
    there, pace = _attack(world, config, session, like, cast, None)
    planned = len(there)
    events = int(session.events * (_QUIETEST + _BUSIER * busy("work", session.start)))
    wanted = max(events, int(planned / _MOST_OF)) - (planned if session.scenario else 0)
    # A benign session has in the attack's place what honest people do in its shape, or the counts of a short session's
    # sources would tell the label.
    instead = [] if session.scenario else _in_place(session, like, there, cast)
    records = _background(rng, world, config, session, cast, wanted, pace, instead)
    if session.scenario:
        records += _attack(world, config, session, like, cast, _clock(session, records))[0]
    resolvers = Resolvers()
    return one_at_a_time([one for one in sorted(records, key=lambda one: one.time) if resolvers.ask(one)])


def _clock(session: Session, records: Sequence[Record]) -> Clock:
    return clock_of(sorted(one.time for one in records), session.start, session.end, _BY_EVENTS)


def _background(
    rng: Random, world: World, config: SessionsConfig, session: Session, cast: dict[str, str], wanted: int, pace: float,
    instead: Sequence["Activity"] = (),
) -> list[Record]:  # fmt: skip
    """Benign records, first of `instead`; what has the shape of an attack's step waits by the attack's clock and at its
    pace too."""
    usual: list[tuple[Activity, list[Record]]] = []
    alike: list[tuple[Activity, list[Record]]] = []
    count = 0
    around = bursts(rng, session.start, session.end, _BURSTS)
    for activity in chain(instead, _routines(rng, world, config, session, cast, around)):
        if count >= wanted:
            break
        found = _play(world, session, activity, 1.0, None)
        count += len(found)
        (alike if activity.routine.alike else usual).append((activity, found))
    # What happens in the session is the clock, so it must be known before anybody can wait by it.
    clock = _clock(session, [record for _, found in [*usual, *alike] for record in found])
    again = [_play(world, session, activity, pace, clock) for activity, _ in alike]
    # At the attack's pace more of it fits in, and benign sessions, which have more of it, would be longer.
    spare = sum(map(len, again)) - sum(len(found) for _, found in alike)
    while usual and not usual[-1][0].routine.first and spare > len(usual[-1][1]) / 2:
        spare -= len(usual.pop()[1])
    return list(chain(*(found for _, found in usual), *again))


@dataclass(frozen=True)
class Activity:
    """A routine that takes place: its key, when it begins, and the identities that it shares with the session."""

    routine: Routine
    key: str
    time: int
    fixed: dict[str, str]


def _in_place(session: Session, like: Scenario, attack: Sequence[Record], cast: dict[str, str]) -> list[Activity]:
    """The routines in the shape of an attack's steps, when and by whom these would be taken."""
    known = {one.name: one for one in all_routines() if one.alike}
    begins: dict[str, int] = {}
    for one in attack:
        if one.truth.step:
            begins[one.truth.step] = min(one.time, begins.get(one.truth.step, one.time))
    fixed = {name: cast[name] for name in ("user", "host", "address", "sid", "vpn_address", *_OF_COVERS)}
    return [
        Activity(known[f"like_{like.name}_{step}"], f"{session.number}/like/{step}", time, fixed)
        for step, time in sorted(begins.items(), key=lambda item: item[1])
        if f"like_{like.name}_{step}" in known
    ]


def _routines(
    rng: Random, world: World, config: SessionsConfig, session: Session, cast: dict[str, str], around: Sequence[int]
) -> Iterator[Activity]:
    """Routines to play, without end."""
    role = world.users[session.user].role
    ready = [one for one in all_routines() if is_used(one, config.drift, session.share)]
    weights = [one.weight * _SOURCES.get(one.source, 1.0) * busy(one.clock, session.start) for one in ready]
    length = session.end - session.start
    # The session's own workstation is never silent, and what its attack may name occurs; other work has its hours.
    first = [
        one for one in all_routines() if one.first and (one.cover or rng.random() < busy(one.clock, session.start))
    ]
    count = 0
    while True:
        begins = count < len(first)
        routine = first[count] if begins else rng.choices(ready, weights)[0]
        time = session.start + int(rng.uniform(0.0, 0.5 if begins else 0.98) * length)
        if not begins and rng.random() < _NEAR:
            time = min(session.end - 1, max(session.start, rng.choice(around) + int(rng.gauss(0, _WIDTH) * length)))
        own: Sequence[str] = ()
        if begins or (rng.random() < _OWN and routine.role in ("any", role)):
            own = ("user", "host", "address", "sid", "vpn_address")
        elif routine.role == "it" and rng.random() < 0.5:
            own = ("admin", "admin_host", "admin_address", "server", "server_address", "linux", "linux_address")
        if begins or (routine.cover and rng.random() < 0.5):
            own = (*own, *_OF_COVERS)
        count += 1
        key = f"{session.number}/{count}/{routine.name}"
        yield Activity(routine, key, time, {name: cast[name] for name in own})


def _play(world: World, session: Session, activity: Activity, pace: float, clock: Clock | None) -> list[Record]:
    routine, rng = activity.routine, stream(world.seed, activity.key)
    cast = Cast(world, rng, role=routine.role, fixed=activity.fixed, values=routine.values, encoded=routine.encoded)
    player = Player(world, rng, cast, activity.time, wide=True, pace=pace, clock=clock)
    player.begin(routine.there)
    player.play(rng.choice(routine.variants))
    player.finish()
    return [one for one in player.records if session.start <= one.time < session.end]


def _attack(
    world: World, config: SessionsConfig, session: Session, scenario: Scenario, cast: dict[str, str],
    clock: Clock | None,
) -> tuple[list[Record], float]:  # fmt: skip
    """The records of an attack that fits into its session, and its pace: one that takes too long is played faster."""
    length = session.end - session.start
    begin = session.start + int(stream(config.seed, "begin", session.number).uniform(0.01, 0.1) * length)
    pace = 1.0
    for _ in range(6):
        records, last = _play_attack(world, config, session, scenario, cast, (begin, pace, clock))
        if last < session.end - int(0.01 * length):
            break
        pace *= max(0.2, 0.95 * _ATTACK_SHARE * length / (last - begin))
    return [one for one in records if session.start <= one.time < session.end], min(1.0, pace)


def _play_attack(
    world: World, config: SessionsConfig, session: Session, scenario: Scenario, cast: dict[str, str],
    tempo: tuple[int, float, Clock | None],
) -> tuple[list[Record], int]:  # fmt: skip
    """The records, and the time of the last thing that was done: processes may end later."""
    begin, pace, clock = tempo
    rng = stream(config.seed, "attack", session.number)
    players = Cast(world, rng, role="office", fixed=cast, values=scenario.values, encoded=scenario.encoded)
    player = Player(world, rng, players, begin, wide=True, pace=min(1.0, pace), clock=clock)
    done: set[str] = set()
    held = config.holdout_techniques if session.split == "train" else ()
    sure = _needed(scenario, config.holdout_techniques) if session.split == "test" else frozenset()
    for step in scenario.steps:
        left_out = step.chance < 1 and rng.random() >= step.chance and step.name not in sure
        if left_out or not done.issuperset(step.needs) or any(is_held(name, held) for name in step.technique):
            continue
        if done:
            player.wait(int(rng.uniform(*step.after) * 60 * pace * 0.25 * SECOND))
        done.add(step.name)
        player.truth = Truth("attack", step.technique, step.tactic, scenario.name, step.name)
        player.play(rng.choice(step.variants))
    player.finish()
    return player.records, player.time


def _needed(scenario: Scenario, techniques: Sequence[str]) -> frozenset[str]:
    """The names of the steps with one of these techniques, and of those that they need."""
    found = set[str]()
    for step in reversed(scenario.steps):
        if step.name in found or any(is_held(name, techniques) for name in step.technique):
            found |= {step.name, *step.needs}
    return frozenset(found)
