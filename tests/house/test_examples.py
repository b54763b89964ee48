"""The examples and the README's commands do what they say."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from logfm.cli import main

ROOT = Path(__file__).parents[2]


def example(name, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)],
        capture_output=True, text=True, timeout=250, env=os.environ | {"PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    out = tmp_path_factory.mktemp("telemetry") / "sim"
    assert main(["simulate", "--events", "600", "--out", str(out)]) == 0
    return out / "logs" / "linux" / "auth.log"


@pytest.mark.slow
def test_the_three_examples_run(logs, tmp_path):
    assert "bits per byte" in example(
        "first_encoder.py", logs.parents[1], "--out", tmp_path / "first", "--minutes", "0.05"
    )
    encoder = tmp_path / "first" / "encoder"
    found = example("embed_and_search.py", encoder, logs, "Failed password", "--index", tmp_path / "index")
    assert "float32 vectors of 256" in found and "auth.log:" in found
    table = example("compare_encoders.py", logs, encoder)
    assert "TF-IDF" in table and "pair_auc" in table


def test_the_readmes_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text())
    assert links and all((ROOT / link).exists() for link in links), links


def test_the_readmes_commands_exist(capsys):
    text = (ROOT / "README.md").read_text()
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^logfm .*$", text, re.MULTILINE)]
    assert len(commands) >= 8
    options = {word for command in commands for word in command if word.startswith("-")}
    for command in commands:
        words = [word for word in command[1:3] if re.fullmatch("[a-z]+", word)]
        while words and main([*words, "--help"]) != 0:
            words.pop()
        shown = capsys.readouterr().out
        assert words, command
        for word in command:
            if word in options:
                assert word in shown, (command, word)


@pytest.mark.slow
def test_the_readmes_guide_runs(logs, tmp_path, monkeypatch):
    """Your own telemetry, line by line, on simulated logs and with a minute's worth of training taken away."""
    text = (ROOT / "README.md").read_text().split("## Your own telemetry")[1]
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^logfm .*$", text, re.MULTILINE):
        line = line.replace("/var/log exports/*.evtx", str(logs.parents[1])).replace("/var/log", str(logs.parents[1]))
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "pretrain":
            words += ["--set", "train.minutes=0.05", "--set", "data.tokens_per_batch=2048"]
        assert main(words) == 0, line
