"""One segment's vectors: what a filter leaves is found by every kind of index, and a GPU is used if there is one."""

import faiss
import numpy as np
import pytest

from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings import nearest, segments
from logfm.embeddings.nearest import Allowed, Vectors


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, 32), dtype=np.float32)
    found = centres[rng.integers(200, size=12_000)] + 0.4 * rng.standard_normal((12_000, 32), dtype=np.float32)
    return segments.normalised(found)


@pytest.fixture(scope="module", params=["flat", "hnsw", "ivfpq"])
def opened(request, vectors):
    index = segments._build(vectors, request.param, IndexConfig())
    return Vectors(index, exact=vectors if request.param == "ivfpq" else None)


def recall(found, exact):
    return np.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, exact, strict=True)])


@pytest.mark.parametrize("share", [0.001, 0.03, 0.2, 0.6, 0.999, 1.0])
def test_a_filter_keeps_the_recall(opened, vectors, share, monkeypatch):
    monkeypatch.setattr(nearest, "_FEW", 1000)
    mask = np.random.default_rng(1).random(12_000) < share
    queries = vectors[:50]
    scores, rows = opened.nearest(queries, 5, Allowed(mask))
    similar = np.where(mask, queries @ vectors.T, -2)
    exact = np.argsort(-similar, axis=1)[:, :5]
    assert mask[rows].all()
    assert (np.diff(scores, axis=1) <= 0).all()
    assert recall(rows, exact) > 0.95
    assert np.allclose(scores, np.take_along_axis(similar, rows, 1), atol=1e-5)


def test_more_is_asked_than_is_allowed(opened, vectors):
    mask = np.zeros(12_000, dtype=bool)
    assert opened.nearest(vectors[:2], 5, Allowed(mask))[1].shape == (2, 0)
    mask[[5, 70]] = True
    assert sorted(opened.nearest(vectors[5:6], 9, Allowed(mask))[1][0]) == [5, 70]


def test_a_gpu_holds_every_kind_of_index(tmp_path, vectors, monkeypatch, capsys):
    """Without the hardware: that the copy answers, but not what FAISS's kernels can't (filters, many results)."""
    asked = []

    class Copy:
        def __init__(self, index):
            self.index = index

        def search(self, queries, top):
            asked.append(top)
            return self.index.search(queries, top)

    for kind in ("flat", "hnsw", "ivfpq"):
        faiss.write_index(segments._build(vectors, kind, IndexConfig()), str(tmp_path / kind))
    assert Vectors.open(tmp_path / "flat").gpu is None
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", Copy)
    opened = Vectors.open(tmp_path / "flat")
    assert opened.nearest(vectors[:1], 3, None)[1][0, 0] == 0
    assert asked == [3]
    opened.nearest(vectors[:1], 3, Allowed(np.arange(12_000) < 100))
    opened.nearest(vectors[:1], 3000, None)
    assert asked == [3]
    graph, cells = (Vectors.open(tmp_path / kind) for kind in ("hnsw", "ivfpq"))
    # Of a graph its vectors: all are compared.
    assert isinstance(graph.gpu.index, faiss.IndexFlat) and isinstance(cells.gpu.index, faiss.IndexIVF)
    exact = np.argsort(-(vectors[:50] @ vectors.T), axis=1)[:, :5]
    assert recall(graph.nearest(vectors[:50], 5, None)[1], exact) > 0.999
    assert cells.nearest(vectors[:1], 5, None)[1][0, 0] >= 0
    assert asked == [3, 5, 5]
    monkeypatch.setattr(nearest, "_GPU_TOP", 4)
    assert Vectors.open(tmp_path / "ivfpq").gpu is None  # it looks into more cells than a kernel does

    def full(index):
        raise RuntimeError("Error in allocMemory\nout of memory")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", full)
    assert Vectors.open(tmp_path / "flat").gpu is None
    assert "the index is searched on the CPU: out of memory" in capsys.readouterr().err
