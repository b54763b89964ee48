"""Vectors in Parquet: content, keys, and that a file appears whole or not at all."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from logfm.artifacts import produce, read_manifest
from logfm.corpus import build as build_corpus
from logfm.embeddings.embed import (
    KEYS,
    embed,
    events,
    input_hashes,
    is_vectors,
    known_engine,
    licences,
    matrix,
    vector_schema,
    vectors,
)
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.index import build
from logfm.embeddings.parts import parts_of
from logfm.errors import LogfmError, UserError
from tests.embeddings.samples import log_lines, write_log


def test_every_event_has_its_vector_and_its_keys(tmp_path, minilm):
    lines = log_lines(40) + log_lines(10)
    log = write_log(tmp_path / "app.log", lines)
    out = tmp_path / "new" / "vectors.parquet"
    assert embed([log], minilm, out) == 50
    table = pq.read_table(out)
    assert table.column_names == [*KEYS, "vector"]
    assert str(table.schema.field("vector").type).startswith("fixed_size_list<")
    assert table.schema.field("vector").type.list_size == 384
    assert table["text"].to_pylist() == lines
    content = (tmp_path / "app.log").read_bytes()
    for row in table.slice(0, 5).to_pylist():
        assert content[row["offset"] :].startswith(row["text"].encode() + b"\n")
        assert row["host"].startswith("host")
    found = np.stack(table["vector"].to_numpy())
    assert found.dtype == np.float32
    assert np.abs(found - minilm.encode(lines)).max() < 1e-6
    assert table.schema.metadata[b"logfm.encoder.hash"].decode() == minilm.hash
    assert [path.name for path in out.parent.iterdir()] == ["vectors.parquet"]


def test_a_corpus_and_its_logs_give_the_same(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(30))
    build_corpus([log], tmp_path / "corpus", workers=1)
    embed([log], letters, tmp_path / "one.parquet")
    embed([tmp_path / "corpus"], letters, tmp_path / "two.parquet")
    assert pq.read_table(tmp_path / "one.parquet").equals(pq.read_table(tmp_path / "two.parquet"))


def test_a_file_of_vectors_is_read_and_not_encoded_again(tmp_path, letters, minilm):
    log = write_log(tmp_path / "app.log", log_lines(30))
    out = tmp_path / "vectors.parquet"
    embed([log], letters, out)
    calls = len(letters.backend.target.calls)
    batches = list(vectors([out], letters))
    assert len(letters.backend.target.calls) == calls
    found = np.concatenate([matrix(batch) for batch in batches])
    assert np.array_equal(found, letters.encode(log_lines(30)))
    assert is_vectors([out])
    assert not is_vectors([log])
    with pytest.raises(UserError, match=rf"vectors of {out} come from another encoder \(py:letters_module:encoder\)"):
        list(vectors([out], minilm))
    assert [text for batch in events([out], ["text"]) for text in batch["text"].to_pylist()] == log_lines(30)


def test_nothing_is_left_when_the_encoder_fails(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(5000))
    right = letters.backend.target.encode

    def fail_later(texts):
        if len(letters.backend.target.calls) >= 1:
            raise ValueError("out of order")
        return right(texts)

    letters.backend.target.encode = fail_later
    out = tmp_path / "out" / "vectors.parquet"
    with pytest.raises(LogfmError, match="out of order"):
        embed([log], letters, out)
    assert list(out.parent.iterdir()) == []


def test_what_was_encoded_before_an_error_is_kept(tmp_path, letters, capsys):
    log = write_log(tmp_path / "app.log", log_lines(20_000))
    expected, out = tmp_path / "expected.parquet", tmp_path / "out" / "vectors.parquet"
    embed([log], letters, expected)
    calls, right = letters.backend.target.calls, letters.backend.target.encode

    def fail_once(texts):
        if len(calls) == 3:
            calls.append([])
            raise ValueError("out of order")
        return right(texts)

    calls.clear()
    letters.backend.target.encode = fail_once
    with pytest.raises(LogfmError, match="out of order"):
        embed([log], letters, out, part_rows=5000)
    assert not out.exists()
    assert "the first 8192 events are kept" in capsys.readouterr().err
    calls.clear()
    assert embed([log], letters, out, part_rows=5000) == 20_000
    assert sum(map(len, calls)) == 20_000 - 8192
    assert pq.read_table(out).equals(pq.read_table(expected))
    assert [path.name for path in out.parent.iterdir()] == ["vectors.parquet"]


def test_unfinished_work_of_another_input_is_not_taken(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(9000))
    right = letters.backend.target.encode

    def fail_later(texts):
        if len(letters.backend.target.calls) == 2:
            raise ValueError("out of order")
        return right(texts)

    letters.backend.target.encode = fail_later
    with pytest.raises(LogfmError):
        embed([log], letters, tmp_path / "out.parquet", part_rows=1)
    letters.backend.target.encode = right
    write_log(tmp_path / "app.log", log_lines(9000, seed=1))
    with pytest.raises(UserError, match="other inputs is in the way"):
        embed([log], letters, tmp_path / "out.parquet", part_rows=1)
    write_log(tmp_path / "app.log", log_lines(9000))
    letters.backend.target.calls.clear()
    assert embed([log], letters, tmp_path / "out.parquet", part_rows=1) == 9000
    assert len(letters.backend.target.calls) == 1


@pytest.mark.parametrize(("moment", "number"), [("encode", 4), ("write", 2), ("merge", 1)])
def test_a_killed_run_goes_on_where_it_was(tmp_path, moment, number):
    log = write_log(tmp_path / "app.log", log_lines(20_000))
    out = tmp_path / "out.parquet"
    script = f"""
import os, signal, sys
from pathlib import Path
from logfm.embeddings import LogEncoder
from logfm.embeddings import embed as room, parts
from tests.embeddings.samples import Letters
calls = []
def killing(right):
    def stop(*given, **named):
        calls.append(1)
        if len(calls) == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return right(*given, **named)
    return stop
if {moment!r} == "encode":
    Letters.encode = killing(Letters.encode)
elif {moment!r} == "write":
    parts.sync = killing(parts.sync)
else:
    parts.Parts.merge = killing(parts.Parts.merge)
encoder = LogEncoder.load("py:tests.embeddings.samples:Letters")
room.embed([{log!r}], encoder, Path({str(out)!r}), part_rows=5000)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    encoder = LogEncoder.load("py:tests.embeddings.samples:Letters")
    assert embed([log], encoder, out, part_rows=5000) == 20_000
    encoded = {"encode": 20_000 - 8192, "write": 20_000 - 8192, "merge": 0}[moment]
    assert sum(map(len, encoder.backend.target.calls)) == encoded
    embed([log], encoder, tmp_path / "expected.parquet")
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "expected.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.log", "expected.parquet", "out.parquet"]


def test_what_a_kill_in_the_last_moment_leaves_is_removed(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(3))
    out, left = tmp_path / "out.parquet", tmp_path / ".out.parquet.partial"
    embed([log], letters, out)
    left.mkdir()
    (left / "key").write_text("of the run that was killed")
    with _locked(left), pytest.raises(UserError, match="the file exists"):
        embed([log], letters, out)
    assert left.exists()  # another process still has it
    with pytest.raises(UserError, match="the file exists"):
        embed([log], letters, out)
    assert not left.exists() and out.exists()


@contextmanager
def _locked(folder):
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def test_licences_travel_with_the_vectors(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(3))
    with produce(tmp_path / "corpus", stage="corpus", config={}, inputs={}) as work:
        work.licences.update({"MIT", "CC-BY-4.0"})
    assert licences([tmp_path / "corpus"]) == ["CC-BY-4.0", "MIT"]
    assert licences([log]) == []
    build_corpus([log], tmp_path / "real", workers=1)
    manifest = read_manifest(tmp_path / "real")
    named = manifest.model_copy(update={"licences": ["MIT"]})
    (tmp_path / "real" / "manifest.json").write_text(named.model_dump_json())
    embed([tmp_path / "real"], letters, tmp_path / "one.parquet")
    embed([tmp_path / "one.parquet"], letters, tmp_path / "two.parquet")
    assert build([tmp_path / "two.parquet"], letters, tmp_path / "index").licences == ["MIT"]


def test_two_writers_do_not_meet(tmp_path, letters):
    with (
        parts_of(tmp_path / "out.parquet", vector_schema(letters), "key"),
        pytest.raises(UserError, match="another process"),
        parts_of(tmp_path / "out.parquet", vector_schema(letters), "key"),
    ):
        pass


def test_a_start_that_breaks_off_is_no_work_of_another_run(tmp_path, letters):
    """The file that names the run appears whole or not at all, here where nothing can be written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with (
            pytest.raises(OSError, match="File too large"),
            parts_of(tmp_path / "out.parquet", vector_schema(letters), "key"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / ".out.parquet.partial").is_dir()
    with parts_of(tmp_path / "out.parquet", vector_schema(letters), "key") as parts:
        assert parts.rows == 0


def test_standard_input_starts_again(tmp_path, letters, monkeypatch):
    folder = tmp_path / ".out.parquet.partial"
    with pytest.raises(KeyboardInterrupt), parts_of(tmp_path / "out.parquet", vector_schema(letters), None):
        raise KeyboardInterrupt
    assert not folder.exists()
    folder.mkdir()
    (folder / "key").write_text("once")  # what a killed run leaves
    (folder / "part-000000.parquet").write_bytes(b"of another stream")
    with parts_of(tmp_path / "out.parquet", vector_schema(letters), None) as parts:
        assert parts.rows == 0


def test_engines_by_name():
    assert known_engine("ray") == "ray"
    with pytest.raises(UserError, match="no such engine: spark"):
        known_engine("spark")


def test_an_existing_file_stays(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(3))
    (tmp_path / "out.parquet").write_text("mine")
    with pytest.raises(UserError, match="the file exists"):
        embed([log], letters, tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_text() == "mine"


def test_the_output_may_not_lie_in_the_input(tmp_path, letters):
    write_log(tmp_path / "app.log", log_lines(3))
    with pytest.raises(UserError, match="inside the input"):
        embed([tmp_path], letters, tmp_path / "out.parquet")


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_input_without_events(tmp_path, letters, content):
    (tmp_path / "empty.log").write_text(content)
    with pytest.raises(UserError):
        embed([tmp_path / "empty.log"], letters, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(UserError, match="no such file"):
        embed([tmp_path / "missing.log"], letters, tmp_path / "out.parquet")


def test_a_damaged_parquet_file_is_no_crash(tmp_path, letters):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(UserError, match="damaged Parquet"):
        embed([tmp_path / "bad.parquet"], letters, tmp_path / "out.parquet")


def test_tfidf_is_fitted_on_the_stream(tmp_path):
    log = write_log(tmp_path / "app.log", log_lines(60))
    encoder = LogEncoder.load("tfidf")
    embed([log], encoder, tmp_path / "out.parquet", fit_texts=20)
    other = LogEncoder.load("tfidf")
    other.fit(log_lines(60)[:20])
    assert encoder.hash == other.hash
    with pytest.raises(UserError, match="reads its input twice"):
        embed(["-"], LogEncoder.load("tfidf"), tmp_path / "two.parquet")


def test_input_hashes_follow_the_content(tmp_path):
    log = write_log(tmp_path / "app.log", log_lines(3))
    first = input_hashes([log])
    assert input_hashes([log]) == first
    write_log(tmp_path / "app.log", log_lines(4))
    assert input_hashes([log]) != first
    assert input_hashes(["-"]) != input_hashes(["-"])
