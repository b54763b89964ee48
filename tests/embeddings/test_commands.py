"""The commands, run as a person runs them."""

import orjson
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from logfm.embeddings.cli import detect_command, embed_command, explain_command, index_app, search_command
from logfm.errors import UserError
from tests.embeddings.samples import log_lines, write_log

app = typer.Typer()
app.command("embed")(embed_command)
app.add_typer(index_app, name="index")
app.command("search")(search_command)
app.command("detect")(detect_command)
app.command("explain")(explain_command)

HOSTILE = "Jan  5 10:00:00 web1 app: [red]evil[/red] \x1b[2J [/] <b>"


def run(*arguments):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(found.exception, UserError):
        raise found.exception
    return found


@pytest.fixture
def log(tmp_path, letters):
    return write_log(tmp_path / "app.log", [*log_lines(60), HOSTILE])


def test_embed(tmp_path, log):
    out = tmp_path / "vectors.parquet"
    found = run("embed", log, "--encoder", "py:letters_module:encoder", "--out", out, "--json")
    assert orjson.loads(found.stdout) == {"out": str(out), "events": 61, "dim": 36, "cut": None}
    assert "does not tell which texts it cuts" in found.stderr
    assert pq.read_metadata(out).num_rows == 61


def test_index_search_and_add(tmp_path, log):
    index = tmp_path / "index"
    found = run("index", "build", log, "--index", index, "--encoder", "py:letters_module:encoder", "--json")
    assert orjson.loads(found.stdout)["events"] == 61
    found = run("search", index, log_lines(60)[4], "-k", 2, "--json")
    document = orjson.loads(found.stdout)
    assert document["hits"][0]["text"] == log_lines(60)[4]
    assert len(document["hits"]) == 2
    assert set(document["hits"][0]) == {"score", "event_id", "text", "source", "file", "offset", "timestamp", "host"}
    found = run("search", index, "evil", "--where", "host = 'web1'")
    assert "[red]evil[/red]" in found.stdout
    assert "\x1b" not in found.stdout
    more = write_log(tmp_path / "more.log", log_lines(5, seed=9))
    found = run("index", "add", more, "--index", index, "--json")
    assert orjson.loads(found.stdout)["events"] == 66


def test_detect(log):
    arguments = ("detect", log, "--encoder", "py:letters_module:encoder", "--top", 3, "--contamination", 0.05)
    document = orjson.loads(run(*arguments, "--json").stdout)
    assert len(document["findings"]) == 3
    assert document["events"] == 61
    assert document["findings"][0]["text"].startswith("Jan  5 10:00:00 web1 app: [red]evil")
    shown = run(*arguments)
    assert "[red]evil[/red]" in shown.stdout
    assert "nearest normal" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "3 of 61 events" in shown.stderr
    assert orjson.loads(run(*arguments, "--method", "knn", "--baseline", log, "--json").stdout)["events"] == 61


def test_explain(tmp_path, encoder_folder):
    arguments = ("explain", "--encoder", encoder_folder, HOSTILE, "--html", tmp_path / "page.html")
    document = orjson.loads(run(*arguments, "--json").stdout)
    assert document["text"] == HOSTILE
    assert "<b>" not in (tmp_path / "page.html").read_text()
    shown = run(*arguments)
    assert "[red]evil[/red]" in shown.stdout
    assert "\x1b[2J" not in shown.stdout


def test_cuts_are_told(tmp_path, minilm_folder):
    log = write_log(tmp_path / "app.log", ["word " * 400, "short"])
    uri = f"st:{minilm_folder}"
    found = run("embed", log, "--encoder", uri, "--out", tmp_path / "one.parquet")
    assert "1 of 2 different texts were longer than the encoder reads (head)" in found.stderr
    with pytest.raises(UserError, match="400 tokens, the encoder reads 254"):
        run("embed", log, "--encoder", uri, "--out", tmp_path / "two.parquet", "--truncation", "error")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--encoder", "py:letters_module:encoder", "--kind", "tree"), "--kind"),
        (("--encoder", "py:letters_module:encoder", "--truncation", "tail"), "--truncation"),
    ],
)
def test_wrong_options_are_the_users_mistake(tmp_path, log, arguments, words):
    with pytest.raises(UserError, match=words):
        run("index", "build", log, "--index", tmp_path / "index", *arguments)
    assert not (tmp_path / "index").exists()


def test_k_must_be_positive(tmp_path):
    assert run("search", tmp_path, "text", "-k", 0).exit_code == 2
