from dataclasses import replace

import numpy as np
import pytest

from logfm.evaluation.decoders.contestants import Learnt, Majority, Pooled, classical, encoder_heads, tfidf_vectors
from logfm.evaluation.decoders.learners import linear_svm, logistic, neighbours, network
from tests.evaluation.decoders.samples import fold


def right(found, split, slot):
    pairs = zip(found, split.test, strict=True)
    return np.mean([one.answer[slot] == case.answer[slot] for one, case in pairs])


def test_majority_says_one_thing():
    split = fold(named=False)
    found = Majority().guess(split, 0)[""]
    assert {one.answer["label"] for one in found} == {("normal",)}
    assert [one.case_id for one in found] == [case.case_id for case in split.test]


@pytest.mark.parametrize("learner", [linear_svm, neighbours, logistic, network])
@pytest.mark.parametrize("named", [True, False])
def test_learners_find_what_words_give_away(learner, named):
    split = fold(named)

    def dense(train):
        vectors = tfidf_vectors(train)
        return lambda cases: vectors(cases).toarray() if learner in (logistic, network) else vectors(cases)

    slot = "techniques" if named else "label"
    found = Learnt("one", learner, dense, {}).guess(split, 0)[""]
    assert right(found, split, slot) > (right(Majority().guess(split, 0)[""], split, slot) + 0.15)


def test_scores_rank_and_reasons_follow_the_set():
    split = fold(named=False)
    for one in classical()[1:]:
        found = one.guess(split, 0)[""]
        margins = [guess.scores["label"]["suspicious"] - guess.scores["label"]["normal"] for guess in found]
        attack = np.array([case.answer["label"] == ("suspicious",) for case in split.test])
        assert np.mean(np.array(margins)[attack]) > np.mean(np.array(margins)[~attack])
    named = fold()
    for guess in classical()[1].guess(named, 0)[""]:
        assert guess.answer["reason"] == (f"seen {guess.answer['techniques'][0]}",)


def test_nothing_of_test_is_learnt():
    split = fold(named=False)
    whole = classical()[1].guess(split, 0)[""]
    half = fold(named=False)
    half = type(half)(half.name, half.grammar, half.train, half.validation, half.test[:20])
    assert [one.answer for one in classical()[1].guess(half, 0)[""]] == [one.answer for one in whole[:20]]


def test_a_label_that_train_never_has_is_no_error():
    split = fold()
    kept = tuple(case for case in split.train if "T1105" not in case.answer["techniques"])
    split = type(split)(split.name, split.grammar, kept, split.validation, split.test)
    for learner in (linear_svm, neighbours):
        found = Learnt("one", learner, tfidf_vectors, {}).guess(split, 0)[""]
        assert all("T1105" not in one.answer["techniques"] for one in found)


def test_the_head_line_is_read_by_all():
    split = fold(named=False)

    def headed(cases):
        return tuple(
            replace(case, text="the same", head={"product": f"Kind.{case.answer['label'][0]}"}) for case in cases
        )

    split = replace(split, train=headed(split.train), validation=headed(split.validation), test=headed(split.test))
    for one in classical()[1:]:
        assert right(one.guess(split, 0)[""], split, "label") == 1
    letters = Letters()
    vectors = Pooled(letters).vectors(split.test)
    assert set(letters.seen) == {"product: Kind.normal", "product: Kind.suspicious", "the same"}
    assert vectors.shape == (50, 14)


class Letters:
    """An encoder of letter counts that says how often it was asked for a line."""

    name, dim, hash = "letters", 7, "letters"

    def __init__(self):
        self.seen = []

    def encode(self, texts):
        self.seen += texts
        return np.array([[text.count(one) for one in "0123457"] for text in texts], dtype=np.float32)


def test_pooled_vectors_are_means_and_maxima_of_lines():
    split = fold()
    letters = Letters()
    pooled = Pooled(letters)
    found = pooled.fit(split.train)(split.test)
    first = letters.encode(split.test[0].text.split("\n"))
    assert found.shape == (50, 14)
    np.testing.assert_allclose(found[0], np.concatenate([first.mean(axis=0), first.max(axis=0)]))
    before = len(letters.seen)
    pooled.vectors(split.test)
    assert len(letters.seen) == before


def test_encoder_heads_have_their_names():
    assert [one.name for one in encoder_heads(Letters(), "nano")] == [
        "nano + logistic head",
        "nano + network head",
        "nano neighbours",
    ]
    assert len({str(one.identity) for one in [*classical(), *encoder_heads(Letters(), "nano")]}) == 6
