"""The commands over an index, run as a person runs them."""

import orjson
import pytest
import typer
from typer.testing import CliRunner

from logfm.embeddings.cli import index_app, search_command
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

app = typer.Typer()
app.add_typer(index_app, name="index")
app.command("search")(search_command)


def run(*arguments):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(found.exception, UserError):
        raise found.exception
    return found


def hits(*arguments):
    return orjson.loads(run("search", *arguments, "--json").stdout)["hits"]


@pytest.fixture
def index(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(200))
    run("index", "build", log, "--index", tmp_path / "index", "--encoder", "py:letters_module:encoder")
    return tmp_path / "index"


def test_an_address_by_words_and_by_both(index):
    line = log_lines(200)[77]
    address = line.split()[-1]
    for mode in ("bm25", "hybrid"):
        assert hits(index, address, "--mode", mode)[0]["text"] == line
    assert hits(index, line)[0]["text"] == line
    assert hits(index, line, "--mode", "vector")[0]["score"] == pytest.approx(1, abs=1e-5)
    assert hits(index, "198.51.100.1 zzz", "--mode", "bm25", "--where", "text LIKE '%nothing%'") == []
    with pytest.raises(UserError, match="no such way to search: words"):
        run("search", index, "a", "--mode", "words")


def test_a_hybrid_ranking_shows_places(index):
    line = log_lines(200)[77]
    for options, words in (((), " rank "), (("--mode", "vector"), "score ")):
        rows = run("search", index, line, "-k", 3, *options).stdout.splitlines()
        assert rows[0].startswith(words.strip())
        first = [row.split()[0] for row in rows if " 2026-" in row or f" {line[:6]}" in row]
        assert first[:3] == ["1", "2", "3"] if not options else first[0] == "1.000"


def test_a_time_range(index):
    year = hits(index, "session", "-k", 1)[0]["timestamp"][:4]
    found = hits(index, "session", "-k", 500, "--since", f"{year}-01-05T10:01", "--until", f"{year}-01-05T10:02")
    assert sorted(hit["text"] for hit in found) == log_lines(200)[60:120]
    with pytest.raises(UserError, match="--since is no date or time: soon"):
        run("search", index, "a", "--since", "soon")
    with pytest.raises(UserError, match="--since must lie before --until"):
        run("search", "nowhere", "a", "--since", "2026-01-05", "--until", "2026-01-05T00:00")


def test_delete(index):
    expected = sum(" host1 " in line for line in log_lines(200))
    found = run("index", "delete", "--index", index, "--where", "host = 'host1'", "--json")
    document = orjson.loads(found.stdout)
    assert (document["deleted"], document["events"]) == (expected, 200 - expected)
    assert f"{expected} events deleted, {200 - expected} left" in found.stderr
    ids = [hit["event_id"] for hit in hits(index, "session", "-k", 2)]
    again = run("index", "delete", "--index", index, "--ids", ids[0], "--ids", ids[1], "--json")
    assert orjson.loads(again.stdout)["deleted"] == 2
    left = hits(index, "session", "-k", 500)
    assert len(left) == 198 - expected
    assert all(hit["host"] != "host1" and hit["event_id"] not in ids for hit in left)
    with pytest.raises(UserError, match="say what to delete"):
        run("index", "delete", "--index", index)


def test_without_words(tmp_path, letters):
    log = write_log(tmp_path / "app.log", log_lines(5))
    arguments = ("--index", tmp_path / "index", "--encoder", "py:letters_module:encoder", "--no-bm25")
    run("index", "build", log, *arguments)
    assert len(hits(tmp_path / "index", "a")) == 5
    with pytest.raises(UserError, match="built without words"):
        run("search", tmp_path / "index", "a", "--mode", "hybrid")


def test_an_index_that_finds_too_little_says_so(tmp_path, letters, monkeypatch):
    log = write_log(tmp_path / "app.log", log_lines(60))
    arguments = (log, "--encoder", "py:letters_module:encoder", "--kind", "hnsw", "--index")
    assert "not found" not in run("index", "build", *arguments, tmp_path / "good").stderr
    monkeypatch.setattr("logfm.embeddings.segments._recall", lambda *_: 0.75)
    found = run("index", "build", *arguments, tmp_path / "poor")
    assert "recall@10 0.750" in found.stderr and "some of the nearest events are not found" in found.stderr
