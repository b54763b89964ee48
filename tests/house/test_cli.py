"""The command line: help, exit codes, and one line for every mistake."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from logfm.cli import main


def logfm(*arguments, timeout=250):
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "logfm.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env=os.environ | {"PYTHONSAFEPATH": "1", "COLUMNS": "120"},
    )  # fmt: skip


def one_line_error(done):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    return lines[-1]


COMMANDS = ["quickstart", "corpus", "corpus build", "corpus inspect", "simulate", "tokenizer", "tokenizer train",
            "configs list", "pretrain", "export", "embed", "index build", "index add", "search", "detect", "explain",
            "doctor"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_recipes_are_listed_and_copied(tmp_path, capsys):
    assert main(["configs", "list"]) == 0
    assert "pretrain/nano" in capsys.readouterr().out
    assert main(["configs", "copy", "pretrain/nano", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "nano.yaml").exists()


def test_doctor_tells_versions_as_json(capsys):
    assert main(["doctor", "--json"]) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert found["extras"]["embed"]["torch"] and isinstance(found["problems"], list)


def test_an_unknown_option_is_exit_code_2(capsys):
    assert main(["search", "--no-such-option"]) == 2
    assert "No such option" in capsys.readouterr().err


@pytest.fixture
def bad(tmp_path):
    """Inputs from which no event can come."""
    (tmp_path / "empty.log").touch()
    (tmp_path / "binary.bin").write_bytes(bytes(range(256)) * 50)
    whole = gzip.compress(os.urandom(20_000))
    (tmp_path / "cut.log.gz").write_bytes(whole[:300])
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    (tmp_path / "fine.log").write_text("Jan  5 10:00:00 host sshd[1]: session opened for user root\n")
    return tmp_path


@pytest.mark.parametrize("name", ["missing.log", "empty.log", "binary.bin", "cut.log.gz", "cut.zip"])
def test_input_without_events_is_one_line(bad, name, capsys):
    assert main(["quickstart", str(bad / name), "--out", str(bad / "out")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and name in error
    assert not (bad / "out" / "corpus").exists()
    # A mistyped input doesn't bind the folder to it.
    assert main(["quickstart", str(bad / "fine.log"), "--out", str(bad / "out")]) == 2
    assert "Add logs" in capsys.readouterr().err


def test_a_folder_that_is_taken_or_cannot_be_written_is_one_line(bad, capsys):
    assert main(["quickstart", str(bad / "fine.log"), "--out", str(bad / "taken")]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main(["quickstart", str(bad / "fine.log"), "--out", str(bad / "fine.log" / "out")]) == 2
    assert "cannot write here" in capsys.readouterr().err
    assert (bad / "taken" / "notes.txt").read_text() == "mine"


def test_too_few_events_to_train_on_is_one_line(bad, capsys):
    for recipe, told in (("quickstart", "Add logs"), ("quickstart-small", "too little text")):
        assert main(["quickstart", str(bad / "fine.log"), "--out", str(bad / recipe), "--config", recipe]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and told in error


def test_an_error_in_a_process_of_its_own(tmp_path):
    error = one_line_error(logfm("search", tmp_path / "nothing", "text"))
    assert "no such folder" in error
    assert "\x1b" not in one_line_error(logfm("corpus", "build", tmp_path / "\x1b[31mred", "--out", tmp_path / "o"))
    assert "Traceback" in logfm("--debug", "search", tmp_path / "nothing", "text").stderr


def test_results_go_to_stdout_and_messages_to_stderr(bad):
    done = logfm("corpus", "inspect", bad / "fine.log", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["events"] == 1
