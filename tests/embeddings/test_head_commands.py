"""The commands of heads, patterns and subsamples, run as a person runs them."""

import orjson
import pytest

from logfm.cli import main
from tests.embeddings.samples import log_lines, write_log

HOSTILE = "Jan  5 10:00:00 web1 app: [red]evil[/red] \x1b[2J [/] <b>"


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "app.log", [*log_lines(60), HOSTILE])


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr()


def test_what_is_new(capsys, tmp_path, log):
    baseline = write_log(tmp_path / "week.log", log_lines(60) * 2)
    arguments = ("detect", log, "--encoder", "tfidf", "--baseline", baseline, "--top", 2)
    code, found = run(capsys, *arguments, "--json")
    assert code == 0
    document = orjson.loads(found.out)
    assert document["findings"][0]["text"].startswith("Jan  5 10:00:00 web1 app: [red]evil")
    assert document["findings"][0]["above_threshold"]
    assert not document["findings"][1]["above_threshold"]
    assert document["findings"][1]["score"] == 0
    assert document["above_threshold"] == 1
    assert run(capsys, *arguments, "--method", "logbert")[0] == 0


def test_patterns(capsys, log):
    code, found = run(capsys, "patterns", log, "--encoder", "tfidf", "--top", 3, "--json")
    assert code == 0
    document = orjson.loads(found.out)
    assert [len(document[way]) for way in ("labels", "embeddings", "hybrid")] == [3, 3, 3]
    assert "host" in document["structured"]
    code, found = run(capsys, "patterns", log, "--encoder", "tfidf", "--top", 61)
    assert "[red]evil[/red]" in found.out
    assert "\x1b" not in found.out
    assert "free text" in found.err
    assert run(capsys, "patterns", log, "--encoder", "tfidf", "--text-column", "nothing")[0] == 2


def test_subsample(capsys, log):
    code, found = run(capsys, "subsample", log, "--encoder", "tfidf", "-n", 4, "--json")
    assert code == 0
    assert len(orjson.loads(found.out)["chosen"]) == 4
    code, found = run(capsys, "subsample", log, "--encoder", "tfidf", "--tokens", 200)
    assert code == 0
    assert "about" in found.err
    code, found = run(capsys, "subsample", log, "--encoder", "tfidf", "-n", 40)
    assert "[red]evil[/red]" in found.out
    assert "\x1b" not in found.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", ""), "the line is empty"),
        (("explain", "  \t"), "the line is empty"),
        (("explain", "a line", "--encoder", "nowhere"), "no such encoder"),
        (("detect", "LOG", "--encoder", "tfidf", "--method", "nearest"), "Give --baseline"),
        (("detect", "LOG", "--encoder", "tfidf", "--method", "lanobert"), "trained by logfm"),
        (("detect", "LOG", "--encoder", "tfidf", "--method", "pyg_conad"), "no such detector"),
        (("subsample", "LOG", "--encoder", "tfidf", "--tokens", 3), "no event fits"),
        (("patterns", "/nowhere.log", "--encoder", "tfidf"), "/nowhere.log"),
    ],
)
def test_a_mistake_is_one_line(capsys, log, arguments, words):
    code, found = run(capsys, *(log if one == "LOG" else one for one in arguments))
    assert code == 2
    assert words in found.err
    assert len(found.err.strip().splitlines()) == 1
    assert found.out == ""


def test_a_line_of_delimiters_has_nothing_to_judge(capsys, encoder_folder):
    code, found = run(capsys, "explain", "; ;", "--encoder", encoder_folder)
    assert code == 0
    assert "delimiters only" in found.err
    assert "nats" not in found.out
