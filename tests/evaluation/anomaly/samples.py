"""Small data sets with planted anomalies, and contestants that keep a record of what they were given."""

import hashlib
from dataclasses import replace

import numpy as np

from logfm.configs.schema.suite import DataSpec
from logfm.evaluation.anomaly import plain
from logfm.evaluation.suite.task import Data

SECRET = "tellsitall"
IN_TIME = {"unit": "count", "window_events": 6, "split_by": "time"}
"""Options of a data set whose split no label has a part in."""
BASELINES = {f"baseline {name}" for name in ("new-template", "length", "ngram", "count-nearest", "count-pca")}
"""Conditions of the detectors without an encoder, where there are no Sigma rules."""
PLAIN = BASELINES | {plain.CHOSEN}
"""Those, and the one of them that validation chose."""
EVERYTHING = f"baseline {plain.EVERYTHING}"
"""Condition of the constant answer, in tasks that F1 leads."""


def spec(name="planted", **options):
    return DataSpec(
        name=name,
        title="t",
        source="s",
        licence="l",
        tasks=("anomaly",),
        path="simulated:1",
        split="s",
        leakage="l",
        options=options,
    )


def data(texts, labels, **columns):
    options = columns.pop("options", {})
    times = columns.pop("times", None)
    return Data(
        spec=spec(**options),
        hash=hashlib.sha256(repr((texts, list(labels), options)).encode()).hexdigest(),
        texts=list(texts),
        labels=np.array(labels, dtype=np.int8),
        times=None if times is None else np.array(times, dtype=np.float64),
        **columns,
    )


def blocks(groups=60, every=5, options=None, shared="", seed=0):
    """Groups of six lines; every fifth of them holds two lines of a kind of its own, one a minute."""
    rng = np.random.default_rng(seed)
    texts, labels, names, times, classes = [], [], [], [], []
    for group in range(groups):
        bad = group % every == every - 1
        for event in range(6):
            text = f"block {group} event {event} copied {rng.integers(1000)} bytes from node"
            if bad and event in (2, 4):
                text = f"block {group} exception while writing, disk {rng.integers(1000)} is on fire"
            texts.append(text + shared)
            labels.append(int(bad))
            names.append(f"g{group}")
            times.append(60.0 * (group * 6 + event))
            classes.append(SECRET if bad else "")
    return data(texts, labels, groups=names, times=times, classes=classes, options=options or {})


class Words:
    """Counts of hashed words: an encoder that is fitted on nothing."""

    name, hash, pretrained, layered = "words", "w", None, None

    def __init__(self):
        self.texts, self.fitted = [], []

    def encode(self, texts, fit_on=()):
        self.texts += texts
        self.fitted += fit_on
        found = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                if word.isalpha():
                    found[row, int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "little") % 64] += 1
        return found


class Tfidf(Words):
    """Sparse vectors, fitted on what it may be fitted on."""

    name, hash = "tfidf", "t"

    def encode(self, texts, fit_on=()):
        from logfm.evaluation.baselines import tfidf

        super().encode(texts, fit_on)
        return tfidf(fit_on)(texts)


def unlike(given, sequences):
    """The data with these sequences (lists of rows) as copies of nothing: their texts get words that no other has."""
    texts = list(given.texts)
    for rows in sequences:
        for row in rows:
            texts[row] += " without precedent"
    return replace(given, texts=texts, hash=hashlib.sha256(repr(texts).encode()).hexdigest())


def by(rows, metric):
    """Values of one metric, by condition."""
    return {row.condition: row.value for row in rows if row.metric == metric}
