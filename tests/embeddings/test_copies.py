"""A stream repeats its lines: what is rare is found beside what fills it."""

import numpy as np
import pytest

from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings import Index, copies
from logfm.embeddings.copies import members, nodes_of
from logfm.embeddings.index import add, build, delete
from logfm.embeddings.nearest import Allowed, Vectors
from logfm.embeddings.segments import _build, _recall, normalised
from tests.embeddings.samples import log_lines, write_log


@pytest.fixture(scope="module")
def vectors():
    """6,000 rows: ten vectors that occur 300 times each, and 3,000 that occur once, in any order."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, 24), dtype=np.float32)
    different = centres[rng.integers(40, size=3010)] + 0.5 * rng.standard_normal((3010, 24), dtype=np.float32)
    rows = np.concatenate([np.repeat(np.arange(10), 300), np.arange(10, 3010)])
    return normalised(different)[rng.permutation(rows)]


def test_nodes_are_the_different_vectors(vectors, monkeypatch):
    nodes, firsts = nodes_of(vectors)
    assert len(firsts) == len(np.unique(vectors, axis=0)) == 3010
    assert np.array_equal(vectors[firsts[nodes]], vectors)
    assert (np.diff(firsts) > 0).all() and np.array_equal(nodes[firsts], np.arange(3010))
    rows, starts = members(nodes)
    assert all((nodes[rows[starts[node] : starts[node + 1]]] == node).all() for node in range(3010))
    # Vectors whose marks are equal by chance stay apart.
    monkeypatch.setattr(np, "unique", _colliding(np.unique))
    nodes, firsts = nodes_of(vectors[:50])
    assert np.array_equal(vectors[firsts[nodes]], vectors[:50])
    assert copies.nodes_of(vectors[:1])[0].tolist() == [0]


def _colliding(right):
    def unique(marks, **options):
        return right(np.zeros_like(marks) if marks.dtype == np.uint64 else marks, **options)

    return unique


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8, None])
def test_what_is_rare_is_found_by_a_graph(vectors, share):
    nodes, firsts = nodes_of(vectors)
    opened = Vectors(_build(vectors, "hnsw", IndexConfig(), firsts), nodes=nodes)
    assert opened.rows == 6000
    mask = np.ones(6000, dtype=bool) if share is None else np.random.default_rng(1).random(6000) < share
    allowed = None if share is None else Allowed(mask)
    queries = vectors[np.random.default_rng(2).choice(firsts, 200, replace=False)]
    scores, rows = opened.nearest(queries, 10, allowed)
    similar = np.where(mask, queries @ vectors.T, -2)
    assert mask[rows].all() and all(len(set(one)) == 10 for one in rows.tolist())
    assert np.allclose(scores, np.take_along_axis(similar, rows, 1), atol=1e-5)
    assert (scores >= np.sort(similar, axis=1)[:, -10:-9] - 1e-5).mean() > 0.98
    # A copy of a frequent line is all of its copies, in their order.
    frequent = np.flatnonzero((nodes == np.bincount(nodes).argmax()) & mask)
    scores, rows = opened.nearest(vectors[frequent[:1]], len(frequent) + 2, allowed)
    assert rows[0, : len(frequent)].tolist() == frequent.tolist()


def test_recall_is_that_of_the_different_vectors(vectors):
    """Without nodes the graph loses rare lines, and the figure says so."""
    nodes, firsts = nodes_of(vectors)
    config = IndexConfig()
    good = Vectors(_build(vectors, "hnsw", config, firsts), nodes=nodes)
    assert _recall(good, vectors, config, firsts) > 0.98
    queries = vectors[firsts[100:200]]
    assert (good.nearest(queries, 1, None)[0] > 1 - 1e-5).all()
    plain = Vectors(_build(vectors, "hnsw", config))
    assert (plain.nearest(queries, 1, None)[0] > 1 - 1e-5).mean() < 0.9


@pytest.mark.parametrize("kind", ["hnsw", "ivfpq", "auto"])
def test_an_index_over_a_stream_that_repeats_itself(tmp_path, letters, kind):
    rare = log_lines(10_600 if kind == "ivfpq" else 900, seed=3)
    frequent = [f"cron[{number}]: job done" for number in range(6)]
    lines = [*frequent * 200, *rare]
    log = write_log(tmp_path / "app.log", lines)
    small = {"flat_up_to": 1000} if kind == "auto" else {}
    manifest = build([log], letters, tmp_path / "index", IndexConfig(kind=kind, **small))
    assert "segment-000001/nodes.npy" in manifest.outputs
    # By its different vectors a stream may be small.
    assert manifest.metrics["segments"][0]["kind"] == ("flat" if kind == "auto" else kind)
    assert (manifest.metrics["segments"][0]["recall_at_10"] or 1) > 0.9
    index = Index.open(tmp_path / "index")
    assert index.events == len(lines)
    for line in (*frequent, *rare[:30]):
        assert index.search(line, k=1, mode="vector")[0].score == pytest.approx(1, abs=1e-5)
    assert [hit.text for hit in index.search(frequent[3], k=200, mode="vector")] == [frequent[3]] * 200
    delete(tmp_path / "index", where="text = 'cron[3]: job done'")
    index = Index.open(tmp_path / "index")
    found = index.search(frequent[3], k=5, mode="vector", where="text LIKE 'cron%'")
    assert len(found) == 5 and all(hit.text in frequent and hit.text != frequent[3] for hit in found)
    more = write_log(tmp_path / "more.log", [*["kernel: oom"] * 5, *log_lines(20, seed=9)])
    assert add(tmp_path / "index", [more]).metrics["events"] == len(lines) - 200 + 25
    assert [hit.text for hit in Index.open(tmp_path / "index").search("kernel: oom", k=5, mode="vector")] == [
        "kernel: oom"
    ] * 5
