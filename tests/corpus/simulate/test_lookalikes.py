"""Benign routines in the shape of attack steps: the shape is kept, what is said is honest people's."""

import re
from collections import defaultdict
from ntpath import basename
from random import Random

import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate import session
from logfm.corpus.simulate.lookalikes import _Known, lookalikes
from logfm.corpus.simulate.planning import plan, usual
from logfm.corpus.simulate.playing import Player
from logfm.corpus.simulate.pools import SYSTEM_PROCESSES, USER_PROCESSES
from logfm.corpus.simulate.scheduling import busy
from logfm.corpus.simulate.session import all_routines
from logfm.corpus.simulate.templates import HERE, Routine, load_routines, load_scenarios
from logfm.corpus.simulate.values import Cast, shared_cast
from logfm.corpus.simulate.world import make_world

SAID = {"process": "command", "file": "path", "registry": "key", "dns": "query"}


@pytest.fixture(scope="module")
def scenarios():
    return load_scenarios(None, wide=True)


@pytest.fixture(scope="module")
def routines():
    return [*load_routines(), *load_routines(HERE / "routines" / "wide")]


@pytest.fixture(scope="module")
def alike(scenarios, routines):
    return {one.name: one for one in lookalikes(scenarios, routines, 12.0)}


def plain(text):
    """A text without its placeholders, whose names differ."""
    return re.sub(r"\{[a-z0-9_]+\}", "{}", text)


def test_each_step_has_one_and_together_they_weigh_what_they_shall(alike, scenarios):
    assert set(alike) == {f"like_{one.name}_{step.name}" for one in scenarios for step in one.steps}
    assert sum(one.weight * usual(one.clock) for one in alike.values()) == pytest.approx(12.0)


def test_what_people_do_at_work_comes_as_often_as_the_step(alike, scenarios):
    hours = [one.start for one in plan(SessionsConfig(sessions=3000, attacks=0), make_world(0, 6), scenarios)]
    assert usual("work") == pytest.approx(sum(busy("work", time) for time in hours) / len(hours), rel=0.03)
    share = alike["like_spy_capture_screen"].weight
    often = alike["like_cloud_theft_mail_a_link"]
    assert often.clock == "work" and often.weight * usual("work") == pytest.approx(share)


def test_the_shape_is_that_of_the_step(alike, scenarios):
    for scenario in scenarios:
        for step in scenario.steps:
            shapes = [[(e.event, e.repeat, e.after, e.chance) for e in variant] for variant in step.variants]
            for variant in alike[f"like_{scenario.name}_{step.name}"].variants:
                found = [(e.event, e.repeat, e.after, e.chance) for e in variant]
                # What honest people leave no such record of is left out.
                assert any(found == shape or set(found) < set(shape) for shape in shapes)


def test_what_is_said_is_what_routines_say(alike, routines):
    known = {kind: {plain(getattr(e, name)) for one in routines for e in one.events() if e.event == kind}
             for kind, name in SAID.items()}  # fmt: skip
    for one in alike.values():
        for event in one.events():
            if event.event in SAID:
                assert plain(getattr(event, SAID[event.event])) in known[event.event]


def kinds(behaviours):
    """What a single token of a record tells: ids of Windows events, programs, operations of cloud and mail, queries."""
    for one in behaviours:
        for event in one.events():
            if event.event == "windows":
                yield "windows", event.id
            elif event.event == "log":
                said = [event.data.get(name, "") for name in ("operation", "service", "name", "activity")]
                for operation in one.values.get(said[0].strip("{}"), said[:1]):
                    yield event.record, operation, *said[1:]
            elif event.event == "process" and "{" not in event.image:
                yield "process", basename(event.image).lower()
            elif event.event in ("auth", "dns"):
                yield event.event, getattr(event, "program", None) or (event.type, event.rcode)


def test_no_kind_of_record_occurs_in_attacks_only(scenarios, routines):
    assert set(kinds(scenarios)) <= set(kinds(routines))
    assert len(set(kinds(scenarios))) > 40


def test_software_that_comes_or_goes_is_in_none(alike, routines):
    passing = [one for one in routines if one.since > 0 or one.until <= 1]
    # What no other routine says: some of it says nothing of its own.
    lasting = {plain(text) for one in routines if one not in passing for text in said(one)}
    only = {plain(text) for one in passing for text in said(one)} - lasting
    assert any("Aida.exe" in text for text in only)
    assert not only & {plain(text) for one in alike.values() for text in said(one)}


def said(behaviour):
    """What the events of a behaviour say."""
    return [getattr(e, SAID[e.event]) for e in behaviour.events() if e.event in SAID]


def test_a_size_and_a_program_together_are_the_attacks(alike, scenarios):
    sizes = set()
    for scenario in scenarios:
        for step in scenario.steps:
            told = {(e.sent, e.received) for v in step.variants for e in v
                    if e.event == "network" and e.by == "browser" and e.sent[1] <= 1.1 * e.sent[0]}  # fmt: skip
            by = {e.by for e in alike[f"like_{scenario.name}_{step.name}"].events()
                  if e.event == "network" and (e.sent, e.received) in told}  # fmt: skip
            assert bool(by) == bool(told) and by <= {"teams", "outlook"}
            sizes |= told
    assert len(sizes) >= 9
    drops = alike["like_extension_ask_for_place"]
    assert {e.to for e in drops.events()} == {"{drop}"} and len(drops.values["drop"]) == 3


@pytest.fixture(scope="module")
def planned():
    config, world = SessionsConfig(seed=6, sessions=6, attacks=0, events=900, hosts=6), make_world(6, 6)
    return config, world, plan(config, world, load_scenarios(["insider"], wide=True))


def test_they_wait_by_the_clock_and_at_the_pace_of_the_attack(planned, monkeypatch):
    config, world, sessions = planned
    played = defaultdict(list)
    play = session._play

    def watched(world, one, activity, pace, clock):
        played[activity.key].append((activity.routine.alike, pace, clock))
        return play(world, one, activity, pace, clock)

    monkeypatch.setattr(session, "_play", watched)
    one, rng = sessions[0], Random(0)
    session._background(rng, world, config, one, shared_cast(world, rng, one.user), 500, 0.25)
    alike = [calls for calls in played.values() if calls[0][0]]
    assert len(alike) > 5 and len(played) > len(alike)
    for calls in played.values():
        assert calls[0][1:] == (1.0, None)
        assert len(calls) == (2 if calls[0][0] else 1)
    assert all(again[1] == 0.25 and again[2] is not None for _, again in alike)
    assert len({again[2] for _, again in alike}) == 1


def test_a_wait_follows_the_pace_and_the_clock():
    routine = Routine.model_validate({
        "name": "slow", "source": "windows", "variants": [[
            {"event": "file", "by": "explorer", "path": "C:\\a", "repeat": [5, 5], "after": [10, 10]},
            {"event": "file", "by": "explorer", "path": "C:\\b", "repeat": [5, 5], "after": [2, 2]},
        ]],
    })  # fmt: skip
    world = make_world(6, 6)

    def times(pace, clock):
        player = Player(world, Random(0), Cast(world, Random(0)), 0, pace=pace, clock=clock)
        player.play(routine.variants[0])
        return [record.time for record in player.records]

    assert times(1.0, None) == [10_000_000 * n for n in range(1, 6)] + [50_000_000 + 2_000_000 * n for n in range(1, 6)]
    # Short waits take their time at any pace.
    assert times(0.5, None)[4] == 25_000_000 and times(0.5, None)[-1] == 35_000_000
    assert times(1.0, lambda time, pause: time + 3 * pause)[-1] == 180_000_000


def test_as_much_is_left_after_waiting_as_was_planned(planned):
    config, world, sessions = planned
    like = load_scenarios(["insider"], wide=True)[0]
    totals, wanted = 0, 0.0
    for one in sessions:
        totals += len(session.play_session(world, config, one, like))
        wanted += one.events * (session._QUIETEST + session._BUSIER * busy("work", one.start))
    assert totals == pytest.approx(wanted, rel=0.1)


def test_processes_of_earlier_steps_have_their_like(alike, scenarios):
    stand_ins = 0
    for scenario in scenarios:
        for step in scenario.steps:
            routine = alike[f"like_{scenario.name}_{step.name}"]
            named = {name for v in step.variants for e in v for role in ("parent", "by", "target")
                     if (name := getattr(e, role, None))} - {*SYSTEM_PROCESSES, *USER_PROCESSES}  # fmt: skip
            own = {e.name for v in step.variants for e in v if e.event == "process"}
            assert {one.name for one in routine.there} >= named - own
            for event in routine.events():
                for role in ("parent", "by"):
                    stand_ins += getattr(event, role, None) in {one.name for one in routine.there}
    assert stand_ins > 100


def test_a_program_does_what_it_does_in_its_routine(alike, routines):
    does = defaultdict(set)
    for routine in routines:
        for variant in routine.variants:
            for e in variant:
                if e.event == "process":
                    does[plain(e.image)] |= {o.event for o in variant if e.name and getattr(o, "by", None) == e.name}
    right = wrong = 0
    for one in alike.values():
        images = {e.name: plain(e.image) for e in one.events() if e.event == "process" and e.name}
        for variant in one.variants:
            images |= {e.name: plain(e.image) for e in variant if e.event == "process" and e.name}
            for e in variant:
                if e.event in ("network", "file", "registry") and e.by in images:
                    right += e.event in does[images[e.by]]
                    wrong += e.event not in does[images[e.by]]
    assert right > 60 and wrong < 0.1 * right


def test_what_is_there_leaves_nothing_of_its_beginning():
    world, rng = make_world(0, 6), Random(0)
    routine = Routine.model_validate({
        "name": "late", "source": "windows",
        "there": [{"event": "process", "name": "shell", "image": "C:\\a.exe", "command": "a.exe --wait"}],
        "variants": [[{"event": "process", "image": "C:\\b.exe", "command": "b.exe", "parent": "shell"},
                      {"event": "file", "by": "shell", "path": "C:\\c"}]],
    })  # fmt: skip
    player = Player(world, rng, Cast(world, rng), 1_741_000_000_000_000)
    player.begin(routine.there)
    assert not player.records
    player.play(routine.variants[0])
    player.finish()
    started, written, ended = (one.body for one in player.records)
    assert started["ParentCommandLine"] == "a.exe --wait" and started["ParentProcessGuid"] == written["ProcessGuid"]
    assert ended["EventID"] == 5 and ended["Image"] == "C:\\b.exe"
    wrong = routine.model_dump() | {"there": [routine.there[0].model_dump() | {"name": None}]}
    with pytest.raises(ValueError, match="needs a name of its own"):
        Routine.model_validate(wrong)


def test_who_runs_sudo_is_who_the_lines_around_it_name(alike, scenarios):
    found = 0
    for scenario in scenarios:
        for step in scenario.steps:
            heads = {e.message.rpartition("COMMAND=")[0] for v in step.variants for e in v if e.event == "auth"} - {""}
            lines = [e.message for e in alike[f"like_{scenario.name}_{step.name}"].events() if e.event == "auth"]
            for line in lines:
                head, _, command = line.rpartition("COMMAND=")
                assert not head or head in heads
                found += bool(head) and command not in {
                    e.message.rpartition("COMMAND=")[2] for e in scenario.events() if e.event == "auth"
                }
    assert found >= 10


def test_lengths_are_those_of_what_is_written(scenarios, routines):
    known = _Known(routines)
    world = make_world(5, 12)
    tunnel = next(one for one in scenarios if one.name == "insider")
    for event in tunnel.events():
        if event.event == "process":
            casts = [Cast(world, Random(n), role="office", values=tunnel.values) for n in range(40)]
            written = sum(len(cast.fill(f"{event.image}{event.command}")) for cast in casts) / 40
            assert known.size(event, tunnel) == pytest.approx(written, abs=8)


def test_they_are_the_same_every_time_and_played_with_the_others(alike, scenarios, routines):
    again = {one.name: one for one in lookalikes(scenarios, routines, 12.0)}
    assert alike == again
    assert set(alike) < {one.name for one in all_routines()}
