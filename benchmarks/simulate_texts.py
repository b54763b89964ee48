"""TF-IDF and a linear SVM over chunks of logs, with intervals; the OTRF captures; statistics of lines."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from logfm.corpus.events import Event
from logfm.corpus.read import read_events

CHUNK = 7
"""Consecutive events of a chunk, as in the multi-source paper."""
LEAST = 15
"""Chunks that a technique must have on both sides to be counted."""
WORDS = r"[A-Za-z_][A-Za-z0-9_]+|\b\d{1,4}\b"
"""What TF-IDF counts: words and small numbers; ports of clients and serial numbers are noise."""
DRAWS = 1000
"""Resamples of an interval."""


def parents(techniques: Iterable[str]) -> frozenset[str]:
    """Techniques without their sub-techniques: single captures of those are too few."""
    return frozenset(name.split(".")[0] for name in techniques)


def classes_of(train: Sequence[frozenset[str]], test: Sequence[frozenset[str]], least: int = LEAST) -> list[str]:
    """The techniques that enough chunks of both sets have."""
    counts = [Counter(name for names in labels for name in names) for labels in (train, test)]
    return sorted(name for name in counts[0] if min(one[name] for one in counts) >= least)


def table(labels: Sequence[frozenset[str]], classes: Sequence[str]) -> np.ndarray:
    """Labels as zeros and ones, [len(labels), len(classes)]."""
    return np.array([[name in names for name in classes] for names in labels], dtype=int).reshape(-1, len(classes))


def techniques_f1(
    train: tuple[Sequence[str], Sequence[frozenset[str]]], test: tuple[Sequence[str], Sequence[frozenset[str]]],
    groups: Sequence[object], classes: Sequence[str] | None = None, least: int = LEAST,
) -> dict[str, Any]:  # fmt: skip
    """Macro F1 over techniques, one linear SVM each on TF-IDF, fitted on `train` and judged on `test` (texts, labels).

    `classes` are those that enough chunks of both have, if not given; one that `train` lacks counts as 0. `groups`
    has the session or capture of each text of `test`: the interval resamples these.
    """
    counted = list(classes) if classes is not None else classes_of(train[1], test[1], least)
    known = [name for name, count in zip(counted, table(train[1], counted).sum(axis=0), strict=True) if count]
    vectors = TfidfVectorizer(token_pattern=WORDS, min_df=3, max_features=40_000, sublinear_tf=True)
    rows = vectors.fit_transform(train[0])
    model = OneVsRestClassifier(LinearSVC(class_weight="balanced", tol=0.01), n_jobs=-1).fit(
        rows, table(train[1], known)
    )
    wanted, found = table(test[1], counted), np.zeros((len(test[0]), len(counted)), dtype=int)
    found[:, [counted.index(name) for name in known]] = model.predict(vectors.transform(test[0])).reshape(
        -1, len(known)
    )
    scores = 2 * (wanted * found).sum(axis=0) / np.maximum(1, (wanted + found).sum(axis=0))
    words = vectors.get_feature_names_out()
    strongest = {name: [str(words[at]) for at in np.argsort(-one.coef_[0])[:6]]
                 for name, one in zip(known, model.estimators_, strict=True)}  # fmt: skip
    return {
        "macro_f1": round(float(np.mean(scores)), 3),
        "interval": interval(wanted, found, groups),
        "classes": len(counted),
        "chunks": [len(train[0]), len(test[0])],
        "techniques": {name: round(float(score), 3) for name, score in zip(counted, scores, strict=True)},
        "strongest": strongest,
    }


def interval(wanted: np.ndarray, found: np.ndarray, groups: Sequence[object]) -> list[float]:
    """The 95 % interval of macro F1 (zeros and ones, [N, classes]) when whole groups are drawn with replacement.

    A class that no drawn group has is left out of its draw.
    """
    order = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    at = np.array([order[group] for group in groups])
    counts = np.zeros((3, len(order), wanted.shape[1]))
    for number, cells in enumerate((wanted * found, wanted, found)):
        np.add.at(counts[number], at, cells)
    rng = np.random.default_rng(0)
    means = []
    for _ in range(DRAWS):
        hit, there, given = counts[:, rng.integers(0, len(order), len(order))].sum(axis=1)
        scores = 2 * hit[there > 0] / (there + given)[there > 0]
        means.append(float(scores.mean()) if len(scores) else 0.0)
    return [round(float(value), 3) for value in np.quantile(means, (0.025, 0.975))]


def otrf(data: Path) -> tuple[dict[str, Any], list[str]]:
    """The same pipeline on the OTRF captures of Windows hosts; and some of their events.

    A capture's techniques are its chunks' labels; the split and the interval are by capture.
    """
    folder = data / "otrf_security_datasets"
    with (folder / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["techniques"] and row["archive"].startswith("windows/")]
    texts: list[list[str]] = [[], []]
    labels: list[list[frozenset[str]]] = [[], []]
    captures: list[str] = []
    lines: list[str] = []
    order: Counter[str] = Counter()
    for row in rows:
        names = parents(row["techniques"].split(";"))
        side = int(order[min(names)] % 3 == 1)
        order[min(names)] += 1
        events = [one.text for one in islice(read_events([folder / row["archive"]]), 2000) if isinstance(one, Event)]
        lines += events[:200]
        for start in range(0, len(events) - CHUNK + 1, CHUNK):
            texts[side].append("\n".join(events[start : start + CHUNK]))
            labels[side].append(names)
            captures += [row["archive"]] if side else []
    found = techniques_f1((texts[0], labels[0]), (texts[1], labels[1]), captures)
    return found | {"captures": [len(rows) - len(set(captures)), len(set(captures))]}, lines


def windows_statistics(texts: Sequence[str]) -> dict[str, Any]:
    """Statistics of Windows events (JSON objects): types and fields, lengths, duplicates."""
    records = [json.loads(text) for text in texts if text.startswith("{")]
    types = Counter(str(one.get("EventID")) for one in records)
    return text_statistics(texts) | {
        "types": len(types),
        "most frequent": dict(types.most_common(6)),
        "fields": round(float(np.median([len(one) for one in records])), 1),
    }


def text_statistics(texts: Sequence[str]) -> dict[str, Any]:
    """Lengths of lines (characters) and the share of lines that repeat another one, digits left out."""
    lengths = [len(text) for text in texts]
    masked = {"".join("0" if char.isdigit() else char for char in text) for text in texts}
    quarters = [int(value) for value in np.quantile(lengths, (0.1, 0.5, 0.9))]
    return {"lines": len(texts), "length": quarters, "duplicates": round(1 - len(masked) / len(texts), 3)}
