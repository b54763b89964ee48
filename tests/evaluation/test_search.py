import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics import average_precision_score

from logfm.configs.schema.evaluation import SearchConfig
from logfm.errors import UserError
from logfm.evaluation.search import halves, rank_scores, search


def test_one_ranking_by_hand() -> None:
    similarities = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    relevant = np.array([[False, True, False, True, True]])
    reciprocal, precision, recall = rank_scores(similarities, relevant, (1, 2, 4, 100))
    assert reciprocal.tolist() == [0.5]
    assert precision == pytest.approx([(1 / 2 + 2 / 4 + 3 / 5) / 3])
    assert {k: values.tolist() for k, values in recall.items()} == {
        1: [0.0],
        2: [pytest.approx(1 / 3)],
        4: [pytest.approx(2 / 3)],
        100: [1.0],
    }


@given(st.integers(1, 40), st.integers(0, 2**16))
def test_average_precision_equals_scikit_learns(references: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    similarities = rng.permuted(np.arange(3 * references, dtype=float)).reshape(3, references)
    relevant = rng.random((3, references)) < 0.3
    relevant[:, rng.integers(references)] = True
    _, precision, _ = rank_scores(similarities, relevant, ())
    expected = [average_precision_score(*row) for row in zip(relevant, similarities, strict=True)]
    assert precision == pytest.approx(expected)


def test_scores_of_a_small_search_by_hand() -> None:
    # Queries are rows 0 to 3; references rows 4 to 7, given in an order of their own.
    templates = ["a", "a", "b", "single", "a", "b", "a", "c"]
    angles = np.deg2rad([0, 80, 90, 45, 10, 85, 60, 40])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = search(vectors, templates, np.arange(4), np.array([7, 5, 4, 6]), SearchConfig(recall_at=(1, 2)))
    # Query 0 ranks 4(a) 7(c) 6(a) 5(b); query 1 ranks 5(b) 6(a) 7(c) 4(a); query 2 ranks 5(b) first.
    assert found.queries.tolist() == [0, 1, 2]
    assert found.reciprocal_rank == pytest.approx([1, 1 / 2, 1])
    assert found.average_precision == pytest.approx([(1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2, 1])
    assert found.recall[1] == pytest.approx([0.5, 0, 1])
    assert found.recall[2] == pytest.approx([0.5, 0.5, 1])
    assert found.metrics["mrr"].value == pytest.approx(2.5 / 3)
    assert found.metrics["map"].value == pytest.approx((5 / 6 + 1 / 2 + 1) / 3)
    assert found.metrics["macro_map"].value == pytest.approx(((5 / 6 + 1 / 2) / 2 + 1) / 2)
    assert found.left_out == {"single": 1, "unmatched": 0}


def test_queries_without_a_relevant_reference_are_counted_not_scored() -> None:
    templates = ["a", "b", "b", "c", "a", "a"]
    found = search(np.eye(6), templates, np.array([0, 1, 2, 3]), np.array([4, 5]))
    assert found.queries.tolist() == [0]
    assert found.left_out == {"single": 1, "unmatched": 2}
    assert found.references == 2


def test_a_search_without_any_answer_is_refused() -> None:
    with pytest.raises(UserError, match="no query has another line"):
        search(np.eye(4), list("abcd"), np.array([0, 1]), np.array([2, 3]))


@pytest.mark.parametrize("chunk_bytes", [1, 5000, 2**26])
def test_chunks_change_nothing(chunk_bytes: int) -> None:
    rng = np.random.default_rng(0)
    templates = [f"t{i}" for i in rng.integers(8, size=120)]
    vectors = rng.normal(size=(120, 6))
    queries, references = halves(120)
    whole = search(vectors, templates, queries, references)
    chunked = search(vectors, templates, queries, references, SearchConfig(chunk_bytes=chunk_bytes))
    assert (whole.average_precision == chunked.average_precision).all()
    assert (whole.reciprocal_rank == chunked.reciprocal_rank).all()


def test_sparse_vectors_rank_as_dense_ones_do() -> None:
    rng = np.random.default_rng(2)
    vectors = rng.integers(1, 4, size=(60, 9)).astype(float)
    templates = [f"t{i % 6}" for i in range(60)]
    dense, sparse = (search(v, templates, *halves(60)).average_precision for v in (vectors, csr_matrix(vectors)))
    assert np.mean(dense) == pytest.approx(np.mean(sparse), abs=0.02)


def test_halves_part_all_rows_by_the_seed() -> None:
    queries, references = halves(11, seed=4)
    assert (len(queries), len(references)) == (5, 6)
    assert sorted([*queries, *references]) == list(range(11))
    assert (queries == halves(11, seed=4)[0]).all()
    assert not (queries == halves(11, seed=5)[0]).all()


def test_a_blind_encoder_scores_as_chance_does() -> None:
    # All cosines are equal: the references' shuffled order decides, so a quarter of the lines is found at random.
    templates = ["a"] * 100 + ["b"] * 300
    found = search(np.ones((400, 2)), templates, *halves(400, seed=1))
    of_a = found.average_precision[found.templates == "a"]
    assert of_a.mean() == pytest.approx(0.25, abs=0.08)
