import subprocess
import sys
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


HOSTILE = r"""
from logfm.corpus.readers.text import line_formats

UNITS = ("a", " ", "=", "a=b,", '"', "[", "|", "\\", "<1>", "a:", "1.", "-", "](", "x y ", ", ", "\t", "1", "\n", "://")
tried = 0
for one in line_formats():
    for example in one.spec.examples:
        for cut in sorted({len(example) * part // 8 for part in range(9)}):
            for unit in UNITS:
                line = (example[:cut] + unit * 65_536)[:65_536]
                one.pattern.match(line[: one.spec.reach])
                one.start.match(line[: one.spec.reach])
                tried += 1
print(tried)
"""


def test_no_pattern_runs_away_on_64_kib_of_a_hostile_line():
    # The beginning of a good line, then one piece over and over: what backtracks would not end in a lifetime. It takes
    # about a second; the time limit is there to end what hangs.
    done = subprocess.run([sys.executable, "-c", HOSTILE], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 100 * len(line_formats())


def test_a_pattern_sees_no_more_of_a_line_than_its_reach():
    assert all(one.spec.reach <= 65_536 for one in line_formats())
    assert {one.spec.name for one in line_formats() if one.spec.reach > 4096} == {"sccm"}


def test_general_formats_come_after_all_others(write, read):
    lines = ["2024-01-01 10:00:00 something happened", "2024-01-01 10:00:01 more of it"] * 3
    specific = "2018-01-16 14:10:32: (mod_auth.c.525) password does not match"
    events, _ = read(write("a.log", [*lines, specific]))
    assert all(one.timestamp for one in events)
    assert (events[-1].source, events[-1].process) == ("web", "mod_auth.c")
