from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics import roc_auc_score

from logfm.configs.schema.evaluation import SimilarityConfig, StatisticsConfig
from logfm.errors import LogfmError, UserError
from logfm.evaluation.similarity import Pairs, draw_pairs, similarity, weighted_auc
from logfm.evaluation.vectors import pair_products, products, unit_rows


@given(st.lists(st.sampled_from("aaabcde"), min_size=2, max_size=40), st.integers(0, 2**16))
def test_pairs_are_of_two_lines_and_of_equal_or_different_templates(templates: list[str], seed: int) -> None:
    counts = Counter(templates)
    if len(counts) < 2 or max(counts.values()) < 2:
        with pytest.raises(UserError):
            draw_pairs(templates, SimilarityConfig(pairs=5), seed)
        return
    pairs = draw_pairs(templates, SimilarityConfig(pairs=50), seed)
    assert pairs.positive.shape == pairs.negative.shape == (50, 2)
    for first, second in pairs.positive:
        assert first != second and templates[first] == templates[second]
    for first, second in pairs.negative:
        assert templates[first] != templates[second]


def test_positives_are_uniform_over_templates_and_negatives_over_lines() -> None:
    templates = ["big"] * 90 + ["small"] * 2 + ["other"] * 8 + ["single"]
    pairs = draw_pairs(templates, SimilarityConfig(pairs=6000), seed=0)
    drawn = Counter(templates[row] for row in pairs.positive[:, 0])
    assert [drawn[name] / 6000 for name in ("big", "small", "other")] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert drawn["single"] == 0
    # Ordered pairs of different templates: 2 * (90*2 + 90*8 + 90 + 2*8 + 2 + 8); 90 * 11 of them begin with "big".
    begins = np.mean([templates[row] == "big" for row in pairs.negative[:, 0]])
    assert begins == pytest.approx(90 * 11 / 2032, abs=0.03)
    places = Counter(map(tuple, pairs.positive.tolist()))
    assert places[(90, 91)] / 6000 == pytest.approx(1 / 6, abs=0.02)
    assert places[(91, 90)] / 6000 == pytest.approx(1 / 6, abs=0.02)


def test_pairs_come_from_the_seed() -> None:
    templates = list("aabbccdd")
    assert (draw_pairs(templates, seed=1).positive == draw_pairs(templates, seed=1).positive).all()
    assert not (draw_pairs(templates, seed=1).positive == draw_pairs(templates, seed=2).positive).all()


def test_means_difference_and_auc_by_hand() -> None:
    vectors = np.array([[2, 0], [0.6, 0.8], [0, 5], [-1, 0]])
    pairs = Pairs(np.array([[0, 1], [1, 0]]), np.array([[0, 2], [1, 2]]), np.array([0, 0, 1, 1]), 2)
    found = similarity(vectors, pairs, StatisticsConfig(resamples=100))
    # Positives: 0.6, 0.6. Negatives: 0.0, 0.8. Each positive beats one of the two negatives.
    assert found["pmean"].value == pytest.approx(0.6)
    assert found["nmean"].value == pytest.approx(0.4)
    assert found["diff"].value == pytest.approx(0.2)
    assert found["pair_auc"].value == pytest.approx(0.5)


def test_perfect_and_blind_encoders_have_the_aucs_they_should() -> None:
    templates = [f"t{i % 10}" for i in range(200)]
    pairs = draw_pairs(templates, SimilarityConfig(pairs=400))
    perfect = np.eye(10)[[int(name[1:]) for name in templates]]
    found = similarity(perfect, pairs)
    assert (found["pair_auc"].value, found["diff"].value) == (1.0, 1.0)
    assert (found["pair_auc"].low, found["pair_auc"].high) == (1.0, 1.0)
    blind = similarity(np.ones((200, 3)), pairs)
    assert (blind["pair_auc"].value, blind["diff"].value) == (0.5, 0.0)
    noise = similarity(np.random.default_rng(0).normal(size=(200, 64)), pairs)
    assert noise["pair_auc"].low < 0.5 < noise["pair_auc"].high


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60))
def test_weighted_auc_equals_scikit_learns(rows: list[tuple[int, bool, int]]) -> None:
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    positive, negative = scores[labels], scores[~labels]
    found = weighted_auc(positive, negative, weights[labels][None], weights[~labels][None])[0]
    if not weights[labels].sum() or not weights[~labels].sum():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_the_interval_draws_templates_not_pairs() -> None:
    # The three templates lie at different distances: which of them are drawn moves NMean far more than pairs would.
    templates = ["a"] * 50 + ["b"] * 50 + ["c"] * 50
    vectors = np.repeat([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], 50, axis=0)
    found = similarity(vectors, draw_pairs(templates, SimilarityConfig(pairs=900)))
    assert found["nmean"].high - found["nmean"].low > 0.2


def test_sparse_and_dense_vectors_give_the_same_figures() -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((30, 12)) * (rng.random((30, 12)) < 0.4)
    dense[3] = 0
    pairs = draw_pairs(["x", "y", "z"] * 10)
    first, second = similarity(dense, pairs), similarity(csr_matrix(dense), pairs)
    for name in first:
        assert first[name].value == pytest.approx(second[name].value, abs=1e-6)


def test_unit_rows_keep_extremes_and_zeros() -> None:
    units = unit_rows(np.array([[3e200, 4e200], [3e-200, 4e-200], [0, 0]]), 3)
    assert units == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8], [0, 0]]))
    assert products(units, units)[0, 1] == pytest.approx(1.0)
    assert pair_products(units, units) == pytest.approx([1, 1, 0])


@pytest.mark.parametrize(
    "vectors", [np.ones((2, 3)), np.ones(3), np.full((3, 2), np.nan), np.full((3, 2), np.inf), csr_matrix((2, 3))]
)
def test_vectors_that_do_not_fit_the_lines_are_refused(vectors: object) -> None:
    with pytest.raises(LogfmError, match="the encoder gave"):
        unit_rows(vectors, 3)
