"""Data sets and contestants whose scores are known beforehand."""

from collections.abc import Sequence

import numpy as np
import pytest

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.suite.task import Data


class Known:
    """A contestant that is given its vectors by a function of the text; keeps what it was given."""

    pretrained = layered = None
    hash = "known"

    def __init__(self, name, vector):
        self.name, self.vector, self.seen, self.fitted = name, vector, [], []

    def encode(self, texts: Sequence[str], fit_on: Sequence[str] = ()):
        self.seen.append(list(texts))
        self.fitted.append(list(fit_on))
        return np.array([self.vector(text) for text in texts], dtype=np.float32)


def make_data(**columns) -> Data:
    spec = DataSpec(name="made", title="t", source="s", licence="l", tasks=("search",), path="simulated:0", split="s",
                    leakage="l", options=columns.pop("options", {}))  # fmt: skip
    return Data(spec=spec, hash=columns.pop("hash", "made"), **columns)


KINDS = ("alpha", "beta", "gamma", "delta")


def one_hot(text):
    return np.eye(len(KINDS))[next(i for i, kind in enumerate(KINDS) if kind in text)]


def chance(text):
    return np.random.default_rng(list(text.encode())).normal(size=64)


@pytest.fixture
def lines():
    """96 lines of four templates; each has six wordings and each wording four lines that differ in a value."""
    verbs = ("saw", "met", "lost", "found", "heard", "left")
    texts = [f"{verbs[n % 6]} {KINDS[n // 6 % 4]} at 10.0.0.{n}" for n in range(96)]
    return make_data(texts=texts, templates=[text.split()[1] for text in texts], sources=["s"] * 96)


@pytest.fixture
def knows():
    return Known("knows", one_hot)


@pytest.fixture
def guesses():
    return Known("guesses", chance)


@pytest.fixture
def scores():
    """Metrics by condition, of a task's run."""

    def run(task, contestant, data, seed=0, **options):
        found = {}
        for one in task.run(contestant, data, seed, dict(task.META.caps) | options):
            assert one.metric in task.META.metrics
            found.setdefault(one.condition, {})[one.metric] = one
        return found

    return run
