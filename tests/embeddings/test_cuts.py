"""Truncation is never silent, and never mixed: not in files, nor in indexes, nor after a kill."""

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from logfm.cli import main
from logfm.embeddings import Index, LogEncoder
from logfm.embeddings import embed as streams
from logfm.embeddings.embed import embed, vectors
from logfm.embeddings.index import add, build
from logfm.embeddings.parts import counts_of
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

LONG = [f"Jan  5 10:00:0{number} web1 app: " + f"begin{number} " * 90 + f"end{number * 7} " * 90 for number in range(3)]


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "app.log", [*log_lines(9), *LONG])


def test_an_index_keeps_its_truncation(tmp_path, encoder_folder, log):
    build([log], LogEncoder.load(encoder_folder, truncation="chunk"), tmp_path / "index")
    more = write_log(tmp_path / "more.log", [line.replace("web1", "web2") for line in LONG])
    assert main(["index", "add", more, "--index", str(tmp_path / "index"), "--encoder", str(encoder_folder)]) == 0
    index = Index.open(tmp_path / "index")
    assert index.encoder.config.truncation == "chunk"
    for line in (*LONG, *(line.replace("web1", "web2") for line in LONG)):
        assert index.search(line, k=1, mode="vector")[0].score == pytest.approx(1, abs=1e-4)
    head = LogEncoder.load(encoder_folder)
    for step in (lambda: add(tmp_path / "index", [more], head), lambda: Index.open(tmp_path / "index", head)):
        with pytest.raises(UserError, match="the index was built with truncation chunk"):
            step()


def test_cuts_of_an_index_are_counted_and_told(tmp_path, encoder_folder, log, capsys):
    encoder = LogEncoder.load(encoder_folder)
    encoder.encode(LONG)  # before: no part of the index
    metrics = build([log], encoder, tmp_path / "index").metrics
    assert (metrics["cut"], metrics["segments"][0]["cut"]) == (3, 3)
    more = write_log(tmp_path / "more.log", [LONG[0] + "x", "short"])
    arguments = ["index", "add", more, "--index", str(tmp_path / "index"), "--json"]
    assert main(arguments) == 0
    found = capsys.readouterr()
    assert "4 different texts of the index were longer than the encoder reads (head)" in found.err
    document = orjson.loads(found.out)
    assert document["cut"] == 4 and [one["cut"] for one in document["segments"]] == [3, 1]
    assert main(["search", str(tmp_path / "index"), LONG[1]]) == 0
    assert "1 of 1 different texts were longer" in capsys.readouterr().err


def test_a_file_of_vectors_says_how_it_was_read(tmp_path, encoder_folder, log):
    file = tmp_path / "vectors.parquet"
    embed([log], LogEncoder.load(encoder_folder), file)
    found = counts_of(file)
    assert (found.texts, found.encoded, found.cut) == (12, 12, 3)
    for options in ({"truncation": "error"}, {"truncation": "chunk"}):
        with pytest.raises(UserError, match=r"the vectors were made with truncation head.*not for truncation"):
            build([file], LogEncoder.load(encoder_folder, **options), tmp_path / "other")
    assert build([file], LogEncoder.load(encoder_folder), tmp_path / "index").metrics["cut"] == 3
    embed([file], LogEncoder.load(encoder_folder), tmp_path / "copy.parquet")
    assert counts_of(tmp_path / "copy.parquet") == found


def test_messages_from_the_command_line(tmp_path, encoder_folder, capsys):
    """Copies behind other headers are encoded once in all batches, and what was read is kept."""
    lines = [f"Jun 14 15:{number // 60:02}:{number % 60:02} web1 app[{number}]: {text}"
             for number, text in enumerate(["session opened", "session closed"] * 1500)]  # fmt: skip
    log = write_log(tmp_path / "app.log", lines * 2)
    file = tmp_path / "vectors.parquet"
    arguments = ["embed", log, "--encoder", str(encoder_folder), "--out", str(file), "--reads", "message"]
    assert main(arguments) == 0
    assert counts_of(file).encoded == 2 and counts_of(file).texts == 6000
    assert len(np.unique(np.stack(pq.read_table(file)["vector"].to_numpy()), axis=0)) == 2
    with pytest.raises(UserError, match=r"the vectors were made with .*reads message"):
        build([file], LogEncoder.load(encoder_folder), tmp_path / "index")
    build([file], LogEncoder.load(encoder_folder, reads="message"), tmp_path / "index")
    index = Index.open(tmp_path / "index")
    assert index.encoder.config.reads == "message"
    assert index.search("Jul 1 00:00:00 db7 x[1]: session closed", k=1, mode="vector")[0].score == pytest.approx(1)
    assert main([*arguments[:-1], "words", "--out", str(tmp_path / "other.parquet")]) == 2
    assert "--reads" in capsys.readouterr().err


def test_bf16_from_the_command_line(tmp_path, encoder_folder, log, capsys):
    arguments = ["embed", log, "--encoder", str(encoder_folder), "--out"]
    assert main([*arguments, str(tmp_path / "one.parquet"), "--bf16", "--device", "cpu"]) == 0
    assert main([*arguments, str(tmp_path / "two.parquet")]) == 0
    one, two = (np.stack(pq.read_table(tmp_path / f"{name}.parquet")["vector"].to_numpy()) for name in ("one", "two"))
    assert 0 < np.abs(one - two).max() < 0.1
    with pytest.raises(UserError, match=r"the vectors were made with .*bf16 True"):
        build([tmp_path / "one.parquet"], LogEncoder.load(encoder_folder), tmp_path / "index")
    assert main([*arguments, str(tmp_path / "three.parquet"), "--device", "tpu"]) == 2
    assert "--device" in capsys.readouterr().err


def test_a_file_of_an_earlier_version_is_read(tmp_path, encoder_folder, log):
    encoder, file = LogEncoder.load(encoder_folder), tmp_path / "vectors.parquet"
    embed([log], encoder, file)
    table = pq.read_table(file)
    kept = {key: value for key, value in table.schema.metadata.items() if key in (streams._HASH, streams._NAME)}
    pq.write_table(table.replace_schema_metadata(kept), file)
    assert counts_of(file) is None
    assert sum(batch.num_rows for batch in vectors([file], encoder)) == 12
    assert build([file], encoder, tmp_path / "index").metrics["cut"] is None


def test_a_resumed_run_tells_all_cuts(tmp_path, encoder_folder, monkeypatch):
    log = write_log(tmp_path / "app.log", [*LONG, *log_lines(8190), "q " * 300, *log_lines(9, seed=1)])
    encoder, calls, right = LogEncoder.load(encoder_folder), [], streams.encode_new

    def stopped(*given):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return right(*given)

    monkeypatch.setattr(streams, "encode_new", stopped)
    fast = {"part_rows": 4096}
    monkeypatch.setattr(type(encoder.backend), "encode", _cheap(type(encoder.backend).encode))
    with pytest.raises(KeyboardInterrupt):
        embed([log], encoder, tmp_path / "out.parquet", **fast)
    monkeypatch.setattr(streams, "encode_new", right)
    again = LogEncoder.load(encoder_folder)
    embed([log], again, tmp_path / "out.parquet", **fast)
    assert again.counts.cut == 4 == counts_of(tmp_path / "out.parquet").cut
    assert again.counts.texts == 8203


def _cheap(right):
    """Only the long texts and a few more go through the model."""

    def encode(self, texts):
        few = [text for number, text in enumerate(texts) if len(text) > 400 or number < 2]
        found, cut = right(self, few)
        return np.resize(found, (len(texts), found.shape[1])), cut

    return encode


@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_a_refusal_leads_to_the_byte(tmp_path, encoder_folder, minilm_folder, kind):
    uri = str(encoder_folder) if kind == "ours" else f"st:{minilm_folder}"
    lines = [*log_lines(20), "\udcff " * 3, "word " * 400, *log_lines(5)]
    (tmp_path / "app.log").write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    offset = (tmp_path / "app.log").read_bytes().index(b"word ")
    with pytest.raises(UserError, match=rf"a text has .* tokens.*: .*app\.log, byte {offset}, event .*Choose --trunc"):
        embed([tmp_path / "app.log"], LogEncoder.load(uri, truncation="error"), tmp_path / "out.parquet")


def test_the_server_tells_cuts(encoder_folder, letters):
    from fastapi.testclient import TestClient

    from logfm.embeddings.serving import application

    encoder = LogEncoder.load(encoder_folder)
    for _ in range(2):
        answer = TestClient(application(encoder)).post("/v1/embeddings", json={"input": [LONG[0], "short", LONG[0]]})
        assert answer.json()["cut"] == 1
    assert encoder.counts.cut == 2
    assert TestClient(application(letters)).post("/v1/embeddings", json={"input": "a"}).json()["cut"] is None


def test_the_server_reads_no_text_without_end(encoder_folder):
    from fastapi.testclient import TestClient

    from logfm.configs.schema.embeddings import ServeConfig
    from logfm.embeddings.serving import application

    client = TestClient(application(LogEncoder.load(encoder_folder), None, ServeConfig(most_characters=100)))
    for path, body in (("embeddings", {"input": ["a", "b" * 101]}), ("explain", {"text": "b" * 101})):
        answer = client.post(f"/v1/{path}", json=body)
        assert answer.status_code == 400
        assert "a text may have 100 characters: one has 101" in answer.json()["error"]["message"]
