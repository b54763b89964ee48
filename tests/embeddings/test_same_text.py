"""A text has one vector a run, whatever it is encoded beside."""

import shutil

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.cli import main
from logfm.configs.schema.embeddings import DetectConfig, SubsampleConfig
from logfm.embeddings import LogEncoder
from logfm.embeddings import embed as streams
from logfm.embeddings.detect import find
from logfm.embeddings.embed import embed, encode_new, matrix, vectors
from logfm.embeddings.held import read_all
from logfm.embeddings.index import build
from logfm.embeddings.subsample import subsample
from logfm.pretrain.onnx_files import write_onnx
from tests.embeddings.samples import log_lines, write_log

LINES = log_lines(12, seed=4)


@pytest.fixture
def drifting(letters):
    """Every call moves its vectors a little, as 8-bit arithmetic does with every batch."""
    right, calls = letters.backend.target.encode, []

    def moved(texts):
        calls.append(len(texts))
        return right(texts) + 0.01 * len(calls)

    letters.backend.target.encode = moved
    return letters


def test_what_the_baseline_holds_is_not_new(tmp_path, drifting):
    baseline = write_log(tmp_path / "week.log", LINES * 800)
    log = write_log(tmp_path / "today.log", [*LINES, "zzzz qqqq"])
    found = find([log], drifting, DetectConfig(top=13), baseline=[baseline])
    assert [one.text for one in found.findings if one.above_threshold] == ["zzzz qqqq"]
    assert {one.score for one in found.findings[1:]} == {0.0}
    assert drifting.counts.encoded == 13
    assert drifting.counts.texts == 13 + 12 * 800


def test_a_file_of_vectors_beside_raw_lines(tmp_path, drifting):
    baseline, log = write_log(tmp_path / "week.log", LINES * 2), write_log(tmp_path / "today.log", LINES)
    embed([baseline], drifting, tmp_path / "week.parquet")
    table = pq.read_table(tmp_path / "week.parquet")
    # As another run, or the workers of a cluster, may have encoded it.
    flat = np.concatenate([matrix(batch) for batch in table.to_batches()])
    flat += np.repeat([[0.0], [0.02]], 12, axis=0).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
    pq.write_table(pa.table([*table.columns[:-1], column], schema=table.schema), tmp_path / "week.parquet")
    found = find([log], drifting, DetectConfig(top=13), baseline=[tmp_path / "week.parquet"])
    assert found.above_threshold == 0 and {one.score for one in found.findings} == {0.0}


def test_a_text_is_chosen_once(tmp_path, drifting):
    log = write_log(tmp_path / "app.log", LINES * 700)
    texts = [one.text for one in subsample([log], drifting, SubsampleConfig(events=40)).chosen]
    assert sorted(texts) == sorted(LINES)


def test_a_line_that_fills_a_stream_is_encoded_once(tmp_path, drifting):
    log = write_log(tmp_path / "app.log", LINES * 800)
    for step in (
        lambda: embed([log], drifting, tmp_path / "out.parquet"),
        lambda: list(vectors([log], drifting)),
        lambda: build([log], drifting, tmp_path / "index"),
    ):
        before = drifting.counts.encoded
        step()
        assert drifting.counts.encoded == before + 12


def test_memory_of_texts_is_bounded_unless_they_are_kept(letters, monkeypatch):
    monkeypatch.setattr(streams, "_KNOWN_BYTES", 4 * 36 * 5)
    lines = log_lines(20)
    for keep, count in ((False, 5), (True, 20)):
        known = {}
        found = [encode_new(lines[start : start + 10], letters, known, keep) for start in (0, 10)]
        assert np.array_equal(np.concatenate(found), letters.encode(lines))
        assert list(known) == lines[-count:]


def test_what_keeps_coming_is_not_forgotten(drifting, monkeypatch):
    monkeypatch.setattr(streams, "_KNOWN_BYTES", 4 * 36 * 5)
    known, often, rare = {}, LINES[0], log_lines(20)
    found = [encode_new([often, *rare[start : start + 2]], drifting, known)[0] for start in range(0, 20, 2)]
    assert all(np.array_equal(one, found[0]) for one in found)
    assert list(known) == [rare[16], rare[17], often, rare[18], rare[19]]


def test_in_8_bits_through_the_commands(tmp_path, encoder_folder, capsys):
    """Known lines are encoded beside others in the baseline, and alone in the input."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    write_onnx(folder, int8=True, float32=False)
    others = ["x y z", "root " * 9, *log_lines(5, seed=9)]
    baseline = write_log(tmp_path / "week.log", [*LINES, *others, *others, *LINES])
    log = write_log(tmp_path / "today.log", LINES)
    alone, beside = (LogEncoder.load(folder, backend="onnx-int8").encode(one) for one in (LINES, [*LINES, *others]))
    assert np.abs(alone - beside[:12]).max() > 0  # the reason for all of this
    arguments = ["detect", log, "--encoder", folder, "--backend", "onnx-int8", "--baseline", baseline, "--json"]
    assert main([str(one) for one in arguments]) == 0
    document = orjson.loads(capsys.readouterr().out)
    assert document["above_threshold"] == 0
    assert {one["score"] for one in document["findings"]} == {0.0}
    encoder = LogEncoder.load(folder, backend="onnx-int8")
    known = {}
    (_, one), (_, other) = read_all([log], encoder, known), read_all([baseline], encoder, known)
    assert np.array_equal(one, other[:12])
