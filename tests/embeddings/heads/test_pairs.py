"""Distances in blocks against distances all at once."""

import numpy as np
import pytest

from logfm.embeddings.heads import pairs
from logfm.embeddings.heads.pairs import closest_pairs, nearest


def all_distances(vectors):
    exact = vectors.astype(np.float64)
    return np.linalg.norm(exact[:, None] - exact[None], axis=2)


def cloud(count, dim=6, seed=0):
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("block", [1 << 24, 3_000])
def test_the_pairs_are_exactly_the_nearest_share(monkeypatch, share, block):
    monkeypatch.setattr(pairs, "_BLOCK", block)
    vectors = cloud(400)
    found = closest_pairs(vectors, share, seed=0)
    first, second = np.triu_indices(400, 1)
    distances = all_distances(vectors)
    order = np.argsort(distances[first, second])[: int(np.ceil(share * len(first)))]
    assert {*zip(*found.tolist(), strict=True)} == {*zip(first[order].tolist(), second[order].tolist(), strict=True)}
    assert (found[0] < found[1]).all()


def test_a_sample_that_misleads_costs_another_pass_and_changes_nothing(monkeypatch):
    vectors = cloud(300)
    right = closest_pairs(vectors, 0.05, seed=0)
    limits = iter([0.0, 1e-3])
    honest = pairs._sampled
    monkeypatch.setattr(pairs, "_sampled", lambda *given: next(limits, None) or honest(*given))
    assert np.array_equal(closest_pairs(vectors, 0.05, seed=0), right)


def test_too_many_candidates_lower_the_limit_and_change_nothing(monkeypatch):
    vectors = cloud(500)
    right = closest_pairs(vectors, 0.01, seed=0)
    monkeypatch.setattr(pairs, "_SAMPLE", 50)  # also what may be held beside twice the wanted pairs
    monkeypatch.setattr(pairs, "_BLOCK", 5_000)
    monkeypatch.setattr(pairs, "_sampled", lambda *given: np.inf)
    assert np.array_equal(np.sort(closest_pairs(vectors, 0.01, seed=0)), np.sort(right))


def test_equal_distances_are_cut_in_order():
    vectors = np.eye(10, dtype=np.float32)
    assert closest_pairs(vectors, 0.1, seed=0).tolist() == [[0, 0, 0, 0, 0], [1, 2, 3, 4, 5]]


def test_what_cannot_be_a_graph_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="two different"):
        closest_pairs(cloud(1), 0.01, seed=0)
    with pytest.raises(ValueError, match="90000 different vectors make 40499550 edges"):
        closest_pairs(np.zeros((90_000, 1), dtype=np.float32), 0.01, seed=0)  # gigabytes, and hours of training
    monkeypatch.setattr(pairs, "_MOST", 100)
    with pytest.raises(ValueError, match="more than 100"):
        closest_pairs(cloud(50), 0.5, seed=0)


def test_nearest_is_the_exact_distance(monkeypatch):
    monkeypatch.setattr(pairs, "_BLOCK", 700)
    vectors, others = cloud(90), cloud(40, seed=1)
    exact = np.linalg.norm(others.astype(np.float64)[:, None] - vectors[None], axis=2).min(axis=1)
    assert np.allclose(nearest(others, vectors), exact, atol=1e-4)
    own = all_distances(vectors)
    np.fill_diagonal(own, np.inf)
    assert np.allclose(nearest(vectors[7:80], vectors, np.arange(7, 80)), own.min(axis=1)[7:80], atol=1e-4)
