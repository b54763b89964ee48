from datetime import UTC, datetime

import pytest

from logfm.corpus.readers.schemas import schemas
from logfm.corpus.readers.text import line_formats
from logfm.corpus.times import Clock, find_time, parse_time

CLOCK = Clock(UTC, datetime(2024, 1, 5, tzinfo=UTC))
EXAMPLES = [(one, example) for one in line_formats() for example in one.spec.examples]


@pytest.mark.parametrize(("one", "example"), EXAMPLES, ids=[one.spec.name for one, _ in EXAMPLES])
def test_each_example_is_known_by_its_own_format_and_its_time_is_read(one, example):
    match = one.pattern.match(example)
    assert match is not None
    stamp = " ".join(match[name] for name in one.spec.time if name in match.groupdict() and match[name])
    assert not stamp or parse_time(stamp, CLOCK) or find_time(example, CLOCK)


def test_each_line_format_has_an_example_and_a_name_of_its_own():
    names = [one.spec.name for one in line_formats()]
    assert len(names) == len(set(names))
    assert all(one.spec.examples for one in line_formats())


def test_the_schema_that_fits_everything_comes_last():
    assert [one.schema.name for one in schemas() if not one.has] == ["any"]
    assert schemas()[-1].schema.name == "any"


@pytest.mark.parametrize("one", line_formats(), ids=lambda one: one.spec.name)
def test_patterns_stay_fast_on_hostile_lines(one):
    # Lines made to make a pattern with nested or overlapping repetition backtrack; it would not end in a lifetime.
    for unit in ("a", " ", "=", "a=b,", '"', "[", "|", "\\", "<1>", "a:", "1.", "-", "](", "x y "):
        one.pattern.match((unit * 4096)[:4096])
