"""The commands: results on stdout, people's messages on stderr, mistakes in one line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from logfm.corpus.store import Corpus
from logfm.errors import UserError
from logfm.tokenizer import LogTokenizer
from logfm.tokenizer.cli import app

runner = CliRunner()


def test_train_extend_report(corpus: Corpus, tmp_path: Path) -> None:
    out, more = tmp_path / "t", tmp_path / "more"
    settings = tmp_path / "settings.yaml"
    settings.write_text("policy: {digits: triplets}\nmin_frequency: 2\n")
    options = ["--vocab-size", "512", "--config", str(settings), "--json"]
    result = runner.invoke(app, ["train", str(corpus.path), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["vocab_size"] == 512
    assert LogTokenizer.load(out).facts.policy.digits == "triplets"
    command = ["extend", str(out), str(corpus.path), "--out", str(more), "--add", "64", "--json"]
    assert json.loads(runner.invoke(app, command).stdout)["vocab_size"] == 576
    command = ["report", str(more), str(corpus.path), "--out", str(tmp_path / "r"), "--json"]
    report = json.loads(runner.invoke(app, command).stdout)
    assert report["rows"][0]["tokenizer"] == "logfm" and report["rows"][0]["events"] == corpus.rows


def test_report_prints_a_table(folder: Path, corpus: Corpus, tmp_path: Path) -> None:
    result = runner.invoke(app, ["report", str(folder), str(corpus.path), "--out", str(tmp_path / "r")])
    assert result.exit_code == 0
    assert "linux" in result.stdout and "tokens_per_event" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "{missing}", "--out", "{out}"], "no such folder"),
        (["train", "{corpus}", "--out", "{out}", "--vocab-size", "128"], "need 320 or more"),
        (["train", "{corpus}", "--out", "{out}", "--vocab-size", "1000"], "multiple of 64"),
        (
            ["train", "{corpus}", "--out", "{out}", "--vocab-size", "huge"],
            "vocab_size: expected a number of tokens, or auto",
        ),
        (["train", "{corpus}", "--out", "{out}", "--vocab-size", "-64"], "vocab_size: 256 bytes and"),
        (["train", "{corpus}", "--out", "{out}", "--vocab-size", "9" * 30], "vocab_size: at most 1048576"),
        (["train", "{corpus}", "--out", "{out}", "--vocab-size", "640000"], "the largest that works"),
        (["train", "{corpus}", "--out", "{out}", "--config", "{missing}"], "cannot read the configuration"),
        (["extend", "{missing}", "{corpus}", "--out", "{out}"], "not a logfm tokenizer"),
        (["extend", "{folder}", "{corpus}", "--out", "{out}", "--add", "10"], "multiple of 64"),
        (["extend", "{folder}", "{corpus}", "--out", "{out}", "--add", str(2**63)], "less than or equal to 1048576"),
        (
            ["report", "{folder}", "{corpus}", "--out", "{out}", "--rival", "{missing}"],
            "cannot read the tokenizer",
        ),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, corpus: Corpus, folder: Path, tmp_path: Path
) -> None:
    places = {
        "corpus": corpus.path, "folder": folder, "out": tmp_path / "out", "missing": tmp_path / "missing",
    }  # fmt: skip
    result = runner.invoke(app, [argument.format(**places) for argument in arguments])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception) and "\n" not in str(result.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "extend", "report"])
@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_seeds_are_what_a_manifest_holds(seed: str, command: str, corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    places = [str(corpus.path)] if command == "train" else [str(folder), str(corpus.path)]
    result = runner.invoke(app, [command, *places, "--out", str(tmp_path / "out"), "--seed", seed])
    assert result.exit_code == 2 and "--seed" in result.output
