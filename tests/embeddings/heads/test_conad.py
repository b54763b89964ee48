"""CONAD: our blockwise training against PyOD's own, and what it finds."""

import sys

import numpy as np
import pytest
import torch

from logfm.configs.schema.embeddings import ConadConfig, DetectConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings.detect import detect, find
from logfm.embeddings.heads.pairs import closest_pairs
from logfm.errors import UserError
from tests.embeddings.heads.conftest import PLANTED

QUICK = ConadConfig(epochs=30)


def clusters(count=240, dim=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = 4 * rng.standard_normal((6, dim))
    vectors = centres[rng.integers(0, 6, count)] + 0.3 * rng.standard_normal((count, dim))
    vectors[-2:] = 9 * rng.standard_normal((2, dim))
    return vectors.astype(np.float32)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_blockwise_is_pyods_own(dropout):
    conad = pytest.importorskip("pyod.models.pyg_conad")
    data = pytest.importorskip("torch_geometric.data")
    from logfm.embeddings.heads.conad import fit_blockwise

    vectors = clusters()
    edges = closest_pairs(vectors, 0.02, seed=0)
    features = torch.from_numpy(vectors)
    both_ways = torch.from_numpy(np.concatenate((edges, edges[::-1]), axis=1))

    def made():
        return conad.CONAD(hidden_dim=16, epochs=15, dropout=dropout)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = made().fit(data.Data(x=features, edge_index=both_ways)).decision_scores_
        torch.manual_seed(1)
        ours = fit_blockwise(made(), features, both_ways, sampled_rows=1_000)
    assert theirs.std() > 1
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dense_up_to", [2_000, 2])
def test_what_lies_alone_scores_high_on_both_paths(dense_up_to):
    pytest.importorskip("torch_geometric")
    config = DetectConfig(method="conad", conad=ConadConfig(epochs=30, dense_up_to=dense_up_to, sampled_rows=64))
    found = detect(clusters(), config)
    assert set(np.argsort(-found.scores)[:4]) >= {238, 239}
    assert np.array_equal(detect(clusters(), config).scores, found.scores)
    assert (found.scores > found.threshold).sum() == 2  # at most one in a hundred of 240


def test_equal_vectors_score_alike_and_a_baseline_gives_the_threshold():
    pytest.importorskip("torch_geometric")
    vectors = clusters()
    doubled = np.concatenate((vectors[-2:], vectors[-2:], vectors[:20]))
    found = detect(doubled, DetectConfig(method="conad", conad=QUICK), baseline=vectors[:-2])
    assert np.array_equal(found.scores[:2], found.scores[2:4])
    assert (found.scores[:4] > found.threshold).all()
    assert found.fitted.shape == (238,)
    assert (found.scores[4:] > found.threshold).mean() < 0.2


def test_a_planted_line_of_simulated_telemetry_is_found(halves):
    pytest.importorskip("torch_geometric")
    config = DetectConfig(method="conad", conad=QUICK, top=8)
    found = find([halves[1]], LogEncoder.load("tfidf"), config, baseline=[halves[0]])
    assert PLANTED in [one.text for one in found.findings]


def test_no_graph_and_no_package_are_told_in_one_line(monkeypatch):
    pytest.importorskip("torch_geometric")
    with pytest.raises(UserError, match="no graph can be made"):
        detect(np.ones((5, 3), dtype=np.float32), DetectConfig(method="conad"))
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    with pytest.raises(UserError, match=r"logfm\[gnn\]"):
        detect(clusters(), DetectConfig(method="conad"))
