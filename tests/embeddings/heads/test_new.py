"""Distance to a baseline: what is new."""

import numpy as np
import pytest

from logfm.configs.schema.embeddings import DetectConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import detect, find, fitted
from logfm.embeddings.heads import nearest as heads
from logfm.embeddings.heads.nearest import Baseline
from logfm.embeddings.heads.pairs import nearest
from logfm.embeddings.heads.scores import against
from logfm.errors import UserError
from tests.embeddings.heads.conftest import PLANTED, two_weeks


def test_the_score_is_the_distance_to_the_nearest_normal_direction():
    baseline = np.array([[1, 0], [0, 2], [0, 2]], dtype=np.float32)
    found = Baseline.of(baseline, 0.4).score(np.array([[5, 0], [3, 3], [-1, 0]], dtype=np.float32))
    assert np.allclose(found.scores, [0, np.sqrt(2 - np.sqrt(2)), np.sqrt(2)])
    # The text that occurs twice is not new to itself; the other one is as far away as they are.
    assert np.allclose(found.fitted, [np.sqrt(2), 0, 0])
    # At most two fifths of three events exceed it: one.
    assert found.threshold == 0


@pytest.mark.parametrize("count", [2, 10, 99, 100, 101, 1000])
@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_no_more_than_the_share_of_the_normal_events_exceeds_the_threshold(count, contamination):
    own = np.random.default_rng(count).standard_normal(count)
    found = against(own[:1], own, contamination)
    assert (own > found.threshold).sum() == int(contamination * count)


def test_a_large_baseline_is_judged_by_a_sample(monkeypatch):
    """The threshold costs as many rows of distances as are sampled, and is about what all of them would give."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3000, 4)).astype(np.float32)
    vectors = np.concatenate((vectors, vectors[:500]))
    whole = Baseline.of(vectors, 0.05)
    assert not np.isnan(whole.fitted).any() and (whole.fitted[:500] == 0).all()
    rows = []
    monkeypatch.setattr(heads, "_SAMPLE", 1000)
    monkeypatch.setattr(heads, "nearest", lambda queries, *given: rows.append(len(queries)) or nearest(queries, *given))
    part = Baseline.of(vectors, 0.05, seed=1)
    assert sum(rows) <= 1000
    told = ~np.isnan(part.fitted)
    assert told.sum() == 1000
    assert np.allclose(part.fitted[told], whole.fitted[told], atol=1e-6)
    new = np.concatenate((vectors[:5], rng.standard_normal((5, 4)).astype(np.float32)))
    one, other = part.score(new), whole.score(new)
    assert np.array_equal(one.scores, other.scores)
    assert (whole.fitted > one.threshold).mean() == pytest.approx(0.05, abs=0.02)
    assert np.array_equal(Baseline.of(vectors, 0.05, seed=1).fitted, part.fitted, equal_nan=True)


def test_what_takes_long_says_so(monkeypatch, capsys):
    vectors = np.eye(4, dtype=np.float32)
    Baseline.of(vectors, 0.1).score(vectors)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(heads, "_MANY", 15)
    Baseline.of(vectors, 0.1).score(vectors)
    assert "4 different events against 4: this takes a while" in capsys.readouterr().err


def test_nearest_is_the_default_with_a_baseline_and_impossible_without(letters):
    vectors = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    assert np.array_equal(
        detect(vectors, baseline=vectors[:20]).scores,
        detect(vectors, DetectConfig(method="nearest"), baseline=vectors[:20]).scores,
    )
    for call in (lambda: detect(vectors, DetectConfig(method="nearest")),
                 lambda: find(["nowhere"], letters, DetectConfig(method="nearest"))):  # fmt: skip
        with pytest.raises(UserError, match="Give --baseline"):
            call()


def test_a_planted_line_of_simulated_telemetry_is_the_newest(tmp_path):
    # Where nothing else is new: in other weeks a first backup may be newer still.
    halves = two_weeks(tmp_path, seed=0)
    # A hundredth of the two hundred lines before would be the two strangest of them.
    config = DetectConfig(top=3, contamination=0.02)
    found = find([halves[1]], LogEncoder.load("tfidf"), config, baseline=[halves[0]])
    first = found.findings[0]
    assert first.text == PLANTED
    assert first.above_threshold
    assert first.nearest_normal.file == str(halves[0])


def test_a_text_without_a_direction_is_as_new_as_can_be():
    baseline = np.array([[1, 0], [0, 1]], dtype=np.float32)
    found = Baseline.of(baseline, 0.1).score(np.zeros((1, 2), dtype=np.float32))
    assert found.scores == pytest.approx([np.sqrt(2)])
    nothing = Baseline.of(np.zeros((3, 2), np.float32), 0.1)
    assert nothing.score(np.zeros((1, 2), np.float32)).scores == pytest.approx([0])


@pytest.mark.parametrize("method", ["nearest", "iforest", "knn"])
def test_a_head_that_was_fitted_once_scores_as_detect_does(method):
    vectors = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    config = DetectConfig(method=method)
    score = fitted(vectors[:40], config)
    for part in (vectors[40:50], vectors[50:]):
        expected = detect(part, config, vectors[:40])
        assert np.array_equal(score(part).scores, expected.scores)
        assert score(part).threshold == expected.threshold


def test_what_cannot_be_fitted_once():
    with pytest.raises(UserError, match="one graph"):
        fitted(np.eye(4, dtype=np.float32), DetectConfig(method="conad"))
    with pytest.raises(UserError, match="at least two"):
        fitted(np.eye(1, 4, dtype=np.float32))
