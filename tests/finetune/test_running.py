"""`logfm finetune` and `logfm classify`, end to end on small logs; and a run that is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
import yaml

from logfm.artifacts import read_manifest
from logfm.cli import main
from logfm.configs import load
from logfm.configs.base import parse, recipes
from logfm.configs.schema.finetune import FinetuneConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.finetune.classify import classify, head_encoding
from logfm.finetune.running import finetune
from tests.embeddings.samples import write_log
from tests.finetune.samples import recipe, write_logs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_logs(tmp_path_factory.mktemp("running") / "data")


@pytest.fixture(scope="module")
def head(folder):
    """A head over tfidf, made by the command line."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(folder)))
    assert main(["finetune", str(path), "--set", "training.epochs=12"]) == 0
    return folder / "head"


def run(folder, **changes):
    return finetune(parse(FinetuneConfig, recipe(folder, **changes), "test"))


def test_it_learns_what_a_majority_guess_does_not(head):
    test = read_manifest(head, "finetune").metrics["test"]
    assert test["majority_accuracy"] == pytest.approx(1 - test["attack_share"], abs=1e-3)
    assert test["pr_auc"] > 0.9
    assert test["accuracy"] > test["majority_accuracy"]


def test_the_same_command_finds_it_finished(head, folder, capsys):
    manifest = read_manifest(head)
    assert main(["finetune", str(folder / "recipe.yaml"), "--set", "training.epochs=12", "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["test"] == manifest.metrics["test"]
    assert read_manifest(head).created == manifest.created
    assert main(["finetune", str(folder / "recipe.yaml")]) == 2  # another configuration


def test_classify_finds_the_attacks_of_new_logs(head, tmp_path, capsys):
    new = write_logs(tmp_path / "new", hosts=6, seed=7) / "logs"
    assert main(["classify", str(new), "--head", str(head), "--json"]) == 0
    found = orjson.loads(capsys.readouterr().out)
    verdicts = found["verdicts"]
    assert len(verdicts) == 36
    assert [one["score"] for one in verdicts] == sorted((one["score"] for one in verdicts), reverse=True)
    right = [(one["label"] == "attack") == (one["group"] in ("host0", "host3")) for one in verdicts]
    assert sum(right) >= 34
    assert all((one["label"] == "attack") == (one["score"] > found["threshold"]) for one in verdicts)
    assert all(len(one["event_ids"]) == one["events"] == 5 for one in verdicts)
    assert main(["classify", str(new), "--head", str(head), "--top", "1"]) == 0
    shown = capsys.readouterr()
    assert "attack" in shown.out
    assert "of 36 sequences are not normal" in shown.err


def test_log_content_does_not_steer_the_terminal(head, tmp_path, capsys):
    log = write_log(tmp_path / "bad.log", ["Jan  5 10:00:00 h sshd[1]: [red]x[/red] \x1b[2J refused"] * 3)
    assert main(["classify", log, "--head", str(head)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "[red]x[/red]" in shown


def test_another_encoder_and_damage_are_refused(head, folder, tmp_path, encoder_folder, capsys):
    log = str(folder / "logs")
    assert main(["classify", log, "--head", str(head), "--encoder", str(encoder_folder)]) == 2
    assert "is not the one that this head was trained on" in capsys.readouterr().err
    assert main(["classify", log, "--head", str(folder)]) == 2
    assert "not a logfm artifact" in capsys.readouterr().err
    weights = head / "head.safetensors"
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert main(["classify", log, "--head", str(head)]) == 2
        assert "damaged head" in capsys.readouterr().err
    finally:
        weights.write_bytes(content)


def test_an_encoder_folder_and_the_last_layer(folder, encoder_folder, tmp_path):
    out = tmp_path / "head"
    manifest = run(
        folder,
        encoder=str(encoder_folder),
        encoding={},
        out=str(out),
        head={"kind": "lastlayer", "most_events": 5},
        training={"epochs": 2, "batch": 8},
    )
    assert manifest.metrics["encoder"]["hash"] == LogEncoder.load(encoder_folder).hash
    # The plainest model has the encoder's own vectors, whatever head stands beside it.
    beside = {"encoder": str(encoder_folder), "encoding": {}, "training": {"epochs": 1, "batch": 8}}
    other = run(folder, out=str(tmp_path / "beside"), head={"kind": "lstm", "most_events": 5}, **beside)
    plain = manifest.metrics["logistic_regression"]
    assert plain == other.metrics["logistic_regression"] and plain["test"]["pr_auc"] > 0.5
    # Elsewhere `auto` may be another backend; a last layer is trained on torch anyway.
    assert head_encoding(tmp_path / "beside").backend == "torch" and head_encoding(out).backend == "auto"
    assert set(manifest.outputs) == {"head.json", "head.safetensors"}
    assert len(classify([str(folder / "logs")], out).verdicts) == 72
    with pytest.raises(UserError, match="encoder folder trained by logfm"):
        run(folder, out=str(tmp_path / "other"), head={"kind": "lastlayer"})


def test_a_whole_encoder_is_trained_and_classifies(folder, encoder_folder, tmp_path):
    out = tmp_path / "head"
    head = {"kind": "whole", "most_events": 5, "most_tokens": 64, "encoder_rate": 0.3}
    given = {"encoder": str(encoder_folder), "encoding": {}, "training": {"epochs": 2, "batch": 8}}
    manifest = run(folder, out=str(out), head=head, **given)
    assert set(manifest.outputs) == {"head.json", "head.safetensors"} and head_encoding(out).backend == "auto"
    assert len(classify([str(folder / "logs")], out).verdicts) == 72
    with pytest.raises(UserError, match="encoder folder trained by logfm"):
        run(folder, out=str(tmp_path / "other"), head=head)


def test_a_loss_that_is_no_number_leaves_nothing_behind(folder, tmp_path):
    with pytest.raises(UserError, match="the loss is no finite number"):
        run(folder, out=str(tmp_path / "head"), training={"learning_rate": 1e30, "epochs": 3, "batch": 8})
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_goes_on_to_the_same_head(folder, tmp_path):
    document = recipe(folder, out=str(tmp_path / "killed" / "head"))
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(document))
    program = (
        "import os, signal, sys\n"
        "import logfm.finetune.training as training\n"
        "save = training._save\n"
        "def save_and_die(network, optimizer, at, state):\n"
        "    save(network, optimizer, at, state)\n"
        "    if at.epoch == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "training._save = save_and_die\n"
        "from logfm.cli import main\n"
        "sys.exit(main(['finetune', sys.argv[1]]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    found = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, capture_output=True, text=True)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert not (tmp_path / "killed" / "head").exists()
    resumed = load(FinetuneConfig, path)
    first = finetune(resumed)
    second = run(folder, out=str(tmp_path / "straight" / "head"))
    assert first.outputs["head.safetensors"] == second.outputs["head.safetensors"]
    assert first.outputs["head.json"] == second.outputs["head.json"]
    assert set(first.outputs) == {"head.json", "head.safetensors", "encoder/tfidf.json", "encoder/tfidf.npz"}


@pytest.mark.parametrize("name", ["lstm", "gnn", "transformer", "lastlayer", "whole"])
def test_recipes_that_ship_are_valid(name):
    found = load(FinetuneConfig, f"finetune/{name}")
    assert found.head.kind == name
    assert f"finetune/{name}" in recipes()


def test_a_recipe_runs_on_simulated_telemetry(tmp_path, capsys):
    assert main(["simulate", "--events", "3000", "--attack", "12", "--out", str(tmp_path / "simulated")]) == 0
    options = [
        "encoder=tfidf",
        "encoding.tfidf_dim=32",
        f"out={tmp_path / 'head'}",
        f"data.train={tmp_path / 'simulated' / 'logs'}",
        f"data.labels={tmp_path / 'simulated' / 'truth.parquet'}",
        "head.hidden=16",
        "training.epochs=8",
    ]
    sets = [part for option in options for part in ("--set", option)]
    assert main(["finetune", "finetune/lstm", *sets]) == 0
    test = read_manifest(tmp_path / "head").metrics["test"]
    assert test["pr_auc"] > 2 * test["attack_share"]
