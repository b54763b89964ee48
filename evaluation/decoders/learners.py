"""What learns from vectors: linear machines, votes of neighbours, small networks; each with its few settings."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from logfm.evaluation.vectors import Matrix
from logfm.extras import require

Floats = NDArray[np.float64]
Labels = NDArray[np.bool_]
Scorer = Callable[[Matrix], Floats]
"""Vectors (n, width) to a score of each label, float64 (n, labels)."""

Learner = Callable[[Matrix, Labels, bool, int], Iterator[Scorer]]
"""From vectors of train, its labels (n, labels), whether each row has one label, and a seed: a scorer a setting."""


def linear_svm(vectors: Matrix, labels: Labels, one: bool, seed: int) -> Iterator[Scorer]:
    """Linear support vector machines, one a label against the rest; C of 0.1, 1 and 10, classes weighted or not."""
    machine = require("sklearn.svm", "embed").LinearSVC
    for cost in (0.1, 1.0, 10.0):
        for weight in ("balanced", None):
            make = partial(machine, C=cost, class_weight=weight, random_state=seed, max_iter=3000)
            yield _one_against_rest(make, vectors, labels)


def logistic(vectors: Matrix, labels: Labels, one: bool, seed: int) -> Iterator[Scorer]:
    """A multi-label head: a logistic regression a label over standardised vectors, C of 0.01, 0.1 and 1."""
    regression = require("sklearn.linear_model", "embed").LogisticRegression
    scale = _scaler(vectors)
    for cost in (0.01, 0.1, 1.0):
        make = partial(regression, C=cost, class_weight="balanced", max_iter=500, random_state=seed)
        yield _composed(_one_against_rest(make, scale(vectors), labels), scale)


def network(vectors: Matrix, labels: Labels, one: bool, seed: int) -> Iterator[Scorer]:
    """A multi-label head with one hidden layer of 128, stopped early on a tenth of train."""
    perceptron = require("sklearn.neural_network", "embed").MLPClassifier
    scale = _scaler(vectors)
    target = labels.argmax(axis=1) if one else labels
    for alpha in (1e-4, 1e-1):
        model = perceptron((128,), alpha=alpha, early_stopping=len(labels) >= 50, max_iter=200, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(scale(vectors), target)
            except ValueError:
                # Too few rows of a class for a stratified tenth.
                model.set_params(early_stopping=False, max_iter=60).fit(scale(vectors), target)
        yield _composed(partial(_probabilities, model, labels.shape[1], one), scale)


def neighbours(vectors: Matrix, labels: Labels, one: bool, seed: int) -> Iterator[Scorer]:
    """Votes of the 1, 3, 5, 10 or 20 nearest cases of train by cosine, weighted by it."""
    known = _unit(vectors)
    for size in (1, 3, 5, 10, 20):
        if size <= len(labels):
            yield _composed(partial(_votes, known, labels, size), _unit)


def _composed(score: Scorer, change: Callable[[Matrix], Matrix]) -> Scorer:
    return lambda other: score(change(other))


def _votes(known: Matrix, labels: Labels, size: int, other: Matrix) -> Floats:
    found = np.zeros((other.shape[0], labels.shape[1]))
    for start in range(0, other.shape[0], 512):
        near = other[start : start + 512] @ known.T
        near = np.asarray(near.todense() if hasattr(near, "todense") else near, dtype=np.float64)
        # Equal ones in the order of train, whatever the sorting does.
        order = np.argsort(-near, axis=1, kind="stable")[:, :size]
        weight = np.take_along_axis(near, order, axis=1).clip(min=1e-9)
        found[start : start + 512] = (weight[:, :, None] * labels[order]).sum(axis=1) / weight.sum(axis=1)[:, None]
    return found


def _one_against_rest(make: Callable[[], Any], vectors: Matrix, labels: Labels) -> Scorer:
    """A model a label; a label that all or none of the rows have gets +inf or -inf for everything."""
    models: list[Any] = []
    for column in labels.T:
        if column.all() or not column.any():
            models.append(None)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models.append(make().fit(vectors, column))

    def score(other: Matrix) -> Floats:
        found = np.full((other.shape[0], len(models)), -np.inf)
        for place, model in enumerate(models):
            if model is not None:
                found[:, place] = model.decision_function(other)
            elif labels[:, place].all():
                found[:, place] = np.finfo(np.float64).max
        return found

    return score


def _probabilities(model: Any, labels: int, one: bool, vectors: Matrix) -> Floats:
    found = np.asarray(model.predict_proba(vectors), dtype=np.float64)
    if not one:
        # With a single label the network gives one column for each of "no" and "yes".
        return found if found.shape[1] == labels else found[:, 1:]
    scores = np.full((len(found), labels), -np.inf)
    scores[:, model.classes_] = found
    return scores


def _scaler(vectors: Matrix) -> Callable[[Matrix], Matrix]:
    if hasattr(vectors, "todense"):
        return lambda other: other
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
    return lambda other: (other - centre) / spread


def _unit(vectors: Matrix) -> Matrix:
    return require("sklearn.preprocessing", "embed").normalize(vectors)
