"""Small tasks, data sets and encoders, for tests of what goes round them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from logfm.configs.schema.suite import DataSpec, SuiteSpec, TaskMeta
from logfm.errors import UserError
from logfm.evaluation.stats import cluster_draws, mean_estimate
from logfm.evaluation.suite.registry import Registry
from logfm.evaluation.suite.task import Data, Measurement

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


class Lengths:
    """An encoder of one's own (`py:`): a vector of counted letters; it notes the calls."""

    name = "lengths"
    dim = 4

    def __init__(self, hash="lengths", fails_after=None):
        self.hash = hash
        self.fails_after = fails_after
        self.calls = []

    def encode(self, texts):
        if self.fails_after is not None and len(self.calls) >= self.fails_after:
            raise RuntimeError("the model ran away\nwith a second line")
        self.calls.append(list(texts))
        return np.array([[len(text), text.count("a"), text.count("e"), 1.0] for text in texts], dtype=np.float32)


def lines(count=24):
    return [f"service {WORDS[row % len(WORDS)]} did thing {row}" for row in range(count)]


def data_of(spec, texts=None):
    texts = texts or lines()
    templates = [text.split()[1] for text in texts]
    return Data(spec, f"hash of {spec.name}", texts, templates, labels=np.arange(len(texts), dtype=np.int8) % 2)


def meta(name, **more):
    settings = {
        "title": f"Is {name} right?",
        "paper": "none",
        "split": "none",
        "leakage": "nothing",
        "main_score": "score",
        "metrics": {"score": "higher", "extra": "neither"},
        "minutes": 1,
        "caps": {"rows": 10},
    }
    return TaskMeta.model_validate({"name": name} | settings | more)


def spec(name, tasks=("first",), path="simulated:1", role="results"):
    return DataSpec(
        name=name, title="lines", source="made here", licence="none", role=role, tasks=tasks, path=path,
        split="none", leakage="nothing",
    )  # fmt: skip


def measuring(name, score, **more):
    """A task whose score is the mean of `score(vectors, row)` over the lines, with replicates by template."""

    def run(contestant, data, seed, options):
        vectors = contestant.encode(data.texts, fit_on=data.texts)
        dense = np.asarray(vectors.todense() if hasattr(vectors, "todense") else vectors, dtype=np.float64)
        values = score(dense, np.random.default_rng(seed))
        _, codes = np.unique(data.templates, return_inverse=True)
        draws = cluster_draws(int(codes.max()) + 1, 200, seed)
        found = mean_estimate(values, codes, draws, 0.95)
        yield Measurement.of("score", found, len(values), note=str(options.get("rows", "no cap")))
        yield Measurement("extra", float(seed), count=len(values))

    return SimpleNamespace(META=meta(name, **more), run=run)


def failing(name, error):
    def run(contestant, data, seed, options):
        contestant.encode(data.texts, fit_on=data.texts)
        yield Measurement("score", 1.0, count=1)
        raise error

    return SimpleNamespace(META=meta(name), run=run)


def registry(tasks, data=None, suite=None, **more):
    data = data or [spec("lines", tuple(task.META.name for task in tasks))]
    names = {task.META.name: {} for task in tasks}
    shape = SuiteSpec.model_validate(
        {"name": "small", "title": "a test", "tasks": names, "seeds": 2} | more | (suite or {})
    )

    def load(one, folder, rows):
        if one.path.startswith("simulated:"):
            return data_of(one)
        if folder is None or not (Path(folder) / one.path).is_file():
            raise UserError(f"the data set {one.name} is not at hand", f"{folder}/{one.path}")
        return data_of(one, (Path(folder) / one.path).read_text().splitlines()[:rows])

    known = {task.META.name: task for task in tasks}
    return Registry(known, {one.name: one for one in data}, {"small": SuiteSpec.model_validate(shape)}, load)
