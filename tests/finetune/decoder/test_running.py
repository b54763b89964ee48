"""The stage and its commands: from a labelled table to a head that answers about a file of lines."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from logfm.cli import app
from logfm.configs import load
from logfm.configs.base import find, read_yaml, recipes
from logfm.configs.schema.decoder import DecoderConfig
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.generating import Prediction
from logfm.finetune.decoder.head import DecoderHead
from logfm.finetune.decoder.models import known_models
from logfm.finetune.decoder.running import inputs_of

WORDS = ("red", "green", "blue", "black", "white", "grey", "pink", "brown", "gold", "silver")
SHIPPED = ("chunks", "techniques", "tram", "triage")


@pytest.fixture(scope="module")
def config(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration over entries of ten rules of two kinds."""
    folder = tmp_path_factory.mktemp("triage")
    rows = []
    for rule, word in enumerate(WORDS):
        kind = rule % 2
        for place in WORDS[:6]:
            program = ("backup", "login")[kind]
            line = f"{program} {word} {place} {'cmd.exe' if kind else 'report'}"
            rows.append(
                {
                    "log": {"message": line, "action": program},
                    "mitre": [("TA0040:T1486", "TA0002:T1059")[kind]],
                    "severity": ("Low", "High")[kind],
                    "rule": f"r{rule}",
                }
            )
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    document = {
        "decoder": {"name": str(base_folder), "dtype": "float32", "device": "cpu"},
        "out": str(folder / "head"),
        "data": {
            "task": "triage",
            "sources": [
                {
                    "kind": "rows",
                    "name": "made",
                    "input": str(folder / "rows.jsonl"),
                    "text": "log",
                    "techniques": "mitre",
                    "severity": "severity",
                    "group": "rule",
                }
            ],
        },
        "lora": {"rank": 4, "layers": 2},
        "training": {"epochs": 1, "batch": 16},
        "prompt": {"context": 400},
    }
    path = folder / "triage.yaml"
    path.write_text(json.dumps(document))
    return path


def test_a_head_is_trained_measured_and_put_to_work(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["finetune", str(config), "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    metrics = json.loads(done.stdout)
    assert metrics["cases"] == {"train": 42, "validation": 6, "test": 12}
    assert {"threat/accuracy", "severity/accuracy"} <= set(metrics["test"])
    assert metrics["training"]["frozen_layers"] == 1
    head = Path(metrics["out"])
    assert sorted(path.name for path in head.iterdir()) == [
        "adapter", "decoder.json", "manifest.json", "predictions.parquet"]  # fmt: skip
    rows = pq.read_table(head / "predictions.parquet").to_pylist()
    assert len(rows) == 12
    assert all(json.loads(row["answer"]).keys() == {"threat", "technique", "severity"} for row in rows)

    before = (head / "manifest.json").read_bytes()
    assert "test" in runner.invoke(app, ["finetune", str(config)], catch_exceptions=False).stdout
    assert (head / "manifest.json").read_bytes() == before

    (tmp_path / "some.log").write_text("login 3 4 cmd.exe\nbackup 2 1 report\n")
    for mode in ("constrained", "free"):
        found = runner.invoke(
            app, ["classify", str(tmp_path / "some.log"), "--head", str(head), "--mode", mode, "--json"]
        )
        answers = json.loads(found.stdout)["answers"]
        assert len(answers) == 2
        assert all((one["answer"] is None) == bool(one["unreadable"]) for one in answers)
        assert mode == "free" or not any(one["unreadable"] for one in answers)
    shown = runner.invoke(app, ["classify", str(tmp_path / "some.log"), "--head", str(head)], catch_exceptions=False)
    assert "threat: " in shown.stdout
    grammar = DecoderHead.load(head).grammar
    said = grammar.write({slot.name: slot.labels[:1] for slot in grammar.slots}).upper()

    def predict(head: DecoderHead, cases: list[Case], mode: str) -> list[Prediction]:
        return [Prediction(one.case_id, text, None, {}) for one, text in zip(cases, (said, "?"), strict=True)]

    monkeypatch.setattr(DecoderHead, "predict", predict)
    found = runner.invoke(
        app, ["classify", str(tmp_path / "some.log"), "--head", str(head), "--mode", "free", "--json"]
    )
    read, unread = json.loads(found.stdout)["answers"]
    assert read["answer"] == {slot.name: [slot.labels[0]] for slot in grammar.slots} and not read["unreadable"]
    assert unread["answer"] is None and unread["unreadable"] == "no label"
    wrong = runner.invoke(app, ["classify", str(tmp_path / "some.log"), "--head", str(head), "--mode", "both"])
    assert isinstance(wrong.exception, UserError)


@pytest.mark.parametrize("name", ["mine.txt", "fields.yaml", "threats.yaml"])
def test_what_cases_are_written_with_is_part_of_a_heads_identity(base_folder: Path, tmp_path: Path, name: str) -> None:
    for kept, recipe in (("fields", "finetune/fields/generic"), ("threats", "finetune/threats")):
        (tmp_path / f"{kept}.yaml").write_text(find(recipe).read_text())
    (tmp_path / "mine.txt").write_text("[system]\nSay it.\n[case]\n{text}\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    source = {"kind": "rows", "name": "made", "input": str(tmp_path / "rows.jsonl"), "group": "rule"}
    data = {"task": "triage", "sources": [source], "threats": str(tmp_path / "threats.yaml")}
    config = DecoderConfig.model_validate(
        {
            "decoder": {"name": str(base_folder)},
            "out": str(tmp_path / "head"),
            "data": {**data, "writing": {"fields": [str(tmp_path / "fields.yaml")]}},
            "prompt": {"template": str(tmp_path / "mine.txt")},
        }
    )
    before = inputs_of(config)
    path = tmp_path / name
    path.write_text(path.read_text().replace("it.", "it!") + "# changed\n")
    after = inputs_of(config)
    assert before.keys() == after.keys()
    assert sum(before[key] != after[key] for key in before) == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_are_valid(name: str) -> None:
    config = load(DecoderConfig, f"finetune/{name}")
    assert config.decoder.name == "smollm2"
    assert config.data.task == {"tram": "text"}.get(name, name)


def test_the_table_of_models_names_a_place_on_the_hub_for_each() -> None:
    models = known_models()
    assert {"qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "llama-3.2-3b", "phi-4-mini", "tinyllama-1.1b"} == set(models)
    assert all(name.count("/") == 1 for name in models.values())
    assert all(one["licence"] for one in read_yaml(recipes()["finetune/decoders"]).values())
