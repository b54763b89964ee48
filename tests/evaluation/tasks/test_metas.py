"""What tasks say of themselves, and what the documentation says of the suite `local`."""

import re
from pathlib import Path

import pytest

from logfm.configs import Config
from logfm.evaluation.suite.registry import registry

DOCUMENT = Path(__file__).parents[3] / "docs" / "evaluation.md"
MOST_MINUTES = 60
PLAIN = "no encoder"


@pytest.fixture(scope="module")
def known():
    return registry()


@pytest.fixture(scope="module")
def local(known):
    return known.suites["local"]


@pytest.fixture(scope="module")
def table():
    """Rows of the documentation's table by task: minutes, seeds, baselines."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.read_text().splitlines()]
    return {row[0].strip("`"): row[1:] for row in rows if len(row) == 4 and re.fullmatch(r"`[a-z]+`", row[0])}


def test_the_tasks_of_local_fit_into_its_hour(known, local):
    assert sum(known.tasks[name].META.minutes for name in local.tasks) <= MOST_MINUTES


def test_the_documentation_tells_minutes_and_seeds_of_each_task(known, local, table):
    told = {name: (float(row[0]), int(row[1])) for name, row in table.items()}
    assert told == {
        name: (known.tasks[name].META.minutes, options.get("seeds", local.seeds))
        for name, options in local.tasks.items()
    }


def test_the_documentation_tells_the_baselines_of_each_task(known, local, table):
    for name, options in local.tasks.items():
        task = known.tasks[name]
        if task.META.pretrained:
            assert table[name][2].startswith("none")
            continue
        told = {one.strip().strip("`") for one in table[name][2].split(",")}
        plain = {PLAIN} if "baselines" in getattr(task, "OPTIONS", Config).model_fields else set()
        assert told == {*options.get("baselines", local.baselines), *plain}, name
