"""Benign routines in the shape of attack steps: the shape is kept, what is said is honest people's."""

import re

import pytest

from logfm.configs.schema.simulate import SessionsConfig
from logfm.corpus.simulate.lookalikes import lookalikes
from logfm.corpus.simulate.planning import plan, usual
from logfm.corpus.simulate.scheduling import busy
from logfm.corpus.simulate.session import all_routines
from logfm.corpus.simulate.templates import HERE, load_routines, load_scenarios
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


def test_they_are_the_same_every_time_and_played_with_the_others(alike, scenarios, routines):
    again = {one.name: one for one in lookalikes(scenarios, routines, 12.0)}
    assert alike == again
    assert set(alike) < {one.name for one in all_routines()}
