"""Two contestants on the same cases: McNemar's exact test, and differences of figures by a bootstrap of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray

from logfm.evaluation.anomaly.metrics import weighted_average_precision
from logfm.evaluation.decoders.guesses import Guess
from logfm.evaluation.stats import Difference, Draws, Estimate, cluster_draws, estimate, paired_difference
from logfm.finetune.decoder.answers import Case, Grammar
from logfm.finetune.decoder.scoring import Floats, answer_figures

_AT_ONCE = 250


@dataclass(frozen=True)
class McNemar:
    """Cases that one of two got right and the other did not, and the two-sided exact p."""

    ours_only: int
    theirs_only: int
    p: float


@dataclass(frozen=True, eq=False)
class Judge:
    """The cases, and draws of their groups that all contestants share."""

    cases: Sequence[Case]
    grammar: Grammar
    draws: Draws
    groups: NDArray[np.int64]
    tactics: Mapping[str, Sequence[str]]
    confidence: float = 0.95
    attack: str = "suspicious"

    @classmethod
    def of(
        cls,
        cases: Sequence[Case],
        grammar: Grammar,
        tactics: Mapping[str, Sequence[str]] | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> "Judge":
        """A judge of cases, whose intervals draw whole groups."""
        names, groups = np.unique([case.group for case in cases], return_inverse=True)
        return cls(cases, grammar, cluster_draws(len(names), resamples, seed), groups, tactics or {})

    def figures(self, guesses: Sequence[Guess]) -> dict[str, Estimate]:
        """Every figure with its interval; `guesses` are in the order of the cases.

        Raises:
            ValueError: the guesses are for other cases, or in another order.
        """
        if [one.case_id for one in guesses] != [case.case_id for case in self.cases]:
            raise ValueError("guesses and cases differ")
        answers = [one.answer for one in guesses]
        parts = [np.ones((1, len(answers)))]
        for start in range(0, len(self.draws), _AT_ONCE):
            parts.append(self.draws[start : start + _AT_ONCE][:, self.groups].astype(np.float64))
        found: list[dict[str, Floats]] = []
        for weights in parts:
            figures = answer_figures(self.cases, answers, self.grammar, weights, self.tactics, self.attack)
            found.append(figures | self._ranking(guesses, weights))
        return {
            name: estimate(
                float(value[0]),
                np.concatenate([one[name] for one in found[1:]] or [np.empty(0)]),
                self.confidence,
                len(np.unique(self.groups)),
            )
            for name, value in found[0].items()
        }

    def _ranking(self, guesses: Sequence[Guess], weights: Floats) -> dict[str, Floats]:
        """PR-AUC of `attack` against the other label, where every guess has scores of both."""
        found: dict[str, Floats] = {}
        for slot in self.grammar.slots:
            if slot.kind != "one" or len(slot.labels) != 2 or self.attack not in slot.labels:
                continue
            (other,) = set(slot.labels) - {self.attack}
            scores = [one.scores.get(slot.name, {}) for one in guesses]
            if any(len(one) < 2 for one in scores):
                continue
            margins = np.array([one[self.attack] - one[other] for one in scores])
            labels = np.array([case.answer[slot.name] == (self.attack,) for case in self.cases], dtype=np.int8)
            if 0 < labels.sum() < len(labels):
                found[f"{slot.name}/pr_auc"] = weighted_average_precision(margins, labels, weights)
        return found

    def difference(self, ours: Estimate, theirs: Estimate) -> Difference:
        """Ours less theirs, from draws that both share."""
        return paired_difference(ours, theirs, self.confidence)


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> McNemar:
    """McNemar's exact test (McNemar, 1947) of who is right more often on the same cases, bool (n,) each.

    Cases of one group are not independent: the bootstrap over groups stands beside it.
    """
    first, second = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    both = first + second
    tail = sum(comb(both, count) for count in range(min(first, second) + 1))
    # Integers: 2 ** -1100 is no float, but the quotient of the integers is rounded right.
    return McNemar(first, second, min(1.0, 2 * tail / 2**both) if both else 1.0)
