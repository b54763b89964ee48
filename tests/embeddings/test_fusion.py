"""Reciprocal rank fusion."""

import numpy as np

from logfm.embeddings.fusion import CONSTANT, reciprocal_rank_fusion


def ids(*numbers):
    return np.array(numbers, dtype=np.int64)


def test_places_are_added():
    scores, found = reciprocal_rank_fusion([ids(7, 3, 5), ids(3, 9)], 10)
    assert found.tolist() == [3, 7, 9, 5]
    first, second, third = (1 / (CONSTANT + place) for place in (1, 2, 3))
    assert np.allclose(scores, [first + second, first, second, third])


def test_ties_go_to_the_first_ranking_and_k_cuts():
    assert reciprocal_rank_fusion([ids(9, 1), ids(4, 2)], 3)[1].tolist() == [9, 4, 1]


def test_empty_rankings():
    assert reciprocal_rank_fusion([ids(), ids()], 3)[1].tolist() == []
    assert reciprocal_rank_fusion([ids(), ids(2)], 3)[1].tolist() == [2]
