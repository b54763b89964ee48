"""Search by meaning."""

from dataclasses import replace

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite.contestants import Tfidf
from logfm.evaluation.tasks import meaning
from tests.evaluation.tasks.conftest import KINDS, Known, make_data


@pytest.fixture
def described():
    """Each kind has three events whose sentences differ in a number only, and there are ten events without one."""
    texts = [f"{kind} raw {n}" for kind in KINDS for n in range(3)] + [f"alpha noise {n}" for n in range(10)]
    queries = [f"the {kind} thing number {n}" for kind in KINDS for n in range(3)] + [""] * 10
    return make_data(texts=texts, queries=queries, sources=[text.split()[0] for text in texts])


def test_sentences_that_differ_in_values_are_one_query(scores, described, knows):
    found = scores(meaning, knows, described)
    assert found[""]["map"].count == 4
    # beta, gamma and delta have their three events in front; alpha's hide among ten others.
    assert found[""]["recall@10"].value > 0.75 and found[""]["mrr"].value < 1.0
    assert len(knows.seen[1]) == 4 and not set(knows.seen[1]) & set(knows.fitted[1])


def test_the_own_event_is_left_out(scores, described):
    class OwnAlone:
        name = hash = "own"
        pretrained = layered = None

        def encode(self, texts, fit_on=()):
            """Vectors that know the number and the kind: a sentence finds its own event and no other."""
            keys = [(text.split()[-1], next(kind for kind in KINDS if kind in text)) for text in texts]
            return np.array([np.random.default_rng([int(n), KINDS.index(kind)]).normal(size=64) for n, kind in keys])

    data = make_data(
        texts=[f"{kind} raw {n}" for kind in KINDS for n in range(9)],
        queries=[f"the {kind} thing {n}" for kind in KINDS for n in range(9)],
        sources=["s"] * 36,
    )
    found = scores(meaning, OwnAlone(), data)
    assert found[""]["mrr"].value == 1.0
    assert found["own event left out"]["mrr"].value < 0.8 and found["own event left out"]["mrr"].count == 4
    ruled = replace(data, classes=["rule"] * 36)
    assert set(scores(meaning, OwnAlone(), ruled)) == {""}


def test_rules_have_no_own_event(scores):
    # `beta 1` is nearer to the sentence `beta` than `beta 2`, which has it.
    turned = {"alpha": (1, 0), "alpha 1": (1, 0), "alpha 2": (1, 0), "beta": (0, 1), "beta 1": (0, 1), "beta 2": (1, 4)}
    knows = Known("knows", turned.get)
    data = make_data(texts=["alpha 1", "alpha 2", "beta 1", "beta 2"], queries=["alpha"] * 2 + ["", "beta"])
    found = scores(meaning, knows, data)
    assert set(found) == {""} and found[""]["map"].count == 2
    # The near miss without a query does not count as found: precisions 1 and 1/2, and of one place 1/2 and nothing.
    assert found[""]["map"].value == pytest.approx(0.75) and found[""]["recall@1"].value == pytest.approx(0.25)


def test_equal_events_are_searched_once(scores, knows):
    data = make_data(texts=["alpha", "alpha", "beta", "gamma"], queries=["", "alpha", "beta", ""])
    found = scores(meaning, knows, data)
    assert sorted(knows.seen[0]) == ["alpha", "beta", "gamma"] and found[""]["map"].value == 1.0


def test_an_event_answers_each_of_its_descriptions(scores, knows):
    """The text of "beta" raised two rules: for either description it is a right hit, not a wrong one."""
    data = make_data(
        texts=["alpha", "beta", "beta", "beta", "gamma"],
        queries=["an alpha", "a beta", "", "beta and more", "gamma"],
        classes=["one", "two", "three", "four", "five"],
    )
    found = scores(meaning, knows, data)
    assert len(knows.seen[0]) == 3 and sorted(knows.seen[1]) == ["a beta", "an alpha", "beta and more", "gamma"]
    assert found[""]["map"].count == 4 and found[""]["map"].value == found[""]["recall@1"].value == 1.0
    asked = meaning.questions(data, None, 0)
    beta = asked.texts.index("beta")
    assert int(asked.relevant[:, beta].sum()) == 2 and (asked.relevant.sum(axis=1) == 1).all()
    assert not asked.filled.any()


def test_tfidf_is_fitted_on_events(scores, described):
    assert scores(meaning, Tfidf("TF-IDF", "letters"), described)[""]["map"].value > 0.5


def test_no_descriptions(scores, knows):
    with pytest.raises(UserError, match="needs descriptions"):
        scores(meaning, knows, make_data(texts=["alpha"], queries=[""]))
