"""Fewer or noisier training cases: what a decoder can learn from in the time there is, and from labels that err."""

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logfm.evaluation.decoders.guesses import Contestant, Fold, Guesses
from logfm.finetune.decoder.answers import Case, Grammar

_LARGE = 1_000
"""Cases of train among which nothing is scarce: they are drawn as they come, and the labels' shares stay."""


@dataclass(frozen=True, eq=False)
class Limited:
    """A contestant that learns from `cases` cases of train at most; validation is limited to `validation`."""

    inner: Contestant
    cases: int
    validation: int
    suffix: str = ""
    """Added to its name in tables."""

    @property
    def name(self) -> str:
        """The contestant's name with the suffix."""
        return f"{self.inner.name}{self.suffix}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """The contestant and the limits."""
        return {**self.inner.identity, "cases": self.cases, "validation": self.validation}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Let it learn from the limited fold."""
        return self.inner.guess(limited(fold, self.cases, self.validation, seed), seed)


@dataclass(frozen=True, eq=False)
class Noisy:
    """A contestant that learns from labels of which a share is wrong; validation and test stay as they are."""

    inner: Contestant
    share: float
    flip: Callable[[Sequence[Case], float, int], Sequence[Case]]
    """From cases, share and seed to the cases with that share of labels flipped."""

    @property
    def name(self) -> str:
        """The contestant's name with the share."""
        return f"{self.inner.name}, {self.share:.0%} noise"

    @property
    def identity(self) -> Mapping[str, Any]:
        """The contestant and the share."""
        return {**self.inner.identity, "noise": self.share}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Let it learn from the noisy fold."""
        return self.inner.guess(replace(fold, train=tuple(self.flip(fold.train, self.share, seed))), seed)


def limited(fold: Fold, train: int, validation: int, seed: int) -> Fold:
    """The fold with at most so many cases: validation as it is distributed, and train too where it is large; a small
    one is spread evenly over labels, so that no label is missing."""
    small = spread(fold.train, fold.grammar, train, seed) if train < _LARGE else sampled(fold.train, train, seed)
    return replace(fold, train=small, validation=sampled(fold.validation, validation, seed))


def spread(cases: Sequence[Case], grammar: Grammar, count: int, seed: int) -> tuple[Case, ...]:
    """`count` cases, in their order: labels take turns, and within a label its groups do."""
    if len(cases) <= count:
        return tuple(cases)
    rng = random.Random(seed)
    slot = next(slot for slot in grammar.slots if slot.kind != "text")
    by_label: dict[Hashable, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place in rng.sample(range(len(cases)), len(cases)):
        label = cases[place].answer[slot.name]
        by_label[label if slot.kind == "one" else label[:1]][cases[place].group].append(place)
    # In each label the first of every group, then the second of every group, and so on.
    queues = [
        [place for _, _, place in sorted((turn, number, place) for number, places in enumerate(groups.values())
                                         for turn, place in enumerate(places))][::-1]
        for groups in by_label.values()
    ]  # fmt: skip
    chosen: list[int] = []
    while len(chosen) < count:
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return tuple(cases[place] for place in sorted(chosen))


def sampled(cases: Sequence[Case], count: int, seed: int) -> tuple[Case, ...]:
    """`count` cases drawn by seed, in their order."""
    if len(cases) <= count:
        return tuple(cases)
    return tuple(cases[place] for place in sorted(random.Random(seed).sample(range(len(cases)), count)))
