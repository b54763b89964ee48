import numpy as np
import pytest

from logfm.evaluation.decoders.deciding import decide, matrix, offsets_of, worth
from logfm.finetune.decoder.answers import Slot

SET = Slot("t", "set", ("a", "b", "c"))
TWO = Slot("label", "one", ("normal", "suspicious"))


def test_a_sets_threshold_is_the_one_with_the_best_jaccard():
    scores = np.array([[3.0, -1, -2], [2.0, 1.5, -3], [-0.5, -2, -3], [2.5, -4, -4]])
    decision = decide(SET, scores, [("a",), ("a", "b"), (), ("a",)])
    assert decision.worth == 1.0
    assert decision.labels(scores) == [("a",), ("a", "b"), (), ("a",)]


def test_a_set_may_have_to_hold_a_label():
    scores = np.array([[0.1, -1, -2], [-0.5, -2, -3], [3.0, -4, 2.9]])
    decision = decide(SET, scores, [("a",), ("a",), ("a", "c")])
    assert decision.at_least_one
    assert decision.labels(np.array([[-9.0, -8.0, -10.0]])) == [("b",)]


def test_two_labels_have_a_threshold():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    truth = [("normal",), ("normal",), ("suspicious",), ("suspicious",)]
    decision = decide(TWO, scores, truth)
    assert decision.worth == 1.0
    assert decision.threshold == pytest.approx(-0.5)
    assert decision.labels(scores) == truth


def test_with_one_class_in_validation_the_highest_score_decides():
    scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    decision = decide(TWO, scores, [("normal",), ("normal",)])
    assert decision.labels(scores) == [("normal",), ("suspicious",)]


def test_a_label_without_a_score_is_never_chosen():
    scores = matrix(SET, [{"a": 0.3}, {"a": -2.0, "c": -1.0}])
    assert np.isneginf(scores[0, 1])
    decision = decide(SET, scores, [("a", "b"), ("c",)])
    assert all("b" not in labels for labels in decision.labels(scores))


def test_a_decisions_worth_is_that_of_its_labels():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(50, 3))
    sets = [tuple(name for name in "abc" if rng.random() < 0.4) for _ in range(50)]
    decision = decide(SET, scores, sets)
    assert worth(SET, decision.labels(scores), sets) == pytest.approx(decision.worth)
    truth = [(("normal", "suspicious")[int(one)],) for one in rng.random(50) < 0.4]
    decision = decide(TWO, scores[:, :2], truth)
    assert worth(TWO, decision.labels(scores[:, :2]), truth) == pytest.approx(decision.worth)
    three = Slot("s", "one", ("a", "b", "c"))
    truth = [(str(one),) for one in rng.choice(list("abc"), 50)]
    decision = decide(three, scores, truth)
    assert worth(three, decision.labels(scores), truth) == pytest.approx(decision.worth)
    assert worth(SET, [None], [("a",)]) == 0


def test_a_label_that_always_scores_too_low_is_raised():
    rng = np.random.default_rng(2)
    three = Slot("s", "one", ("a", "b", "c"))
    truth = rng.integers(3, size=90)
    scores = np.eye(3)[truth] + rng.normal(scale=0.3, size=(90, 3)) - np.array([0.0, 0.0, 1.5])
    labels = [(three.labels[one],) for one in truth]
    decision = decide(three, scores[:60], labels[:60])
    plain = [(three.labels[one],) for one in scores[60:].argmax(axis=1)]
    assert worth(three, decision.labels(scores[60:]), labels[60:]) > worth(three, plain, labels[60:]) + 0.2
    assert decision.offsets[2] > 0.5
    assert decision.worth == pytest.approx(worth(three, decision.labels(scores[:60]), labels[:60]))


def test_rare_labels_and_right_scores_are_left_as_they_are():
    scores = np.eye(3)[[0] * 20 + [1] * 20 + [2] * 4]
    truth = np.array([0] * 20 + [1] * 20 + [2] * 4)
    assert not offsets_of(scores, truth).any()
    assert offsets_of(scores - np.array([0.0, 0.0, 2.0]), truth)[2] == 0
    assert not offsets_of(np.full((44, 3), -np.inf), truth).any()
