"""An artifact appears whole or not at all, and its key decides what may be reused."""

import signal
import subprocess
import sys

import pytest

from logfm.artifacts import finished, produce, read_manifest, stage_key
from logfm.errors import UserError


def make(out, text="content", config=None, **options):
    with produce(out, stage="demo", config=config or {"a": 1}, inputs={"in": "h"}, **options) as work:
        (work.path / "file.txt").write_text(text)
        work.metrics["count"] = 3
        work.licences.add("MIT")


def test_the_manifest_tells_what_was_made(tmp_path):
    make(tmp_path / "out", seed=4)
    manifest = read_manifest(tmp_path / "out", "demo")
    assert manifest.metrics == {"count": 3} and manifest.licences == ["MIT"] and manifest.seed == 4
    assert manifest.outputs["file.txt"].bytes == len("content")
    assert manifest.key == stage_key("demo", {"a": 1}, 4, {"in": "h"})
    assert manifest.versions["python"] == sys.version.split()[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_equal_content_has_an_equal_hash(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        make(tmp_path / name, text)
    hashes = [read_manifest(tmp_path / name).hash for name in "abc"]
    assert hashes[0] == hashes[1] != hashes[2]


def test_finished_work_is_found_and_other_work_refused(tmp_path):
    key = stage_key("demo", {"a": 1}, 0, {"in": "h"})
    assert finished(tmp_path / "out", key) is None
    make(tmp_path / "out")
    assert finished(tmp_path / "out", key) == read_manifest(tmp_path / "out")
    with pytest.raises(UserError, match="another demo run"):
        make(tmp_path / "out", config={"a": 2})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep me")
    with pytest.raises(UserError, match="not empty"):
        make(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes").read_text() == "keep me"


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), produce(tmp_path / "out", stage="demo", config={}, inputs={}) as work:
        (work.path / "half").write_text("x")
        raise ValueError
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from logfm.artifacts import produce
with produce(Path(sys.argv[1]), stage="demo", config={}, inputs={}, resumable=sys.argv[2] == "1") as work:
    (work.path / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("resumable", [False, True])
def test_a_killed_stage_leaves_nothing_that_loads(tmp_path, resumable):
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), str(int(resumable))])
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    with produce(tmp_path / "out", stage="demo", config={}, inputs={}, resumable=resumable) as work:
        assert work.resumed is resumable
        assert (work.path / "half").exists() is resumable
    assert read_manifest(tmp_path / "out").stage == "demo"


def test_unfinished_work_of_other_inputs_is_not_resumed(tmp_path):
    with (
        pytest.raises(ValueError),
        produce(tmp_path / "out", stage="demo", config={}, inputs={"data": "1"}, resumable=True),
    ):
        raise ValueError
    with (
        pytest.raises(UserError, match="other inputs"),
        produce(tmp_path / "out", stage="demo", config={}, inputs={"data": "2"}, resumable=True),
    ):
        pass


@pytest.mark.parametrize("left", ["0a1b2c", "17", '{"key": "x"}'])
def test_unfinished_work_that_nobody_knows_is_refused_in_one_line(tmp_path, left):
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "key").write_text(left)
    (partial / "checkpoint").write_text("kept")
    with pytest.raises(UserError, match="in the way"):
        make(tmp_path / "out", resumable=True)
    assert (partial / "checkpoint").exists()


def test_two_writers_do_not_meet(tmp_path):
    with (
        produce(tmp_path / "out", stage="demo", config={}, inputs={}),
        pytest.raises(UserError, match="another process"),
    ):
        make(tmp_path / "out", config={})


@pytest.mark.parametrize("damage", ["cut", "gone", "manifest", "stage"])
def test_damage_is_found(tmp_path, damage):
    make(tmp_path / "out")
    if damage == "cut":
        (tmp_path / "out" / "file.txt").write_text("c")
    elif damage == "gone":
        (tmp_path / "out" / "file.txt").unlink()
    elif damage == "manifest":
        (tmp_path / "out" / "manifest.json").write_text('{"stage": "demo"')
    with pytest.raises(UserError):
        read_manifest(tmp_path / "out", "other" if damage == "stage" else "demo")


def test_an_unwritable_place_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        make(tmp_path / "file" / "out")
