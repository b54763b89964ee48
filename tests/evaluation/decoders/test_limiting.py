from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from logfm.evaluation.decoders.contestants import Majority
from logfm.evaluation.decoders.limiting import Limited, Noisy, limited, sampled, spread
from tests.evaluation.decoders.samples import LABELS, SETS, cases, fold


def test_train_is_spread_over_labels_and_groups():
    given = cases(200, 3, False)
    kept = spread(given, LABELS, 40, 0)
    assert Counter(case.answer["label"] for case in kept) == {("normal",): 20, ("suspicious",): 20}
    assert [given.index(case) for case in kept] == sorted(given.index(case) for case in kept)
    by_group = Counter(case.group for case in kept if case.answer["label"] == ("normal",))
    assert max(by_group.values()) == 1
    assert spread(given, LABELS, 40, 0) == kept != spread(given, LABELS, 40, 1)


def test_a_label_that_runs_out_leaves_its_turn_to_others():
    given = cases(200, 3, False)
    few = [case for case in given if case.answer["label"] == ("suspicious",)][:3]
    rest = [case for case in given if case.answer["label"] == ("normal",)]
    kept = spread([*few, *rest], LABELS, 30, 0)
    assert Counter(case.answer["label"] for case in kept) == {("normal",): 27, ("suspicious",): 3}


def test_sets_are_spread_by_their_first_label():
    kept = spread(cases(200, 3, True), SETS, 40, 0)
    firsts = Counter(case.answer["techniques"][0] for case in kept)
    assert len(firsts) == 4
    assert min(firsts.values()) >= 9


def test_a_limited_contestant_learns_from_less_and_answers_all():
    split = fold(named=False)
    one = Limited(Majority(), 10, 5, ", 10 cases")
    assert one.name == "majority, 10 cases"
    assert one.identity["cases"] == 10
    assert len(one.guess(split, 0)[""]) == len(split.test)
    small = limited(split, 10, 5, 0)
    assert (len(small.train), len(small.validation)) == (10, 5)
    assert limited(split, 1000, 1000, 0).train == split.train
    assert sampled(split.test, 50, 0) == split.test


def test_a_large_train_keeps_the_shares_of_its_labels():
    split = fold(named=False, train=1500)
    share = np.mean([case.answer["label"] == ("suspicious",) for case in split.train])
    small, large = (limited(split, count, 5, 0).train for count in (200, 1000))
    found = [np.mean([case.answer["label"] == ("suspicious",) for case in part]) for part in (small, large)]
    assert found[0] == 0.5
    assert found[1] == pytest.approx(share, abs=0.03) != 0.5
    assert len(large) == 1000


def test_noise_is_in_train_alone():
    split = fold(named=False)

    def flip(given, share, seed):
        count = round(share * len(given))
        return [replace(case, answer={"label": ("suspicious",)}) for case in given[:count]] + list(given[count:])

    assert Majority().guess(split, 0)[""][0].answer == {"label": ("normal",)}
    one = Noisy(Majority(), 0.8, flip)
    assert one.name == "majority, 80% noise"
    assert one.identity["noise"] == 0.8
    assert one.guess(split, 0)[""][0].answer == {"label": ("suspicious",)}
    assert one.identity != Noisy(Majority(), 0.1, flip).identity
