import json

import pytest
from typer.testing import CliRunner

from logfm.corpus.cli import app
from logfm.errors import UserError

runner = CliRunner()


@pytest.fixture
def logs(write, tmp_path):
    write(
        "a.json", ['{"time": 1700000000, "host": "h1"}', '{"time": 1700000001, "host": "[bold]h2"}', "{oops", "[red]x"]
    )
    write("b.bin", b"\x7fELF" + bytes(100))
    return tmp_path / "logs"


def run(*arguments):
    return runner.invoke(app, [str(one) for one in arguments], catch_exceptions=False)


def test_inspect_raw_files_and_a_corpus_say_the_same(logs, tmp_path):
    raw = json.loads(run("inspect", logs, "--json").stdout)
    result = run("build", logs, "--out", tmp_path / "corpus", "--licence", "MIT", "--json")
    assert json.loads(result.stdout)["events"] == 2
    built = json.loads(run("inspect", tmp_path / "corpus", "--json").stdout)
    for source in built["sources"].values():
        for name in ("unique", "duplicates", "content", "licences"):
            source.pop(name)
    assert raw == built
    assert raw["rejects"] == {"malformed JSON": 2, "not a log (ELF program)": 1}
    assert [one["excerpt"] for one in raw["examples"]["malformed JSON"]] == ["{oops", "[red]x"]
    assert {one["name"]: one["format"] for one in raw["files"]} == {"a.json": "json_lines", "b.bin": None}
    assert raw["files"][0]["why"] == "2 of the first 4 lines are JSON objects (any)"


def test_people_see_formats_counts_and_rejects_as_plain_text(logs):
    out = run("inspect", logs).stdout
    assert "json_lines: 2 of the first 4 lines are JSON objects" in out
    assert "2 events, 100% with time, 2023-11-14 22:13 to 2023-11-14 22:13, 2 rejects" in out
    assert "not a log (ELF program)" in out
    assert "[red]x" in out


def test_dedup_none_and_unknown(logs, tmp_path):
    run("build", logs, "--out", tmp_path / "corpus", "--dedup", "none")
    assert not (tmp_path / "corpus/views").exists()
    with pytest.raises(UserError, match="dedup"):
        run("build", logs, "--out", tmp_path / "other", "--dedup", "fuzzy")


@pytest.mark.parametrize("pause", ["0m", "-5m", "nanm", "infm", "1e400h", "5", "m", ""])
def test_a_pause_that_is_none(logs, tmp_path, pause):
    with pytest.raises(UserError, match="sessions"):
        run("build", logs, "--out", tmp_path / "corpus", "--sessions", pause)


def test_unknown_time_zone(logs, tmp_path):
    with pytest.raises(UserError, match="unknown time zone"):
        run("build", logs, "--out", tmp_path / "corpus", "--timezone", "Mars/Olympus")
