"""Vectors in Parquet: content, keys, and that a file appears whole or not at all."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from logfm.corpus import build as build_corpus
from logfm.embeddings.embed import KEYS, embed, events, input_hashes, is_vectors, matrix, vectors
from logfm.embeddings.encoder import LogEncoder
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
    with pytest.raises(UserError, match="another encoder"):
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
