"""SIGKILL in the middle of a change: the old index still answers, the same command completes it, nothing is twice."""

import os
import signal
import subprocess
import sys

import pytest

from logfm.embeddings import LogEncoder
from logfm.embeddings.index import add, build, compact, delete, search
from tests.embeddings.samples import log_lines, write_log

# Kills itself when a function is called, the n-th time.
KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, {modules!r})
from logfm.embeddings import index
owner = importlib.import_module({module!r})
right, calls = getattr(owner, {function!r}), []
def stop(*given, **named):
    calls.append(1)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return right(*given, **named)
setattr(owner, {function!r}, stop)
index.{command}
"""

ENCODER = """
import numpy as np

class Encoder:
    dim, hash = 4, "fixed"

    def encode(self, texts):
        return features(texts)

def features(texts):
    return np.array([[len(text), text.count("a"), text.count("1"), 1] for text in texts], dtype=np.float32)

encoder = Encoder()
"""


@pytest.fixture
def kill(tmp_path, monkeypatch):
    """Run a command of `index` in a process that kills itself at a moment."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "killing_encoder.py").write_text(ENCODER)
    monkeypatch.syspath_prepend(str(modules))
    monkeypatch.delitem(sys.modules, "killing_encoder", raising=False)

    def run(command, module, function, number):
        script = KILLED.format(modules=str(modules), command=command, module=module, function=function, number=number)
        done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONSAFEPATH": "1"}, check=False)
        assert done.returncode == -signal.SIGKILL

    return run


def everything(folder, query):
    """What vectors and words find."""
    return [search(folder, query, k=9000, mode="vector"), search(folder, query, k=9000, mode="bm25")]


def test_a_killed_add_leaves_the_index_and_a_rerun_completes_it(tmp_path, kill):
    lines = log_lines(4200)
    log = write_log(tmp_path / "app.log", lines[:50])
    folder = tmp_path / "index"
    build([log], LogEncoder.load("py:killing_encoder:encoder"), folder)
    before = everything(folder, lines[7])
    assert [len(hits) for hits in before] == [50, 50]
    write_log(tmp_path / "app.log", lines)
    moments = [
        (("killing_encoder", "features", 2), ".adding/events.parquet"),
        (("numpy", "save", 3), ".adding/bm25-0000.starts.npy"),
        (("logfm.embeddings.index", "sync", 1), "segment-000002/faiss.index"),
        (("logfm.embeddings.index", "write_atomic", 1), "segment-000002/faiss.index"),
    ]
    for moment, left in moments:
        kill(f"add({str(folder)!r}, [{log!r}])", *moment)
        assert (folder / left).exists()
        assert everything(folder, lines[7]) == before
    assert add(folder, [log]).metrics["events"] == 4200
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "segment-000001", "segment-000002"]
    for hits in everything(folder, lines[7]):
        assert len(hits) == 4200
        assert len({hit.event_id for hit in hits}) == 4200


def test_an_add_that_is_killed_when_it_is_done_is_done(tmp_path, kill):
    lines = log_lines(60)
    log = write_log(tmp_path / "app.log", lines[:50])
    folder = tmp_path / "index"
    build([log], LogEncoder.load("py:killing_encoder:encoder"), folder)
    write_log(tmp_path / "app.log", lines)
    kill(f"add({str(folder)!r}, [{log!r}])", "logfm.artifacts", "_sync", 1)
    assert len(search(folder, lines[55], k=100)) == 60
    assert add(folder, [log]).metrics["events"] == 60


def test_a_killed_delete_leaves_the_index_and_a_rerun_completes_it(tmp_path, kill):
    lines = log_lines(60)
    log = write_log(tmp_path / "app.log", lines)
    folder = tmp_path / "index"
    build([log], LogEncoder.load("py:killing_encoder:encoder"), folder)
    delete(folder, ids=[search(folder, lines[0], k=1, mode="bm25")[0].event_id])
    before = everything(folder, lines[7])
    assert [len(hits) for hits in before] == [59, 59]
    where = "text LIKE '% host1 %'"
    gone = sum(" host1 " in line for line in lines[1:])
    assert 0 < gone < 59
    for number in (1, 2):
        kill(f"delete({str(folder)!r}, {where!r})", "logfm.embeddings.index", "write_atomic", number)
        assert everything(folder, lines[7]) == before
    assert (folder / "segment-000001" / "deleted-000002.npy").exists()
    assert delete(folder, where).metrics["events"] == 59 - gone
    for hits in everything(folder, lines[7]):
        assert len(hits) == 59 - gone
        assert all(hit.host != "host1" for hit in hits)


def test_a_killed_compaction_leaves_the_index_and_a_rerun_completes_it(tmp_path, kill):
    lines = log_lines(60)
    log = write_log(tmp_path / "app.log", lines[:40])
    folder = tmp_path / "index"
    build([log], LogEncoder.load("py:killing_encoder:encoder"), folder)
    add(folder, [write_log(tmp_path / "app.log", lines)])
    delete(folder, "text LIKE '% host1 %'")
    before = everything(folder, lines[7])
    for moment in (
        ("numpy", "save", 1),
        ("logfm.embeddings.index", "sync", 1),
        ("logfm.embeddings.index", "write_atomic", 1),
    ):
        kill(f"compact({str(folder)!r})", *moment)
        assert everything(folder, lines[7]) == before
    kept = sum(" host1 " not in line for line in lines)
    assert compact(folder).metrics["events"] == kept
    compact(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "segment-000003"]
    for hits in everything(folder, lines[7]):
        assert len({hit.event_id for hit in hits}) == len(hits) == kept
