"""What a leaky split does to F1: the same head and encoder, beside an honest one.

Overlapping windows are cut over each group's events. Shuffled and then split, a test window's neighbours, which share
events and the answer with it, lie in train. Split by whole groups first, none does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from logfm.configs.base import parse
from logfm.configs.schema.anomaly import LeakyOptions, SplitConfig
from logfm.configs.schema.evaluation import StatisticsConfig
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import columns_of, unit_of
from logfm.evaluation.anomaly.heads import dense, mean_vectors
from logfm.evaluation.anomaly.metrics import METRICS, measure, need_both, thresholds
from logfm.evaluation.anomaly.plain import EVERYTHING
from logfm.evaluation.anomaly.reporting import PREFIX, noted
from logfm.evaluation.anomaly.splits import by_entity, by_first
from logfm.evaluation.anomaly.trained import logistic
from logfm.evaluation.anomaly.windows import Columns, Rows, Sequences, by_count
from logfm.evaluation.suite.task import Contestant, Data, Measurement

META = TaskMeta(
    name="leaky",
    title="How much F1 does a leaky split make up?",
    paper="A demonstration: random splits of windows, as criticised by Le and Zhang (ICSE 2022)",
    split="The same windows under two rules: shuffled one by one (leaky), and whole groups (honest, drawn, and in the "
    "order of their first events).",
    leakage="The condition `leaky` leaks on purpose and is no result; `shared` says how many of its test windows share "
    "an event with train.",
    main_score="f1",
    metrics=METRICS | {"shared": "neither", "inflation": "neither"},
    minutes=1,
    caps={"windows": 12_000},
    lead="honest",
)
OPTIONS = LeakyOptions
IN_ORDER = "honest, in order"
"""Left out where anomalies cluster in time, so that a part of it holds one class only."""
LEADING, NEIGHBOUR = "logistic regression on mean vectors", "nearest neighbour"
"""Heads; the first one's conditions are the splits alone."""
_SHOWN = ("f1", "precision", "recall", "pr_auc", "roc_auc", "prevalence")


def run(contestant: Contestant, data: Data, seed: int, options: Mapping[str, Any]) -> Iterator[Measurement]:
    """Measure two heads under each split, and alerts on everything; `inflation` is a head's leaky F1 less its honest
    one.

    Raises:
        UserError: no labels or groups, or one class only in a part.
    """
    config = parse(OPTIONS, dict(options), "options of the task leaky")
    if data.groups is None:
        raise UserError("this task needs groups", data.spec.name, "Take a data set that has them.")
    columns = replace(columns_of(data, unit_of(data)), entities=data.groups)
    windows = _windows(columns, config, seed)
    need_both(windows.labels, "the data")
    f1: dict[str, float] = {}
    for split, parts in _splits(windows, columns, seed, config.split).items():
        if split == IN_ORDER and any(part.labels.sum() in (0, len(part)) for part in parts):
            continue
        for measurement in _measured(split, parts, contestant, data, seed, config):
            if measurement.metric == "f1":
                f1[measurement.condition] = measurement.value
            yield measurement
    for head, behind in ((LEADING, ""), (NEIGHBOUR, f", {NEIGHBOUR}")):
        leaky, honest = f1[f"leaky{behind}"], f1[f"honest{behind}"]
        note = f"{head}: F1 {leaky:.3f} under the leaky split, {honest:.3f} under the honest one"
        yield Measurement("inflation", leaky - honest, count=len(windows), condition=f"leaky{behind}", note=note)


def _windows(columns: Columns, config: LeakyOptions, seed: int) -> Sequences:
    """Windows of whole groups, at most `config.windows` of them."""
    every = by_count(np.arange(len(columns.labels)), columns, config.window, config.stride)
    if config.windows is None or len(every) <= config.windows:
        return every
    names = np.unique(np.asarray(every.clusters, dtype=object))
    sizes = dict.fromkeys(names, 0)
    for cluster in every.clusters:
        sizes[cluster] += 1
    kept: set[str] = set()
    room = config.windows
    for name in np.random.default_rng(seed).permutation(names):
        if sizes[name] > room:
            break
        kept.add(name)
        room -= sizes[name]
    return every.take(np.array([cluster in kept for cluster in every.clusters]))


def _splits(
    windows: Sequences, columns: Columns, seed: int, config: SplitConfig
) -> dict[str, tuple[Sequences, Sequences, Sequences]]:
    """Train, validation and test under each rule."""
    order = np.random.default_rng(seed).permutation(len(windows))
    cuts = (np.cumsum([config.train, config.validation]) * len(order)).astype(int)
    leaky = np.split(order, cuts)
    times = None if columns.times is None else np.array([columns.times[rows].min() for rows in windows.rows])
    found: dict[str, tuple[Rows, Rows, Rows]] = {
        "leaky": (leaky[0], leaky[1], leaky[2]),
        "honest": by_entity(windows.clusters, windows.labels, seed, config).parts,
        IN_ORDER: by_first(windows.clusters, times, config).parts,
    }
    return {
        name: (windows.take(one), windows.take(two), windows.take(three)) for name, (one, two, three) in found.items()
    }


def _measured(
    split: str,
    parts: tuple[Sequences, Sequences, Sequences],
    contestant: Contestant,
    data: Data,
    seed: int,
    config: LeakyOptions,
) -> Iterator[Measurement]:
    train, validation, test = parts
    for part, name in zip(parts, ("train", "validation", "test"), strict=True):
        need_both(part.labels, f"the {name} part ({split})")
    fit_rows = np.unique(train.events)
    vectors = dense(contestant.encode(data.texts, fit_on=[data.texts[row] for row in fit_rows]), fit_rows)
    means = [mean_vectors(part, vectors) for part in parts]
    known = set(train.events.tolist())
    shared = np.mean([any(int(row) in known for row in rows) for rows in test.rows])
    yield Measurement("shared", float(shared), count=len(test), condition=split)
    neighbours = [_neighbours(means[0], train.labels, judged) for judged in means[1:]]
    for condition, head, scores in (
        (split, LEADING, logistic(means[0], train.labels, *means[1:])),
        (f"{split}, {NEIGHBOUR}", NEIGHBOUR, neighbours),
        (f"{PREFIX}{EVERYTHING}, {split}", "no encoder", [np.zeros(len(part)) for part in parts[1:]]),
    ):
        limits = thresholds(scores[0], validation.labels)
        for one in measure(
            scores[1],
            test.labels,
            test.clusters,
            limits,
            statistics=StatisticsConfig(resamples=config.resamples),
            seed=seed,
            condition=condition,
            note=noted("leaks on purpose: no result" if split == "leaky" else "", head),
        ):
            if one.metric in _SHOWN:
                yield one


def _neighbours(train: Any, labels: Any, judged: Any) -> Any:
    """How much nearer the nearest anomalous train window is than the nearest normal one, float64 (windows,)."""
    from logfm.embeddings.heads.pairs import nearest

    return nearest(judged, train[labels == 0]) - nearest(judged, train[labels > 0])
