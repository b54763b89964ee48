"""What a head's scores are worth: area under the precision-recall curve, thresholds, F1."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.finetune import TrainingConfig
from logfm.extras import require

Floats: TypeAlias = NDArray[np.floating[Any]]
Labels: TypeAlias = NDArray[np.int64]


def pr_auc(probabilities: Floats, labels: Labels) -> float:
    """Average precision of "not the first class" (two classes), else the mean over the classes that occur.

    `probabilities` is (n, classes), `labels` int (n,).
    """
    average_precision = require("sklearn.metrics", "embed").average_precision_score
    if probabilities.shape[1] == 2:
        return float(average_precision(labels == 1, probabilities[:, 1]))
    found = [average_precision(labels == one, probabilities[:, one]) for one in np.unique(labels)]
    return float(np.mean(found))


def choose_threshold(scores: Floats, attack: NDArray[np.bool_], config: TrainingConfig) -> float:
    """The threshold that the rule of `config` sets on validation scores (n,); what lies above it is called an attack.

    It lies half-way between two scores, so that rounding doesn't move anything across it.
    """
    values, places = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    borders = np.concatenate(([values[0] - 1e-6], (values[:-1] + values[1:]) / 2, [values[-1] + 1e-6]))
    right = _above(places[attack], len(values))
    wrong = _above(places[~attack], len(values))
    if config.threshold == "max_f1":
        return float(borders[int(np.argmax(2 * right / (right + wrong + attack.sum())))])
    return float(borders[int(np.argmax(wrong <= int(config.false_positive_rate * wrong[0])))])


def _above(places: NDArray[np.int64], values: int) -> NDArray[np.int64]:
    """How many scores lie above each border, the lowest border first; int64 (values + 1,)."""
    counts = np.bincount(places, minlength=values)
    return np.append(counts[::-1].cumsum()[::-1], 0)


def f1(called: NDArray[np.bool_], attack: NDArray[np.bool_]) -> float:
    """The harmonic mean of precision and recall; 0 where nothing is right."""
    right = int((called & attack).sum())
    return 2 * right / (int(called.sum()) + int(attack.sum())) if right else 0.0


def measures(probabilities: Floats, labels: Labels, threshold: float, names: tuple[str, ...]) -> dict[str, Any]:
    """Figures of one set, for a manifest.

    Two classes: PR-AUC beside the share of attacks (what a random order reaches), precision, recall and F1 at the
    threshold. More: PR-AUC and F1 as means over classes. Both: accuracy beside that of the most frequent class.
    """
    found: dict[str, Any] = {"sequences": len(labels), "pr_auc": round(pr_auc(probabilities, labels), 4)}
    counts = np.bincount(labels, minlength=len(names))
    found["classes"] = {name: int(count) for name, count in zip(names, counts, strict=True)}
    if len(names) == 2:
        called, attack = probabilities[:, 1] > threshold, labels == 1
        right = int((called & attack).sum())
        found["attack_share"] = round(float(attack.mean()), 4)
        found["precision"] = round(right / max(1, int(called.sum())), 4)
        found["recall"] = round(right / max(1, int(attack.sum())), 4)
        found["f1"] = round(f1(called, attack), 4)
        predicted = called.astype(np.int64)
    else:
        predicted = probabilities.argmax(axis=1)
        found["macro_f1"] = round(float(np.mean([f1(predicted == one, labels == one) for one in np.unique(labels)])), 4)
    found["accuracy"] = round(float((predicted == labels).mean()), 4)
    found["majority_accuracy"] = round(float(counts.max() / len(labels)), 4)
    return found
