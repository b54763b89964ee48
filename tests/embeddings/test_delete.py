"""Deleting from an index: no search finds it again, and nothing else is lost."""

import numpy as np
import pytest

from logfm.artifacts import read_manifest
from logfm.configs.schema.embeddings import IndexConfig
from logfm.embeddings import Index
from logfm.embeddings.index import add, build, delete, search
from logfm.embeddings.search import verify
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log


@pytest.fixture(params=["flat", "hnsw"])
def index(request, tmp_path, letters):
    """Sixty events in two segments."""
    lines = log_lines(60)
    write_log(tmp_path / "app.log", lines[:40])
    build([tmp_path / "app.log"], letters, tmp_path / "index", IndexConfig(kind=request.param))
    write_log(tmp_path / "app.log", lines)
    add(tmp_path / "index", [tmp_path / "app.log"])
    return tmp_path / "index"


def found(folder, query="session root", **options):
    """Texts that each way of searching finds."""
    opened = Index.open(folder)
    modes = ("vector", "bm25", "hybrid")
    return {mode: [hit.text for hit in opened.search(query, k=100, mode=mode, **options)] for mode in modes}


def test_what_meets_a_condition_is_gone_from_every_search(index):
    lines = log_lines(60)
    left = sorted(line for line in lines if " host1 " not in line)
    manifest = delete(index, "host = 'host1'")
    assert manifest == read_manifest(index, "index")
    assert manifest.metrics["events"] == len(left) == Index.open(index).events
    assert [segment["events"] for segment in manifest.metrics["segments"]] == [40, 20]
    assert sum(segment["deleted"] for segment in manifest.metrics["segments"]) == 60 - len(left)
    for texts in found(index).values():
        assert sorted(texts) == left
    gone = next(line for line in lines if " host1 " in line)
    for texts in found(index, gone).values():
        assert gone not in texts
    assert all(texts == [] for texts in found(index, where="host = 'host1'").values())
    assert sorted(found(index, where="host != 'host2'")["vector"]) == [line for line in left if " host0 " in line]


def test_a_reader_amid_changes_reads_again(index, monkeypatch):
    """A second delete removes the list of rows that the first one replaced, which the reader still wants."""
    delete(index, "host = 'host1'")
    right, calls = verify, []

    def slow(*given, **named):
        calls.append(1)
        if len(calls) == 1:
            monkeypatch.setattr("logfm.embeddings.search.verify", right)
            delete(index, "host = 'host0'")
            delete(index, "text LIKE '%alice%'")
        return right(*given, **named)

    monkeypatch.setattr("logfm.embeddings.search.verify", slow)
    opened = Index.open(index)
    assert calls == [1]
    assert opened.events == read_manifest(index).metrics["events"]
    assert opened.events == sum(" host2 " in line and "alice" not in line for line in log_lines(60))


def test_ids_and_conditions_add_up(index):
    lines = log_lines(60)
    ids = [search(index, lines[row], k=1)[0].event_id for row in (3, 50)]
    assert delete(index, ids=[*ids, "no such id"]).metrics["events"] == 58
    rest = delete(index, "host = 'host0'", [search(index, lines[4], k=1)[0].event_id])
    gone = {3, 50, 4} | {row for row, line in enumerate(lines) if " host0 " in line}
    assert rest.metrics["events"] == 60 - len(gone)
    assert set(found(index)["vector"]) == {line for row, line in enumerate(lines) if row not in gone}
    assert delete(index, ids=ids) == rest
    files = {path.name for path in (index / "segment-000001").iterdir() if path.name.startswith("deleted")}
    assert files == {"deleted-000002.npy"}
    assert np.load(index / "segment-000001" / "deleted-000002.npy", allow_pickle=False).dtype == bool


def test_what_was_deleted_stays_out_when_its_file_is_added_again(index, tmp_path):
    delete(index, "host = 'host1'")
    before = found(index)
    again = add(index, [tmp_path / "app.log"])
    assert again.metrics["events"] == Index.open(index).events == len(before["vector"])
    write_log(tmp_path / "app.log", log_lines(70))
    more = add(index, [tmp_path / "app.log"])
    assert more.metrics["events"] == len(before["vector"]) + 10


def test_everything_may_go(index, tmp_path):
    assert delete(index, "true").metrics["events"] == 0
    assert all(texts == [] for texts in found(index).values())
    more = write_log(tmp_path / "more.log", log_lines(5, seed=3))
    assert add(index, [more]).metrics["events"] == 5
    assert sorted(found(index)["vector"]) == log_lines(5, seed=3)


def test_an_opened_index_answers_on_while_others_change_it(index, tmp_path):
    opened = Index.open(index)
    before = opened.search("session root", k=100, mode="vector")
    delete(index, "host = 'host1'")
    delete(index, "host = 'host2'")
    write_log(tmp_path / "app.log", log_lines(90))
    add(index, [tmp_path / "app.log"])
    assert opened.search("session root", k=100, mode="vector") == before
    assert opened.search("session root", k=100, mode="bm25")


def test_mistakes(index, tmp_path):
    before = read_manifest(index)
    with pytest.raises(UserError, match="say what to delete"):
        delete(index)
    with pytest.raises(UserError, match="--where: "):
        delete(index, "hosts = 1")
    with pytest.raises(UserError, match="not a logfm artifact"):
        delete(tmp_path, "true")
    assert read_manifest(index) == before


def test_a_damaged_list_of_deleted_rows_is_refused(index):
    delete(index, "host = 'host1'")
    path = index / "segment-000001" / "deleted-000001.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(UserError, match="damaged index: a file has changed"):
        search(index, "a")
    path.unlink()
    with pytest.raises(UserError, match="damaged"):
        search(index, "a")


def test_a_damaged_sidecar_is_not_built_on(index, tmp_path):
    path = index / "segment-000001" / "events.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    before = (index / "manifest.json").read_bytes()
    for change in (lambda: delete(index, "true"), lambda: add(index, [tmp_path / "app.log"])):
        with pytest.raises(UserError, match="damaged index: a file has changed"):
            change()
    assert (index / "manifest.json").read_bytes() == before
