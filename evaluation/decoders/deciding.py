"""From scores of labels to answers: thresholds and the like, chosen on validation alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from logfm.finetune.decoder.answers import Slot
from logfm.finetune.decoder.scoring import best_threshold, label_figures, ratio, set_figures

Floats = NDArray[np.float64]
_GRID = 60
_STEPS = 15
_FEWEST = 5


@dataclass(frozen=True)
class Decision:
    """How scores (n, labels) become labels. `worth` is what it reaches on validation, in [0, 1]."""

    slot: Slot
    threshold: float
    at_least_one: bool
    attack: int | None
    """Column of the label that needs the threshold, in a slot of two labels."""
    worth: float
    offsets: tuple[float, ...] = ()
    """Added to the scores of a slot of several labels; none by default."""

    def labels(self, scores: Floats) -> list[tuple[str, ...]]:
        """The labels of each row."""
        names = self.slot.labels
        if self.slot.kind == "one":
            columns = (scores + np.array(self.offsets) if self.offsets else scores).argmax(axis=1)
            if self.attack is not None:
                margin = scores[:, self.attack] - scores[:, 1 - self.attack]
                columns = np.where(margin > self.threshold, self.attack, 1 - self.attack)
            return [(names[column],) for column in columns]
        chosen = _chosen(scores, self.threshold, self.at_least_one)
        return [tuple(names[column] for column in np.flatnonzero(row)) for row in chosen]


def decide(slot: Slot, scores: Floats, truth: Sequence[Sequence[str]], attack: str = "suspicious") -> Decision:
    """The best rule on validation: `scores` (n, labels in the slot's order, -inf for what can't be), `truth` n rows.

    Two labels, `attack` among them: the threshold with the highest mean of F1 and MCC. Several: the highest score, with
    what is added to each label's (see `offsets_of`). Sets: the threshold, and whether there is always one label, with
    the highest mean Jaccard.
    """
    if slot.kind == "one":
        return _decide_one(slot, scores, [labels[0] for labels in truth], attack)
    wanted = np.array([[label in labels for label in slot.labels] for labels in truth], dtype=bool)
    finite = scores[np.isfinite(scores)]
    grid = np.unique(np.quantile(finite, 1 - np.geomspace(1e-4, 0.5, _GRID))) if finite.size else np.zeros(1)
    best = Decision(slot, float("inf"), True, None, -1.0)
    for always in (True, False):
        for threshold in grid:
            worth = _jaccard(_chosen(scores, float(threshold), always), wanted)
            if worth > best.worth:
                best = Decision(slot, float(threshold), always, None, worth)
    return best


def _decide_one(slot: Slot, scores: Floats, truth: Sequence[str], attack: str) -> Decision:
    if len(slot.labels) == 2 and attack in slot.labels and len(set(truth)) == 2:
        column = slot.labels.index(attack)
        margins = scores[:, column] - scores[:, 1 - column]
        best, threshold = best_threshold(margins, np.array([label == attack for label in truth]))
        return Decision(slot, threshold, True, column, best)
    places = {label: place for place, label in enumerate(slot.labels)}
    offsets = offsets_of(scores, np.array([places.get(label, -1) for label in truth]))
    plain = Decision(slot, 0.0, True, None, 0.0, tuple(offsets.tolist()) if offsets.any() else ())
    return replace(plain, worth=worth(slot, plain.labels(scores), [(label,) for label in truth], attack))


def offsets_of(scores: Floats, truth: NDArray[np.int64]) -> Floats:
    """What to add to each label's score (n, labels) so that the highest is right oftenest, float64 (labels,).

    `truth` are the labels' columns, -1 for one without. One label after another is moved, twice, to where the mean of
    accuracy and macro F1 is highest; zero where that gains nothing, and for labels with fewer than five rows, which
    tell too little.
    """
    offsets = np.zeros(scores.shape[1])
    if not len(truth):
        return offsets
    known = np.bincount(truth[truth >= 0], minlength=scores.shape[1])
    best = _agreement(scores.argmax(axis=1), truth)
    for column in [*np.flatnonzero(known >= _FEWEST)] * 2:
        others = np.delete(scores + offsets, column, axis=1).max(axis=1, initial=-np.inf)
        both = np.isfinite(others) & np.isfinite(scores[:, column])
        margins = others[both] - scores[both, column]
        steps = np.unique(np.quantile(margins, np.linspace(0.02, 0.98, _STEPS))) if margins.size else ()
        for step in (0.0, *steps):
            tried = offsets.copy()
            tried[column] = step
            found = _agreement((scores + tried).argmax(axis=1), truth)
            if found > best + 1e-9:
                best, offsets = found, tried
    return offsets


def _agreement(given: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Mean of accuracy and of F1 over the labels that occur."""
    size = max(int(given.max()), int(truth.max())) + 1
    rows, right = np.bincount(truth[truth >= 0], minlength=size), np.bincount(truth[truth == given], minlength=size)
    both = (rows + np.bincount(given, minlength=size)).astype(np.float64)
    f1 = ratio(2 * right.astype(np.float64), both)[rows > 0]
    return float(np.mean(truth == given) + (f1.mean() if f1.size else 0.0)) / 2


def worth(
    slot: Slot, found: Sequence[Sequence[str] | None], truth: Sequence[Sequence[str]], attack: str = "suspicious"
) -> float:
    """What choices are made by: mean Jaccard of sets, mean of F1 and MCC of `attack`, of accuracy and F1 of others."""
    ones = np.ones((1, len(truth)))
    if not len(truth):
        return 0.0
    if slot.kind == "set":
        given = [None if labels is None else frozenset(labels) for labels in found]
        return float(set_figures([frozenset(labels) for labels in truth], given, ones)["jaccard"][0])
    firsts = [None if labels is None else labels[0] for labels in found]
    figures = label_figures([labels[0] for labels in truth], firsts, slot.labels, ones, attack)
    two = len(slot.labels) == 2 and attack in slot.labels
    names = ("attack_f1", "mcc") if two else ("accuracy", "f1")
    return float(np.mean([figures[name][0] for name in names]))


def matrix(slot: Slot, scores: Sequence[Mapping[str, float]]) -> Floats:
    """Scores of each label, float64 (n, labels); -inf where a label has none."""
    return np.array([[one.get(label, -np.inf) for label in slot.labels] for one in scores], dtype=np.float64)


def _chosen(scores: Floats, threshold: float, at_least_one: bool) -> NDArray[np.bool_]:
    chosen = (scores >= threshold) & np.isfinite(scores)
    if at_least_one and scores.shape[1]:
        empty = np.flatnonzero(~chosen.any(axis=1))
        chosen[empty, scores[empty].argmax(axis=1)] = True
    return chosen


def _jaccard(chosen: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> float:
    either = (chosen | wanted).sum(axis=1).astype(np.float64)
    both = (chosen & wanted).sum(axis=1).astype(np.float64)
    return float(np.where(either > 0, ratio(both, either), 1.0).mean()) if len(chosen) else 0.0
