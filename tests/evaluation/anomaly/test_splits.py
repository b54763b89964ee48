import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import SplitConfig
from logfm.errors import LogfmError, UserError
from logfm.evaluation.anomaly.splits import Split, by_entity, by_first, by_time, checked

entities = st.lists(st.integers(0, 12).map(str), min_size=3, max_size=80).filter(lambda given: len(set(given)) >= 3)


def covers(split, count):
    together = np.concatenate(split.parts)
    assert sorted(together) == list(range(count))
    assert all(len(part) for part in split.parts)


@settings(deadline=None)
@given(entities, st.integers(0, 5), st.data())
def test_entities_lie_in_one_part(names, seed, drawn):
    labels = np.array(drawn.draw(st.lists(st.integers(0, 1), min_size=len(names), max_size=len(names))), dtype=np.int8)
    split = by_entity(names, labels, seed)
    covers(split, len(names))
    held = [{names[row] for row in part} for part in split.parts]
    assert not held[0] & held[1] and not held[0] & held[2] and not held[1] & held[2]


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=12, max_size=80).filter(lambda times: len(set(times)) > 10))
def test_parts_by_time_follow_each_other(times):
    try:
        split = by_time(np.array(times, dtype=np.float64))
    except UserError:
        return  # one moment holds most of the events
    covers(split, len(times))
    values = np.array(times)
    assert values[split.train].max() < values[split.validation].min()
    assert values[split.validation].max() < values[split.test].min()


@settings(deadline=None)
@given(entities)
def test_entities_in_order_of_their_first_event(names):
    split = by_first(names, None)
    covers(split, len(names))
    first = [min(names.index(names[row]) for row in part) for part in split.parts]
    last = [max(names.index(names[row]) for row in part) for part in split.parts]
    assert last[0] < first[1] and last[1] < first[2]


def test_the_order_of_time_counts_not_that_of_the_file():
    split = by_first(["late", "middle", "early"], np.array([30.0, 20.0, 10.0]))
    assert [list(part) for part in split.parts] == [[2], [1], [0]]


def test_every_part_gets_its_share_of_anomalous_entities():
    names = [str(number) for number in range(100)]
    labels = np.array([number < 10 for number in range(100)], dtype=np.int8)
    split = by_entity(names, labels, 0, SplitConfig(train=0.4, validation=0.2))
    assert [int(labels[part].sum()) for part in split.parts] == [4, 2, 4]
    assert [len(part) for part in split.parts] == [40, 20, 40]


def test_a_seed_draws_the_same_parts_and_another_others():
    names = [str(number) for number in range(50)]
    labels = np.zeros(50, dtype=np.int8)
    first, again, other = (by_entity(names, labels, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test) and not np.array_equal(first.test, other.test)


def test_which_entities_are_drawn_does_not_follow_their_order():
    names = [str(number) for number in range(50)]
    assert by_entity(names, np.zeros(50, dtype=np.int8), 0).train.max() > 30


def test_overlaps_are_refused():
    rows = [np.array([0, 1]), np.array([2]), np.array([3])]
    with pytest.raises(LogfmError, match="event lies in two"):
        checked(Split(np.array([0, 1]), np.array([1]), np.array([2]), "r"))
    with pytest.raises(LogfmError, match="entity lies in two"):
        checked(Split(*rows, "r"), entities=["a", "b", "a", "c"])
    with pytest.raises(LogfmError, match="by time overlap"):
        checked(Split(*rows, "r"), times=np.array([0.0, 5.0, 5.0, 9.0]))


def test_what_cannot_be_split():
    with pytest.raises(UserError, match="three of them"):
        by_entity(["a", "b"], np.zeros(2, dtype=np.int8), 0)
    with pytest.raises(UserError, match="three of them"):
        by_first(["a", "b"], None)
    with pytest.raises(UserError, match="time of every event"):
        by_time(np.array([1.0, np.nan, 3.0]))
    with pytest.raises(UserError, match="too few different times"):
        by_time(np.ones(30))
    with pytest.raises(UserError, match="nothing for the test"):
        parse(SplitConfig, {"train": 0.7, "validation": 0.3}, "here")
