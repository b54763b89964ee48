import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score

from logfm.evaluation.decoders.comparing import Judge, mcnemar
from logfm.evaluation.decoders.guesses import Guess
from tests.evaluation.decoders.samples import fold


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (8, 2), (300, 340), (900, 1500)])
def test_mcnemar_is_the_binomial_test(first, second):
    ours = np.array([True] * first + [False] * second + [True, False])
    theirs = np.array([False] * first + [True] * second + [True, False])
    found = mcnemar(ours, theirs)
    assert (found.ours_only, found.theirs_only) == (first, second)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert found.p == pytest.approx(expected, rel=1e-6)


def guesses(cases, wrong=(), score=None):
    found = []
    for place, case in enumerate(cases):
        label = case.answer["label"][0]
        other = "normal" if label == "suspicious" else "suspicious"
        given = other if place in wrong else label
        margin = (score or {}).get(place, 1.0 if given == "suspicious" else -1.0)
        scores = {"label": {"suspicious": margin, "normal": -margin}}
        found.append(Guess(case.case_id, {"label": (given,)}, scores=scores))
    return found


def test_figures_have_intervals_by_group_and_differences_are_paired():
    split = fold(named=False)
    judge = Judge.of(split.test, split.grammar, resamples=200)
    assert judge.draws.shape == (200, 10)
    good, bad = guesses(split.test, {3}), guesses(split.test, set(range(0, 50, 3)))
    first, second = judge.figures(good), judge.figures(bad)
    assert first["label/accuracy"].value == pytest.approx(0.98)
    assert first["label/accuracy"].low < 0.98 <= first["label/accuracy"].high
    assert judge.difference(first["label/mcc"], second["label/mcc"]).p < 0.05
    same = judge.difference(first["label/mcc"], judge.figures(good)["label/mcc"])
    assert (same.value, same.p) == (0, 1)


def test_pr_auc_is_that_of_the_margins():
    split = fold(named=False)
    rng = np.random.default_rng(0)
    margins = dict(enumerate(rng.normal(size=50)))
    judge = Judge.of(split.test, split.grammar, resamples=20)
    labels = [case.answer["label"] == ("suspicious",) for case in split.test]
    found = judge.figures(guesses(split.test, score=margins))["label/pr_auc"]
    assert found.value == pytest.approx(average_precision_score(labels, list(margins.values())))
    unscored = [Guess(one.case_id, one.answer) for one in guesses(split.test)]
    assert "label/pr_auc" not in judge.figures(unscored)


def test_guesses_in_another_order_are_refused():
    split = fold(named=False)
    judge = Judge.of(split.test, split.grammar, resamples=5)
    with pytest.raises(ValueError, match="differ"):
        judge.figures(guesses(split.test)[::-1])
