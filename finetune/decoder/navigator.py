"""Layers for the ATT&CK Navigator (file format 4.5): what was predicted, and where predictions went wrong."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

_WHITE, _BLUE, _RED = "#ffffff", "#2b6cb0", "#c53030"


def prediction_layer(name: str, found: Iterable[Collection[str]], attack: str) -> dict[str, Any]:
    """A layer whose scores say in how many cases a technique was predicted.

    `found` holds a set of ids for each case, `attack` is the release of ATT&CK ("18").
    """
    counts = Counter(label for labels in found for label in labels)
    techniques = {one: (count, f"predicted in {count} cases") for one, count in counts.items()}
    return _layer(name, "In how many cases a technique was predicted.", techniques, attack, _BLUE)


def error_layer(
    name: str, truth: Sequence[Collection[str]], found: Sequence[Collection[str]], attack: str
) -> dict[str, Any]:
    """A layer whose scores say how often a technique was missed or predicted without cause.

    `truth` and `found` hold a set of ids for each case. What was never wrong isn't listed.
    """
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for wanted, given in zip(truth, found, strict=True):
        missed.update(set(wanted) - set(given))
        wrong.update(set(given) - set(wanted))
        right.update(set(wanted) & set(given))
    techniques = {
        one: (missed[one] + wrong[one], f"missed {missed[one]}, without cause {wrong[one]}, right {right[one]}")
        for one in missed.keys() | wrong.keys()
    }
    return _layer(name, "How often a technique was missed or predicted without cause.", techniques, attack, _RED)


def _layer(
    name: str, description: str, techniques: Mapping[str, tuple[int, str]], attack: str, colour: str
) -> dict[str, Any]:
    most = max((score for score, _ in techniques.values()), default=1)
    return {
        "name": name,
        "versions": {"attack": attack, "navigator": "5.1.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": description,
        "techniques": [
            {"techniqueID": one, "score": score, "comment": comment, "enabled": True, "showSubtechniques": "." in one}
            for one, (score, comment) in sorted(techniques.items())
        ],
        "gradient": {"colors": [_WHITE, colour], "minValue": 0, "maxValue": most},
        "sorting": 3,
        "hideDisabled": False,
    }
