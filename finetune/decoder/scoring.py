"""Figures of answers against the truth, under weights, so that a bootstrap is the same code as the figure itself.

What could not be read (None) is invalid: it is never right, lowers recall, and has a rate of its own beside the rate
of what was read and is wrong.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from logfm.finetune.decoder.answers import BENIGN, NONE, Answer, Case, Grammar, Slot
from logfm.finetune.decoder.parsing import is_technique_set
from logfm.finetune.decoder.text_similarity import rouge_l

Floats = NDArray[np.float64]
Sets = Sequence[frozenset[str]]
Figures = dict[str, Floats]
"""Metric -> float64 (resamples,); nan where it is undefined."""


def answer_figures(
    cases: Sequence[Case],
    answers: Sequence[Answer | None],
    grammar: Grammar,
    weights: Floats | None = None,
    tactics: Mapping[str, Sequence[str]] | None = None,
    attack: str = "suspicious",
) -> Figures:
    """Every metric of every slot as `slot/metric`, each float64 (resamples,).

    `weights` is (resamples, n), all ones by default. Sets of techniques are scored as given, as parents
    (`slot/parent/...`) and, where `tactics` maps a technique to its tactics, as tactics (`slot/tactic/...`). Where
    benign is one of several labels, `alert_f1` and `alert_mcc` are of all others together against it.

    Raises:
        ValueError: not as many answers as cases.
    """
    if len(cases) != len(answers):
        raise ValueError(f"{len(answers)} answers for {len(cases)} cases")
    weights = np.ones((1, len(cases))) if weights is None else weights
    figures: Figures = {}
    for slot in grammar.slots:
        truth = [case.answer[slot.name] for case in cases]
        found = [None if answer is None else answer[slot.name] for answer in answers]
        if slot.kind == "text":
            figures[f"{slot.name}/rouge_l"] = mean(similarities(truth, found), weights)
            continue
        if slot.kind == "one":
            firsts = [None if one is None else one[0] for one in found]
            one = label_figures([labels[0] for labels in truth], firsts, slot.labels, weights, attack)
            if BENIGN in slot.labels:
                one |= _alerts(truth, firsts, weights)
            figures |= {f"{slot.name}/{name}": value for name, value in one.items()}
        for level, mapped in levels(slot, tactics).items():
            if slot.kind == "one" and not level:
                continue
            wanted = [mapped(labels) for labels in truth]
            given = [None if labels is None else mapped(labels) for labels in found]
            many = set_figures(wanted, given, weights)
            figures |= {f"{slot.name}/{level}{name}": value for name, value in many.items()}
    return figures


def levels(
    slot: Slot, tactics: Mapping[str, Sequence[str]] | None
) -> dict[str, Callable[[Sequence[str]], frozenset[str]]]:
    """The levels that a slot's labels are scored at: "" as given; for techniques "parent/" and "tactic/" too."""
    found: dict[str, Callable[[Sequence[str]], frozenset[str]]] = {"": _plain}
    if is_technique_set(slot.labels):
        found["parent/"] = parents
        if tactics:
            found["tactic/"] = lambda labels: tactics_of(labels, tactics)
    return found


def _plain(labels: Sequence[str]) -> frozenset[str]:
    return frozenset(labels) - {NONE}


def parents(labels: Sequence[str]) -> frozenset[str]:
    """Techniques without their sub-techniques."""
    return frozenset(label.partition(".")[0] for label in labels if label != NONE)


def tactics_of(labels: Sequence[str], tactics: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Tactics of techniques; a sub-technique that isn't listed has its parent's."""
    known = (tactics.get(label) or tactics.get(label.partition(".")[0]) or () for label in labels)
    return frozenset(tactic for group in known for tactic in group)


def label_figures(
    truth: Sequence[str], found: Sequence[str | None], labels: Sequence[str], weights: Floats, attack: str
) -> Figures:
    """Figures of one label a case; `weights` is (resamples, n).

    accuracy + wrong + invalid = 1. Precision, recall and F1 are means over the labels that occur in the truth; the
    same with `attack_` are of the label `attack`, where there is one. MCC is Gorodkin's for several classes, where
    invalid is a class that is never true. `majority` is the accuracy of the truth's most frequent label.
    """
    places = {label: place for place, label in enumerate(labels)}
    size = len(labels)
    true = np.array([places[label] for label in truth], dtype=np.int64)
    given = np.array([size if label is None else places.get(label, size) for label in found], dtype=np.int64)
    cells = confusion(true, given, size, weights)
    occurs = np.bincount(true, minlength=size) > 0
    right = np.diagonal(cells, axis1=1, axis2=2)
    total, rows, columns = cells.sum(axis=(1, 2)), cells.sum(axis=2), cells.sum(axis=1)
    precision, recall, f1 = _prf(right, rows - right, columns[:, :size] - right)
    accuracy, invalid = ratio(right.sum(axis=1), total), ratio(columns[:, size], total)
    figures = {
        "accuracy": accuracy,
        "wrong": ratio(total - right.sum(axis=1) - columns[:, size], total),
        "invalid": invalid,
        "majority": ratio(rows[:, int(rows.sum(axis=0).argmax())], total) if len(truth) else accuracy,
        "precision": _mean_of(precision, rows > 0, occurs),
        "recall": _mean_of(recall, rows > 0, occurs),
        "f1": _mean_of(f1, rows > 0, occurs),
        "mcc": _mcc(right.sum(axis=1), total, rows, columns),
    }
    if attack in places:
        one = places[attack]
        figures |= {"attack_precision": precision[:, one], "attack_recall": recall[:, one], "attack_f1": f1[:, one]}
    return figures


def _alerts(truth: Sequence[Sequence[str]], found: Sequence[str | None], weights: Floats) -> Figures:
    """F1 and MCC of alert or not, whatever alert it is."""
    alert = {True: "alert", False: BENIGN}
    wanted = [alert[labels[0] != BENIGN] for labels in truth]
    given = [None if label is None else alert[label != BENIGN] for label in found]
    figures = label_figures(wanted, given, (BENIGN, "alert"), weights, "alert")
    return {"alert_f1": figures["attack_f1"], "alert_mcc": figures["mcc"]}


def confusion(true: NDArray[np.int64], given: NDArray[np.int64], labels: int, weights: Floats) -> Floats:
    """Weight of every pair of a true and a given label, float64 (resamples, labels, labels + 1); last is invalid."""
    flat = true * (labels + 1) + given
    used, column = np.unique(flat, return_inverse=True)
    cells = np.zeros((len(weights), labels * (labels + 1)))
    for place, cell in enumerate(used):
        cells[:, cell] = weights[:, column == place].sum(axis=1)
    return cells.reshape(len(weights), labels, labels + 1)


def set_figures(truth: Sets, found: Sequence[frozenset[str] | None], weights: Floats) -> Figures:
    """Figures of one set a case; `weights` is (resamples, n).

    `exact` and `overlap` are shares of cases, `jaccard` a mean over them; two empty sets agree in all three. Micro
    figures count labels over all cases; macro F1 is the mean over the labels that occur in the truth.
    """
    invalid = np.array([labels is None for labels in found], dtype=np.float64)
    given = [frozenset() if labels is None else labels for labels in found]
    both = np.array([len(a & b) for a, b in zip(truth, given, strict=True)], dtype=np.float64)
    either = np.array([len(a | b) for a, b in zip(truth, given, strict=True)], dtype=np.float64)
    valid = 1 - invalid
    exact = (both == either) * valid
    missed = np.array([len(labels) for labels in truth]) - both
    extra = np.array([len(labels) for labels in given]) - both
    hits = weights @ both
    precision, recall, f1 = _prf(hits, weights @ missed, weights @ extra)
    return {
        "exact": mean(exact, weights),
        "overlap": mean(np.where(either > 0, both > 0, True) * valid, weights),
        "jaccard": mean(np.where(either > 0, ratio(both, either), 1.0) * valid, weights),
        "invalid": mean(invalid, weights),
        "wrong": mean(valid - exact, weights),
        "micro_precision": precision,
        "micro_recall": recall,
        "micro_f1": f1,
        "macro_f1": _macro(truth, given, weights),
    }


def _macro(truth: Sets, found: Sets, weights: Floats) -> Floats:
    labels = sorted(frozenset().union(*truth)) if len(truth) else []
    if not labels:
        return np.full(len(weights), np.nan)
    wanted = np.array([[label in one for label in labels] for one in truth], dtype=np.float64)
    given = np.array([[label in one for label in labels] for one in found], dtype=np.float64)
    hits, rows = weights @ (wanted * given), weights @ wanted
    f1 = _prf(hits, rows - hits, weights @ given - hits)[2]
    return _mean_of(f1, rows > 0, np.ones(len(labels), dtype=bool))


def similarities(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str] | None]) -> Floats:
    """ROUGE-L of each text against its reference, float64 (n,); 0 for what is invalid."""
    return np.array(
        [
            0.0 if given is None else rouge_l(" ".join(wanted), " ".join(given))
            for wanted, given in zip(truth, found, strict=True)
        ]
    )


def right_answers(cases: Sequence[Case], answers: Sequence[Answer | None], slot: Slot) -> NDArray[np.bool_]:
    """Whether the slot is right, letter for letter, bool (n,): what McNemar's test counts."""
    pairs = zip(cases, answers, strict=True)
    return np.array(
        [answer is not None and set(answer[slot.name]) == set(case.answer[slot.name]) for case, answer in pairs],
        dtype=bool,
    )


def confusions(truth: Sequence[str], found: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """How often each true label got which label, `invalid` among them: {true: {given: cases}}."""
    pairs = Counter(zip(truth, found, strict=True))
    table: dict[str, dict[str, int]] = {}
    for (wanted, given), count in sorted(pairs.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        table.setdefault(wanted, {})["invalid" if given is None else given] = count
    return table


def best_threshold(scores: Floats, attack: NDArray[np.bool_]) -> tuple[float, float]:
    """The highest mean of F1 and Matthews' coefficient that a threshold reaches, and the threshold.

    It lies half-way between two scores; above it is attack. F1 alone, where attacks are common, is highest for who
    calls everything an attack.
    """
    values, places = np.unique(scores, return_inverse=True)
    right = np.bincount(places, weights=attack, minlength=len(values))[::-1].cumsum()
    called = np.bincount(places, minlength=len(values))[::-1].cumsum().astype(np.float64)
    attacks, total = float(attack.sum()), float(len(attack))
    f1 = 2 * right / (called + attacks)
    spread = np.sqrt(called * (total - called) * attacks * (total - attacks))
    worth = (f1 + np.nan_to_num(ratio(right * total - called * attacks, spread))) / 2
    best = int(worth.argmax())
    lower = len(values) - 2 - best
    threshold = (values[lower] + values[lower + 1]) / 2 if lower >= 0 else np.nextafter(values[0], -np.inf)
    return float(worth[best]), float(threshold)


def ceiling(train: Sequence[Case], test: Sequence[Case], *slots: str) -> float:
    """The share of test cases all of whose labels training has: exact match can't be higher, as sets are composed."""
    known = {slot: {label for case in train for label in case.answer[slot]} for slot in slots}
    within = [all(known[slot].issuperset(case.answer[slot]) for slot in slots) for case in test]
    return float(np.mean(within)) if test else float("nan")


def sets_seen(train: Sequence[Case], test: Sequence[Case], *slots: str) -> float:
    """The share of test cases whose answer is one of training, whole: what exact match can't exceed for a memory."""
    known = {tuple(frozenset(case.answer[slot]) for slot in slots) for case in train}
    found = [tuple(frozenset(case.answer[slot]) for slot in slots) in known for case in test]
    return float(np.mean(found)) if test else float("nan")


def mean(values: Floats, weights: Floats) -> Floats:
    """Weighted means of values (n,) under weights (resamples, n)."""
    return ratio(weights @ np.asarray(values, dtype=np.float64), weights.sum(axis=1))


def ratio(above: Floats, below: Floats) -> Floats:
    """Elementwise quotient, nan where the denominator is 0."""
    found = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) != 0)
    return found


def _prf(right: Floats, missed: Floats, extra: Floats) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1; 0 where nothing was predicted or nothing was there."""
    found = (ratio(right, right + extra), ratio(right, right + missed), ratio(2 * right, 2 * right + missed + extra))
    return tuple(np.nan_to_num(one) for one in found)  # type: ignore[return-value]


def _mean_of(values: Floats, drawn: NDArray[np.bool_], occurs: NDArray[np.bool_]) -> Floats:
    """Means over the labels that occur and that a replicate drew."""
    kept = drawn & occurs
    return ratio((values * kept).sum(axis=1), kept.sum(axis=1))


def _mcc(right: Floats, total: Floats, rows: Floats, columns: Floats) -> Floats:
    extended = np.concatenate([rows, np.zeros((len(rows), 1))], axis=1)
    above = right * total - (extended * columns).sum(axis=1)
    below = np.sqrt((total**2 - (columns**2).sum(axis=1)) * (total**2 - (rows**2).sum(axis=1)))
    return np.nan_to_num(ratio(above, below))
