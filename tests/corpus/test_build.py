import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import logfm.corpus
from logfm.artifacts import read_manifest
from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus import SCHEMA, Corpus, build, stream
from logfm.corpus.dedup.exact import exact_copies
from logfm.corpus.shards import text_hash
from logfm.corpus.workers import run_tasks
from logfm.errors import UserError


@pytest.fixture
def logs(write, tmp_path) -> Path:
    """Three sources, 400 distinct texts, each of the web lines twice and some of them also under `other`."""
    write("web/a.log", [f"web line {n % 100}" for n in range(200)])
    write("other.txt", [f"web line {n}" for n in range(50)] + [f"other line {n}" for n in range(100)])
    write("json/a.json", [json.dumps({"time": 1700000000 + n, "host": f"h{n}"}) for n in range(200)])
    write("empty.log", "")
    return tmp_path / "logs"


def table(folder: Path):
    return pq.read_table(folder / "events").to_pydict()


def test_a_corpus_holds_the_events_in_order(logs, tmp_path):
    manifest = build([str(logs)], tmp_path / "corpus", CorpusConfig(licences=("CC0-1.0",)))
    corpus = Corpus.open(tmp_path / "corpus")
    batches = list(corpus.batches())
    assert batches[0].schema == SCHEMA
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert len(rows) == corpus.rows == 550
    assert [row["source"] for row in rows] == ["json"] * 200 + ["other"] * 150 + ["web"] * 200
    for row in rows:
        assert Path(row["file"]).read_bytes()[row["offset"] :].startswith(row["text"].encode())
    assert manifest.licences == ["CC0-1.0"]
    assert set(manifest.inputs) == {"empty.log", "json/a.json", "other.txt", "web/a.log"}


def test_the_exact_view_keeps_the_first_of_equal_texts_of_all_sources(logs, tmp_path):
    build([str(logs)], tmp_path / "corpus")
    corpus = Corpus.open(tmp_path / "corpus")
    texts = [text for batch in corpus.batches(["text"]) for text in batch["text"].to_pylist()]
    firsts = {}
    for row, text in enumerate(texts):
        firsts.setdefault(text, row)
    view = pq.read_table(tmp_path / "corpus/views/exact.parquet")
    assert [str(field.type) for field in view.schema] == ["int64", "int32", "string"]
    assert view["row"].to_pylist() == sorted(firsts.values())
    assert view["copies"].to_pylist() == [texts.count(texts[row]) for row in view["row"].to_pylist()]
    kept = [text for batch in corpus.batches(["text"], view="exact") for text in batch["text"].to_pylist()]
    assert kept == list(firsts)


def test_the_manifest_counts_sources_files_and_rejects(logs, tmp_path):
    metrics = build([str(logs)], tmp_path / "corpus").metrics
    assert (metrics["events"], metrics["unique"], metrics["duplicates"]) == (550, 400, 150)
    assert metrics["rejects"] == {"empty file": 1}
    assert {name: (one["events"], one["duplicates"]) for name, one in metrics["sources"].items()} == {
        "json": (200, 0), "other": (150, 0), "web": (200, 150),
    }  # fmt: skip
    json_file = next(one for one in metrics["files"] if one["name"] == "json/a.json")
    assert (json_file["format"], json_file["events"], json_file["timestamped"]) == ("json_lines", 200, 1.0)
    assert (json_file["first"], json_file["last"]) == ("2023-11-14T22:13:20+00:00", "2023-11-14T22:16:39+00:00")
    assert json_file["columns"]["host"] == 200
    assert json_file["fields"] == ["time", "host"]
    assert Corpus.open(tmp_path / "corpus").rejects().to_pylist() == [
        {"file": str(logs / "empty.log"), "offset": 0, "reason": "empty file", "excerpt": ""}
    ]


def test_the_number_of_workers_changes_nothing(logs, tmp_path):
    config = CorpusConfig(shard_bytes=1024)
    one = build([str(logs)], tmp_path / "one", config, workers=1)
    two = build([str(logs)], tmp_path / "two", config, workers=2)
    assert len(list((tmp_path / "two/events").iterdir())) == 3
    assert one.hash == two.hash
    assert one.key == two.key
    assert table(tmp_path / "one") == table(tmp_path / "two")


def test_a_zip_cut_into_tasks_gives_the_same_events(logs, tmp_path, write):
    import zipfile

    path = tmp_path / "logs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number:02d}.log", "".join(f"line {number} {n}\n" for n in range(100)))
    build([str(path)], tmp_path / "whole")
    build([str(path)], tmp_path / "parts", CorpusConfig(shard_bytes=2048), workers=2)
    whole, parts = table(tmp_path / "whole"), table(tmp_path / "parts")
    assert len(whole["event_id"]) == 2000
    assert whole == parts


def test_ids_survive_a_move_of_the_folder(logs, tmp_path):
    build([str(logs)], tmp_path / "before")
    logs.rename(tmp_path / "moved")
    build([str(tmp_path / "moved")], tmp_path / "after")
    assert table(tmp_path / "before")["event_id"] == table(tmp_path / "after")["event_id"]


def test_a_finished_corpus_is_left_alone_and_other_inputs_refused(logs, tmp_path):
    first = build([str(logs)], tmp_path / "corpus")
    assert build([str(logs)], tmp_path / "corpus").created == first.created
    (logs / "web/a.log").write_text("changed\n")
    with pytest.raises(UserError, match="another corpus run"):
        build([str(logs)], tmp_path / "corpus")


def test_no_event_at_all_is_the_users_mistake(write, tmp_path):
    write("a.log", "")
    write("b.bin", b"\x7fELF" + bytes(500))
    with pytest.raises(UserError, match=r"no event was read \(1 x empty file; 1 x not a log \(ELF program\)\)"):
        build([str(tmp_path / "logs")], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_places_that_make_no_sense(logs, tmp_path):
    with pytest.raises(UserError, match="inside the input"):
        build([str(logs)], logs / "corpus")
    build([str(logs)], tmp_path / "corpus")
    with pytest.raises(UserError, match="a logfm artifact already"):
        build([str(tmp_path / "corpus")], tmp_path / "again")


def test_an_unwritable_place(logs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        build([str(logs)], tmp_path / "file" / "corpus")


def test_dedup_can_be_left_out(logs, tmp_path):
    assert "unique" not in build([str(logs)], tmp_path / "corpus", CorpusConfig(dedup=())).metrics
    with pytest.raises(UserError, match="no view 'exact'"):
        list(Corpus.open(tmp_path / "corpus").batches(view="exact"))


def test_a_killed_build_leaves_nothing_that_loads(logs, tmp_path):
    for number in range(60):
        (logs / f"big{number}.log").write_text("".join(f"line {number} {n}\n" for n in range(5_000)))
    script = (
        "from pathlib import Path; from logfm.corpus import build;"
        "from logfm.configs.schema.corpus import CorpusConfig;"
        f"build([{str(logs)!r}], Path({str(tmp_path / 'corpus')!r}), CorpusConfig(shard_bytes=50_000), workers=2)"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    partial = tmp_path / ".corpus.partial"
    deadline = time.monotonic() + 60
    while len(list(partial.glob("spool-*/*.parquet"))) < 4 and time.monotonic() < deadline:
        assert process.poll() is None, "the build ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(UserError):
        Corpus.open(partial)
    manifest = build([str(logs)], tmp_path / "corpus", CorpusConfig(shard_bytes=50_000), workers=1)
    assert manifest.metrics["events"] == 550 + 60 * 5_000
    assert read_manifest(tmp_path / "corpus", "corpus").hash == manifest.hash
    assert {path.name for path in (tmp_path / "corpus").iterdir()} == {
        "events", "manifest.json", "rejects.parquet", "templates.parquet", "views",
    }  # fmt: skip


def test_exact_copies_over_several_buckets(tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.corpus.dedup.exact._BUCKET", 7)
    monkeypatch.setattr("logfm.corpus.dedup.exact._READ", 4)
    texts = [f"t{n % 13}" for n in range(40)]
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(b"".join(map(text_hash, texts[:25])))
    paths[1].write_bytes(b"".join(map(text_hash, texts[25:])))
    copies = exact_copies(paths, 40, tmp_path)
    assert copies.dtype == np.int32
    assert copies.tolist() == [texts.count(text) if texts.index(text) == row else 0 for row, text in enumerate(texts)]
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_streaming_reads_raw_files_and_corpora_alike(logs, tmp_path):
    build([str(logs)], tmp_path / "corpus")

    def texts(*inputs, view=None):
        return [
            row for batch in stream([str(one) for one in inputs], ["text", "offset"], view) for row in batch.to_pylist()
        ]

    assert texts(logs) == texts(tmp_path / "corpus")
    assert texts(logs, view="exact") == texts(tmp_path / "corpus", view="exact")
    assert len(texts(logs, tmp_path / "corpus")) == 1100
    with pytest.raises(UserError, match="no input"):
        list(stream([]))


def test_public_names():
    for name in logfm.corpus.__all__:
        assert getattr(logfm.corpus, name) is not None
    assert callable(logfm.corpus.build)
    with pytest.raises(AttributeError):
        _ = logfm.corpus.nothing


def test_importing_the_room_is_light():
    heavy = ("pyarrow", "numpy", "torch", "evtx")
    code = f"import sys, logfm.corpus, logfm.corpus.cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_that_a_worker_finds_is_told_as_one(tmp_path, workers):
    task = {"kind": "read", "bytes": 1, "units": [], "root": str(tmp_path / "missing")}
    tasks = [task | {"task": number} for number in range(2)]
    with pytest.raises(UserError, match=r"no such file or folder.*missing"):
        run_tasks(tasks, tmp_path, CorpusConfig(dataset="loghub"), workers, lambda size: None)
