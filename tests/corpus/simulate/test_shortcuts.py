"""The benchmark that measures the simulator: chunks of views, figures, intervals, tables."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from logfm.corpus.simulate.records import Record, Truth

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def shortcuts() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("simulate_shortcuts")
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def sessions(shortcuts: ModuleType) -> list:
    """Two sessions of 140 events in two sources; each 20th is an attack's, of the browser."""
    rng = np.random.default_rng(0)
    return [
        tuple(
            shortcuts.Line(
                float(number), "browser" if number % 4 == 0 else "windows",
                ("steal cookie " if number % 20 == 0 else "read page ") + "x" * int(rng.integers(1, 40)),
                frozenset({"T1539.001"}) if number % 20 == 0 else frozenset(),
            )
            for number in range(140)
        )
        for _ in range(2)
    ]  # fmt: skip


def test_chunks_of_a_view_are_of_its_own_events(shortcuts: ModuleType, sessions: list) -> None:
    chunks = shortcuts.cut(sessions, ("browser",), 2.0, 0)
    assert len(chunks) == 10
    assert all(one.text.count("\n") == shortcuts.CHUNK - 1 for one in chunks)
    assert all(one.techniques == {"T1539"} and "steal" in one.text for one in chunks)
    system = shortcuts.cut(sessions, ("windows",), 2.0, 0)
    # What only the browser shows is no label of the system's events.
    assert not [one for one in system if one.techniques]


def test_the_largest_area_is_that_of_any_subset(shortcuts: ModuleType, sessions: list) -> None:
    chunks = shortcuts.cut(sessions, ("browser", "windows"), 2.0, 0)
    found = shortcuts.features_auc(chunks, chunks)
    assert found["largest"] == max(found[name] for name in ("all", "without the hour", "lengths"))


def test_an_area_has_an_interval_over_sessions(shortcuts: ModuleType) -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.random(400) < 0.4, rng.integers(0, 20, 400).astype(float)
    scores[labels] += 3
    many, few = list(range(400)), [number // 40 for number in range(400)]
    area, low, high = shortcuts.auc_interval(labels, scores, many)
    assert area == pytest.approx(roc_auc_score(labels, scores))
    assert low < area < high and high - low < 0.2
    # Where each session is of one kind, what a session gives is drawn as a whole.
    labels = np.arange(400) // 40 % 2 == 0
    scores = np.repeat(rng.random(10), 40) + labels
    assert np.ptp(shortcuts.auc_interval(labels, scores - labels, few)[1:]) > 0.2


def test_a_placebo_marks_whole_activities_and_changes_nothing(shortcuts: ModuleType) -> None:
    truths = [Truth() for _ in range(10)]
    records = [Record(time, "web/access.log", f"line {time}", truths[time % 10]) for time in range(50)]
    found = shortcuts.marked(records, 12, Random(0))
    assert [one.body for one in found] == [one.body for one in records]
    taken = {one.time % 10 for one in found if one.truth.techniques}
    assert sum(bool(one.truth.techniques) for one in found) == 15 and len(taken) == 3
    assert shortcuts.marked(records, 0, Random(0)) == records


def test_the_learning_curve_counts_sessions(shortcuts: ModuleType, sessions: list) -> None:
    train = [chunk for seed in (9, 3) for chunk in shortcuts.cut(sessions * 4, ("browser", "windows"), 2.0, seed)]
    curve = shortcuts.learning_curve(train, train, ["T1539"])
    assert [count for count, _ in curve] == [4, 8, 12, 16]
    assert curve[-1][1] > 0.9


def test_an_interval_is_over_groups(shortcuts: ModuleType) -> None:
    texts = importlib.import_module("simulate_texts")
    wanted = np.ones((100, 1), dtype=int)
    found = np.repeat([[1], [0]], 50, axis=0)
    wide = texts.interval(wanted, found, [number // 50 for number in range(100)])
    narrow = texts.interval(wanted, found, list(range(100)))
    assert wide == [0.0, 1.0]
    assert 0.5 < narrow[0] < 2 / 3 < narrow[1] < 0.8


def test_a_technique_that_is_not_shown_counts_as_zero(shortcuts: ModuleType) -> None:
    texts = importlib.import_module("simulate_texts")
    both = (["steal cookie now"] * 20 + ["read page now"] * 20, [frozenset({"T1"})] * 20 + [frozenset()] * 20)
    groups = list(range(40))
    scores = texts.techniques_f1(both, both, groups, ["T1", "T2"])
    assert scores["techniques"] == {"T1": 1.0, "T2": 0.0} and scores["macro_f1"] == 0.5
    assert scores["classes"] == 2 and scores["strongest"]["T1"][0] in ("steal", "cookie")


def test_the_figures_become_tables(shortcuts: ModuleType) -> None:
    report = importlib.import_module("simulate_report")
    score = {"macro_f1": 0.25, "interval": [0.2, 0.3], "classes": 1, "chunks": [1, 1], "techniques": {"T1": 0.25},
             "strongest": {"T1": ["steal"]}}  # fmt: skip
    lines = {"lines": 3, "length": [1, 2, 3], "duplicates": 0.5}
    text = report.markdown(
        {
            "seeds": [[1, 2], 3],
            "attack sessions": [4, 2],
            "attack chunks": [40, 20],
            "features": {"largest": [0.6, 0.55, 0.65]},
            "placebo": {"largest": [0.57, 0.5, 0.63]},
            "all three": score,
            "otrf": score | {"classes": 11},
            "learning curve": [[44, 0.1]],
            "statistics": {"Linux, simulated": lines, "Linux, Loghub": lines},
        }
    )
    assert "| largest | 0.6 | 0.55 to 0.65 | 0.57 | 0.5 to 0.63 |" in text
    assert "| OTRF | 0.25 | 0.2 to 0.3 | 11 |" in text
    assert "| T1 | 0.25 | `steal` |" in text and "| 44 | 0.1 |" in text
    assert "| Linux, simulated | 3 | 1, 2, 3 | 0.5 |" in text
