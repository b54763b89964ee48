"""Many segments become one: nothing is lost but what was deleted, and nothing is encoded."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from logfm.artifacts import read_manifest
from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings import Index, LogEncoder
from logfm.embeddings.index import add, build, compact, delete
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log


def found(folder, line):
    opened = Index.open(folder)
    return [
        [(hit.event_id, hit.text, hit.offset, round(hit.score, 4)) for hit in opened.search(line, k=30, mode=mode)]
        for mode in ("vector", "bm25")
    ]


def texts(folder):
    return sorted(hit.text for hit in Index.open(folder).search("session", k=1_000_000))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_one_segment_answers_as_all_did(tmp_path, letters, kind):
    lines = [*log_lines(90), *["cron: job done"] * 8]
    log = tmp_path / "app.log"
    for number, count in enumerate((40, 70, 98)):
        write_log(log, lines[:count])
        if number:
            add(tmp_path / "index", [log])
        else:
            build([log], letters, tmp_path / "index", IndexConfig(kind=kind))
    delete(tmp_path / "index", where="host = 'host1'")
    before, all_of_them = found(tmp_path / "index", lines[3]), texts(tmp_path / "index")
    calls = len(letters.backend.target.calls)
    manifest = compact(tmp_path / "index")
    assert len(letters.backend.target.calls) == calls
    assert manifest == read_manifest(tmp_path / "index", "index")
    assert [segment["events"] for segment in manifest.metrics["segments"]] == [len(all_of_them)]
    assert texts(tmp_path / "index") == all_of_them
    after = found(tmp_path / "index", lines[3])
    assert sorted(after[0]) == sorted(before[0])
    # Words are weighed by how many events have them, of which the deleted ones were still some.
    assert {one[0] for one in after[1]} >= {one[0] for one in before[1][:5]}
    # Readers may have the old files: they go with the next change, and with them what was deleted.
    assert len(list((tmp_path / "index").glob("segment-*"))) == 4
    assert compact(tmp_path / "index") == manifest
    assert [path.name for path in (tmp_path / "index").glob("segment-*")] == ["segment-000004"]
    assert add(tmp_path / "index", [log]).metrics["events"] == 98  # what was deleted is forgotten


def test_an_opened_index_outlives_its_files(tmp_path, letters):
    """Nothing of it was read before they went."""
    lines = log_lines(90)
    log = write_log(tmp_path / "app.log", lines[:60])
    build([log], letters, tmp_path / "index")
    add(tmp_path / "index", [write_log(tmp_path / "app.log", lines)])
    opened, other = Index.open(tmp_path / "index"), Index.open(tmp_path / "index")
    questions = [(mode, where) for mode in ("vector", "bm25", "hybrid") for where in (None, "host = 'host1'")] * 4

    def ask(index):
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda one: index.search("session root", 20, one[1], mode=one[0]), questions))

    expected = ask(other)
    assert not opened.outdated
    delete(tmp_path / "index", where="host = 'host1'")
    assert opened.outdated
    for _ in range(2):
        compact(tmp_path / "index")
    assert [path.name for path in (tmp_path / "index").glob("segment-*")] == ["segment-000003"]
    assert ask(opened) == expected
    assert [hit.host for hit in expected[1]] == ["host1"] * 20


def test_tfidf_stays_inside_and_an_empty_index_is_refused(tmp_path):
    log = write_log(tmp_path / "app.log", log_lines(30))
    build([log], LogEncoder.load("tfidf"), tmp_path / "index")
    delete(tmp_path / "index", where="host = 'host1'")
    compact(tmp_path / "index")
    assert Index.open(tmp_path / "index").search("root", k=3)
    delete(tmp_path / "index", where="true")
    with pytest.raises(UserError, match="every event of the index is deleted"):
        compact(tmp_path / "index")
    assert Index.open(tmp_path / "index").search("root", k=3) == []


def test_memory_for_hits_is_that_of_one_segment(tmp_path, letters, monkeypatch):
    """Row groups of all segments together stay within the limit."""
    monkeypatch.setattr("logfm.embeddings.segments._GROUP", 8)
    monkeypatch.setattr("logfm.embeddings.sidecar._KEPT", 6000)
    log = write_log(tmp_path / "app.log", log_lines(64))
    build([log], letters, tmp_path / "index")
    for seed in (1, 2):
        add(tmp_path / "index", [write_log(tmp_path / f"{seed}.log", log_lines(64, seed=seed))])
    opened = Index.open(tmp_path / "index")
    assert len(opened.search("session", k=192)) == 192
    held = [sum(len(group.content) for group in one.sidecar._groups.values()) for one in opened._segments]
    assert 0 < sum(held) <= 6000
    assert np.ptp(held) < 2000
