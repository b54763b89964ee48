"""The benchmark's share of a training step, on a handful of events."""

import json
import statistics
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.tokenizer_speed import app
from logfm.corpus.store import Corpus
from logfm.errors import UserError

runner = CliRunner()


def test_share_of_a_step(folder: Path, corpus: Corpus, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    model = "{hidden_size: 16, layers: 1, heads: 1, intermediate_size: 16}"
    recipe.write_text(f"corpus: c\ntokenizer: t\nout: o\nmodel: {model}\ndata: {{max_tokens: 32}}\n")
    options = ["--recipe", str(recipe), "--rounds", "3", "--tokens", "100"]
    result = runner.invoke(app, ["share", str(folder), str(corpus.path), *options])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found["rounds"]) == 3 and all(100 <= row["tokens"] < 1000 for row in found["rounds"])
    shares = [row["encode_seconds"] / row["step_seconds"] for row in found["rounds"]]
    assert found["share_of_step"] == pytest.approx(statistics.median(shares)) and min(shares) > 0


def test_too_few_events(folder: Path, corpus: Corpus) -> None:
    result = runner.invoke(app, ["share", str(folder), str(corpus.path), "--tokens", str(10**7)])
    assert isinstance(result.exception, UserError)
