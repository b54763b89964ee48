"""A few events for many."""

import numpy as np
import pytest

from logfm.configs.schema.embeddings import SubsampleConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.subsample import max_min, subsample
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log


def plain_max_min(vectors, count):
    """The greedy choice with every distance computed anew."""
    exact = vectors.astype(np.float64)
    chosen = [int(np.linalg.norm(exact - exact.mean(axis=0), axis=1).argmin())]
    while len(chosen) < count:
        distances = np.linalg.norm(exact[:, None] - exact[chosen][None], axis=2).min(axis=1)
        chosen.append(int(distances.argmax()))
    return chosen


def test_the_choice_is_greedy_max_min_from_the_centre():
    vectors = np.random.default_rng(0).standard_normal((500, 7)).astype(np.float32)
    rows, distances = max_min(vectors, 25)
    assert rows.tolist() == plain_max_min(vectors, 25)
    assert np.isnan(distances[0])
    assert (np.diff(distances[1:]) <= 1e-5).all()
    assert distances[1] == pytest.approx(np.linalg.norm(vectors[rows[1]] - vectors[rows[0]]), rel=1e-4)


def test_it_ends_where_nothing_differs_any_more():
    vectors = np.repeat(100 * np.eye(3, dtype=np.float32), 5, axis=0)
    assert sorted(max_min(vectors, 10)[0].tolist()) == [0, 5, 10]
    assert max_min(np.ones((4, 2), dtype=np.float32), 3)[0].tolist() == [0]


def test_a_budget_is_kept_and_what_does_not_fit_is_passed_over():
    vectors = np.array([[0, 0], [1, 0], [-1, 0], [9, 0], [-7, 0]], dtype=np.float32)
    costs = np.array([1, 1, 1, 50, 2])
    assert max_min(vectors, 5, costs, 4)[0].tolist() == [0, 4, 1]
    assert max_min(vectors, 5, costs, 0.5)[0].tolist() == []


def test_every_kind_of_line_is_chosen_once(tmp_path):
    odd = ["kernel: oom-killer invoked by java", "named[9]: zone transfer of example.com denied", "cron: job 7 done"]
    log = write_log(tmp_path / "app.log", [*log_lines(150), *odd, *log_lines(150, seed=2), *odd])
    found = subsample([log], LogEncoder.load("tfidf"), SubsampleConfig(events=12))
    texts = [one.text for one in found.chosen]
    assert found.events == 306
    assert len(set(texts)) == 12
    assert set(odd) <= set(texts)
    content = (tmp_path / "app.log").read_bytes()
    assert all(content[one.offset :].startswith(one.text.encode()) for one in found.chosen)
    assert found.chosen[0].distance is None
    assert found.tokens == 0


def test_a_context_is_filled_by_the_models_own_count(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(60))
    found = subsample([log], letters, SubsampleConfig(tokens=70), count_tokens=lambda text: len(text.split()))
    assert 56 <= found.tokens <= 70
    assert found.tokens == sum(len(one.text.split()) for one in found.chosen)
    estimated = subsample([log], letters, SubsampleConfig(tokens=200, bytes_per_token=4))
    assert all(one.tokens == -(-(len(one.text) + 1) // 4) for one in estimated.chosen)
    assert 150 < estimated.tokens <= 200
    assert len(subsample([log], letters, SubsampleConfig(tokens=1000, events=2)).chosen) == 2
    with pytest.raises(UserError, match="no event fits 3 tokens"):
        subsample([log], letters, SubsampleConfig(tokens=3))
