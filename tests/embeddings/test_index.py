"""Indexes: what they find, filters, growth, damage, and a kill in the middle."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logfm.artifacts import read_manifest
from logfm.configs.schema.embeddings import IndexConfig
from logfm.corpus.events import SCHEMA
from logfm.embeddings import Index, LogEncoder
from logfm.embeddings.embed import embed, vectors
from logfm.embeddings.index import add, build, delete, search
from logfm.embeddings.segments import choose, normalised, write_segment
from logfm.embeddings.sidecar import COLUMNS, Sidecar
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

WEB = [
    '10.1.1.7 - - [05/Jan/2026:10:00:01 +0000] "GET /admin.php?id=1%27%20OR%201=1 HTTP/1.1" 403 199',
    "Jan  5 10:00:02 web1 kernel: Out of memory: Killed process 4242 (java)",
    "Jan  5 10:00:03 web2 sshd[991]: Failed password for invalid user admin from 203.0.113.9 port 4711 ssh2",
    "Jan  5 10:00:04 db1 postgres[17]: ERROR: duplicate key value violates unique constraint",
]


def cosines(encoder, query, lines):
    return normalised(encoder.encode(lines)) @ normalised(encoder.encode([query]))[0]


def test_it_finds_what_is_meant_and_leads_back_to_the_byte(tmp_path, minilm):
    lines = log_lines(60) + WEB
    log = write_log(tmp_path / "app.log", lines)
    build([log], minilm, tmp_path / "index")
    hits = search(
        tmp_path / "index",
        "the machine ran out of RAM and a program was terminated",
        k=3,
        encoder=minilm,
        mode="vector",
    )
    assert hits[0].text == WEB[1]
    content = (tmp_path / "app.log").read_bytes()
    assert content[hits[0].offset :].startswith(WEB[1].encode())
    assert hits[0].file == log
    assert hits[0].host == "web1"
    scores = [hit.score for hit in hits]
    expected = np.sort(cosines(minilm, "the machine ran out of RAM and a program was terminated", lines))[::-1][:3]
    assert np.allclose(scores, expected, atol=1e-5)


def test_the_manifest_names_the_encoder_and_it_is_loaded(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(20))
    manifest = build([log], letters, tmp_path / "index")
    assert manifest.stage == "index"
    assert manifest.config["encoder"] == {"name": "py:letters_module:encoder", "hash": letters.hash, "dim": 36}
    assert manifest.metrics["events"] == 20
    assert search(tmp_path / "index", log_lines(20)[7], k=1, mode="vector")[0].text == log_lines(20)[7]


def test_a_folder_encoder_is_found_from_everywhere(tmp_path, encoder_folder, monkeypatch):
    log = write_log(tmp_path / "app.log", log_lines(10))
    monkeypatch.chdir(encoder_folder.parent)
    build([log], LogEncoder.load(encoder_folder.name), tmp_path / "index")
    monkeypatch.chdir(tmp_path)
    hit = search("index", log_lines(10)[3], k=1, mode="vector")[0]
    assert hit.text == log_lines(10)[3]
    assert hit.score == pytest.approx(1, abs=1e-4)


def test_tfidf_travels_inside_the_index(tmp_path):
    log = write_log(tmp_path / "app.log", log_lines(30) + WEB)
    build([log], LogEncoder.load("tfidf"), tmp_path / "index")
    assert search(tmp_path / "index", "Killed process java", k=1)[0].text == WEB[1]
    assert search(tmp_path / "index", "java", k=1, encoder=LogEncoder.load("tfidf"))[0].text == WEB[1]
    more = write_log(tmp_path / "more.log", ["Jan  5 11:00:00 web1 kernel: Killed process 1 (python)"])
    assert add(tmp_path / "index", [more]).metrics["events"] == 35


def test_a_rerun_reuses_and_other_inputs_are_refused(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(20))
    first = build([log], letters, tmp_path / "index")
    calls = len(letters.backend.target.calls)
    assert build([log], letters, tmp_path / "index") == first
    assert len(letters.backend.target.calls) == calls
    write_log(tmp_path / "app.log", log_lines(21))
    with pytest.raises(UserError, match="another index run"):
        build([log], letters, tmp_path / "index")


def test_small_batches_share_row_groups(tmp_path, letters, monkeypatch):
    """What is left of a log that is mostly known: a few events of each batch."""
    monkeypatch.setattr("logfm.embeddings.segments._GROUP", 8)
    log = write_log(tmp_path / "app.log", log_lines(43))
    whole = pa.Table.from_batches(vectors([log], letters)).combine_chunks().to_batches()[0]
    batches = [whole.slice(start, stop - start) for start, stop in pairwise([0, 2, 4, 7, 8, 9, 30, 32, 43])]
    assert write_segment(tmp_path / "segment", batches, 36, IndexConfig()).rows == 43
    written = pq.ParquetFile(tmp_path / "segment" / "events.parquet")
    sizes = [written.metadata.row_group(number).num_rows for number in range(written.num_row_groups)]
    assert sizes == [8] * 5 + [3]
    table = written.read()
    assert table["row"].to_pylist() == list(range(43))
    assert table["text"].to_pylist() == log_lines(43)


def test_vectors_of_embed_are_indexed_without_encoding(tmp_path, letters, minilm):
    log = write_log(tmp_path / "app.log", log_lines(20))
    embed([log], letters, tmp_path / "vectors.parquet")
    letters.backend.target.calls.clear()
    build([tmp_path / "vectors.parquet"], letters, tmp_path / "index")
    assert letters.backend.target.calls == []
    with pytest.raises(UserError, match="another encoder"):
        build([tmp_path / "vectors.parquet"], minilm, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivfpq"])
def test_every_kind_agrees_with_the_exact_answer(tmp_path, letters, kind):
    lines = log_lines(10_500)
    log = write_log(tmp_path / "app.log", lines)
    manifest = build([log], letters, tmp_path / "index", IndexConfig(kind=kind))
    segment = manifest.metrics["segments"][0]
    assert segment["kind"] == kind
    index = Index.open(tmp_path / "index")
    exact = cosines(letters, lines[123], lines)
    hits = index.search(lines[123], k=10, mode="vector")
    if kind == "flat":
        assert segment["recall_at_10"] is None
        assert np.allclose([hit.score for hit in hits], np.sort(exact)[::-1][:10], atol=1e-5)
    else:
        assert segment["recall_at_10"] > 0.9
        assert min(exact[lines.index(hit.text)] for hit in hits) >= np.sort(exact)[-20] - 1e-5
        assert all(hit.score == pytest.approx(exact[lines.index(hit.text)], abs=1e-5) for hit in hits)
    # A filter that leaves three of ten thousand events still finds all three.
    offsets = [index.search(lines[row], k=1, mode="vector")[0].offset for row in (5, 5000, 10_000)]
    where = f'"offset" IN ({", ".join(map(str, offsets))})'
    assert sorted(hit.offset for hit in index.search(lines[123], k=10, where=where, mode="vector")) == sorted(
        set(offsets)
    )


def test_ivfpq_of_few_events_is_refused(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(100))
    with pytest.raises(UserError, match="ivfpq needs 9984 different vectors, the input has"):
        build([log], letters, tmp_path / "index", IndexConfig(kind="ivfpq"))
    assert [path.name for path in tmp_path.iterdir()] == ["app.log"]


def test_the_kind_follows_the_size():
    config = IndexConfig()
    assert [choose(rows, config) for rows in (1, 50_000, 50_001, 2_000_001)] == ["flat", "flat", "hnsw", "ivfpq"]
    small = IndexConfig(flat_up_to=10, hnsw_up_to=20)
    assert [choose(rows, small) for rows in (10, 11, 9984, 9985)] == ["flat", "hnsw", "hnsw", "ivfpq"]


def test_where_filters_before_the_ranking(tmp_path, minilm):
    log = write_log(tmp_path / "app.log", log_lines(60) + WEB)
    build([log], minilm, tmp_path / "index")
    index = Index.open(tmp_path / "index", minilm)
    found = index.search("out of memory", k=50, where="host = 'web2' OR host = 'db1'", mode="vector")
    assert {hit.text for hit in found} == {WEB[2], WEB[3]}
    assert index.search("out of memory", k=5, where="host = 'nobody'", mode="vector") == []
    year = found[0].timestamp.year
    later = index.search("out of memory", k=100, where=f"timestamp >= '{year}-01-05 10:00:50'", mode="vector")
    assert sorted(hit.timestamp.second for hit in later) == list(range(50, 60))
    rows = index.search("session", k=100, where="extract(minute FROM timestamp) = 0 AND text LIKE '%root%'")
    assert len(rows) == sum("root" in line and " 10:00:" in line for line in log_lines(60) + WEB)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "nothing = 1",
        "host =",
        "host = 'a'; DROP TABLE x",
        "1=1) UNION SELECT 1 --",
        "\"row\" IN (SELECT 1 FROM read_csv('/etc/passwd'))",
        "\"row\" IN (SELECT 1 FROM '/etc/passwd')",
        "host ORDER BY 1",
    ],
)
def test_a_condition_that_is_none_is_the_users_mistake(tmp_path, letters, where):
    log = write_log(tmp_path / "app.log", log_lines(5))
    build([log], letters, tmp_path / "index")
    with pytest.raises(UserError, match=r"--where: .*The columns are event_id, text"):
        search(tmp_path / "index", "a", where=where)


def test_questions_that_make_no_sense(tmp_path, letters, minilm):
    log = write_log(tmp_path / "app.log", log_lines(5))
    build([log], letters, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    for k in (0, -1):
        with pytest.raises(UserError, match="at least 1"):
            index.search("a", k=k)
    with pytest.raises(UserError, match="the query is empty"):
        index.search("  ")
    with pytest.raises(UserError, match="width 36"):
        index.search_vectors(np.zeros((1, 384), dtype=np.float32))
    for query in (None, 7, b"x", ["x"]):
        for mode in ("vector", "bm25", "hybrid"):
            with pytest.raises(UserError, match="texts must be strings: number 0 is"):
                index.search(query, mode=mode)
    for k in (2.5, "3", None, True):
        with pytest.raises(UserError, match="-k must be a whole number"):
            index.search("a", k=k)
    with pytest.raises(UserError, match="found one str"):
        index.search_texts("ab")
    for wrong in ([[1.0]], [1.0], 3, np.zeros((1, 1, 36))):
        with pytest.raises(UserError, match="vectors of width 36"):
            index.search_vectors(wrong)
    with pytest.raises(UserError, match="hold NaN"):
        index.search_vectors(np.full((1, 36), np.nan))
    assert len(index.search_vectors(np.ones((1, 36)).tolist(), k=np.int64(2))[0]) == 2
    assert len(index.search("a", k=1000)) == 5
    with pytest.raises(UserError, match="another encoder"):
        search(tmp_path / "index", "a", encoder=minilm)
    with pytest.raises(UserError, match="another encoder"):
        add(tmp_path / "index", [log], minilm)


def test_times_come_back_to_the_microsecond(tmp_path):
    times = [datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), None, datetime(2024, 2, 29, 1, 2, 3, 4, UTC),
             datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 1, UTC)]  # fmt: skip
    columns = {name: ["x"] * len(times) for name in COLUMNS} | {"offset": list(range(len(times)))}
    columns["timestamp"] = pa.array(times, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    rows = list(range(len(times)))
    found = Sidecar(tmp_path / "events.parquet").records(rows)
    assert found == [("x", "x", "x", "x", row, time, "x") for row, time in zip(rows, times, strict=True)]


def test_another_model_under_the_same_name_is_refused(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(5))
    letters.backend.target.hash = "one"
    build([log], LogEncoder.load("py:letters_module:encoder"), tmp_path / "index")
    letters.backend.target.hash = "two"
    with pytest.raises(UserError, match="another encoder"):
        search(tmp_path / "index", "a")


@pytest.mark.parametrize("name", ["faiss.index", "events.parquet"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_index_is_refused(tmp_path, letters, name, damage):
    log = write_log(tmp_path / "app.log", log_lines(20))
    build([log], letters, tmp_path / "index")
    path = tmp_path / "index" / "segment-000001" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(UserError, match="damaged"):
        search(tmp_path / "index", "a")


def test_what_is_no_index(tmp_path, letters, minilm):
    for path, words in ((tmp_path, "not a logfm artifact"), (tmp_path / "none", "no such folder")):
        with pytest.raises(UserError, match=words):
            search(path, "a")
        with pytest.raises(UserError, match=words):
            add(path, [tmp_path])
    with pytest.raises(UserError, match="no such file"):
        build([tmp_path / "none"], letters, tmp_path / "index")
    write_log(tmp_path / "empty.log", [])
    with pytest.raises(UserError):
        build([tmp_path / "empty.log"], letters, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_add_takes_what_is_new_and_encodes_nothing_else(tmp_path, letters):
    lines = log_lines(40)
    log = write_log(tmp_path / "app.log", lines[:25])
    build([log], letters, tmp_path / "index")
    write_log(tmp_path / "app.log", lines)
    letters.backend.target.calls.clear()
    manifest = add(tmp_path / "index", [log])
    assert letters.backend.target.calls == [lines[25:]]
    assert manifest.metrics["events"] == 40
    assert manifest.metrics["skipped"] == 25
    assert manifest == read_manifest(tmp_path / "index", "index")
    index = Index.open(tmp_path / "index")
    assert index.events == 40
    for row in (3, 30):
        hits = index.search(lines[row], k=40, mode="vector")
        assert hits[0].text == lines[row]
        assert len({hit.event_id for hit in hits}) == 40
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    again = add(tmp_path / "index", [log])
    assert again.outputs == manifest.outputs and again.metrics["skipped"] == 40
    assert read_manifest(tmp_path / "index", "index") == manifest


def test_another_file_of_the_same_name_is_not_taken_for_known(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(10))
    build([log], letters, tmp_path / "index")
    write_log(tmp_path / "app.log", log_lines(10, seed=1))
    assert add(tmp_path / "index", [log]).metrics["events"] == 20


def test_a_name_in_the_manifest_is_checked_before_faiss_reads(tmp_path, letters):
    """A swapped FAISS file is refused by its hash, even where its size is the same."""
    log = write_log(tmp_path / "app.log", log_lines(20))
    build([log], letters, tmp_path / "index")
    path = tmp_path / "index" / "segment-000001" / "faiss.index"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(UserError, match="a file has changed"):
        search(tmp_path / "index", "a")
    shutil.copytree(tmp_path / "index", tmp_path / "copy")
    document = orjson.loads((tmp_path / "copy" / "manifest.json").read_bytes())
    document["outputs"] = {}
    (tmp_path / "copy" / "manifest.json").write_bytes(orjson.dumps(document))
    with pytest.raises(UserError, match="damaged"):
        search(tmp_path / "copy", "a")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("config", "encoder"), None),
        (("config", "encoder", "dim"), None),
        (("config", "encoder", "name"), 7),
        (("config", "reading"), None),
        (("config", "reading"), {"backend": "abacus"}),
        (("config", "index"), []),
        (("metrics", "segments"), None),
        (("metrics", "segments"), []),
        (("metrics", "segments"), [{}]),
    ],
)
def test_a_manifest_that_is_not_whole_is_a_damaged_index(tmp_path, letters, place, value):
    log = write_log(tmp_path / "app.log", log_lines(5))
    build([log], letters, tmp_path / "index")
    document = orjson.loads((tmp_path / "index" / "manifest.json").read_bytes())
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    if value is None:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    (tmp_path / "index" / "manifest.json").write_bytes(orjson.dumps(document))
    steps = (
        lambda: search(tmp_path / "index", "a"),
        lambda: add(tmp_path / "index", [log]),
        lambda: delete(tmp_path / "index", ids=["x"]),
    )
    for step in steps:
        with pytest.raises(UserError, match="damaged index"):
            step()


def test_threads_search_one_opened_index(tmp_path, letters):
    lines = log_lines(300)
    log = write_log(tmp_path / "app.log", lines)
    build([log], letters, tmp_path / "index")
    index = Index.open(tmp_path / "index")
    alone = [index.search(line, k=3, mode="vector") for line in lines[:40]]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda line: index.search(line, k=3, mode="vector"), lines[:40])) == alone


def test_a_sidecar_gives_rows_of_any_group(tmp_path, monkeypatch):
    monkeypatch.setattr("logfm.embeddings.sidecar._KEPT", 2000)
    moment = datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)
    records = [
        (
            f"id{row}",
            "" if row == 3 else f"zeile {row} \N{EURO SIGN}" * (row % 4 + 1),
            "syslog",
            f"file{row % 2}",
            2**40 + row,
            None if row % 5 == 0 else moment - timedelta(days=40_000 * (row % 3), microseconds=row),
            None if row % 7 == 0 else f"host{row % 3}",
        )
        for row in range(100)
    ]
    schema = pa.schema([SCHEMA.field(name) for name in COLUMNS])
    table = pa.Table.from_pylist([dict(zip(COLUMNS, record, strict=True)) for record in records], schema=schema)
    pq.write_table(table, tmp_path / "events.parquet", row_group_size=7)
    opened = Sidecar(tmp_path / "events.parquet")
    for rows in ([99], [0], [6, 7], [0, 50, 98], [], [13, 13, 14], range(100)):
        assert opened.records(rows) == [records[row] for row in rows]
    assert 1 <= len(opened._groups) < 15
