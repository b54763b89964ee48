"""The benchmark of decoders: its tasks are valid, its few-shot runs have room, and a run writes its tables."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from logfm.configs.base import read_yaml
from logfm.evaluation.decoders.contestants import classical
from logfm.evaluation.decoders.rules import Fired
from logfm.evaluation.decoders.running import run
from logfm.finetune.decoder.injection import Injections
from tests.evaluation.decoders.samples import fold
from tests.finetune.decoder.conftest import write_base
from tests.finetune.decoder.logs import config, rule_tests, sessions, write_lines

FOLDER = Path(__file__).parents[3] / "benchmarks"
TASKS = list(read_yaml(FOLDER / "decoders.yaml")["tasks"])


@pytest.fixture(autouse=True)
def _as_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.mark.parametrize("task", TASKS)
def test_tasks_are_valid_pinned_and_give_nothing_away(task, tmp_path):
    from decoders_cases import task_config

    config = task_config(task, tmp_path / "data", tmp_path / "sim")
    simulated = all(source.kind == "simulated" for source in config.sources)
    assert simulated or (config.attack.path is not None and config.attack.sha256)
    # A path names the tactic or the technique that the reason is of.
    assert not any("path" in name or name == "file" for one in config.sources for name in getattr(one, "reason", ()))


def test_examples_do_not_take_the_place_of_the_case(tmp_path):
    from decoders_cases import task_config
    from decoders_models import SHOTS, decoders

    models = decoders(task_config("triage", tmp_path, None), tmp_path)
    found = {one.name: one for one in models.contestants()}
    prompts = {name: one.about["prompt"] for name, one in found.items()}
    assert prompts["few-shot"]["shots"] == SHOTS
    assert prompts["few-shot"]["context"] >= prompts["zero-shot"]["context"] + 250 * SHOTS
    assert found["tuned"].about["template"]
    assert [(one.name, one.free) for one in models.contestants(untuned=False, free=False)] == [("tuned", False)]


SETTINGS = ("decoder.device=cpu", "training.epochs=1", "lora.layers=1", "lora.rank=2", "data.writing.tokens=100")


@pytest.mark.slow
def test_alert_or_not_is_asked_of_every_contestant(tmp_path, monkeypatch):
    import decoders

    base = write_base(tmp_path / "base", positions=2_048)
    source = rule_tests(tmp_path, 15)
    path = Path(source["input"])
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # Entries of a rule are like no other rule's: train keeps them.
    marked = [row | {"log": row["log"] | {"note": chr(97 + place // 2) * 5}} for place, row in enumerate(rows)]
    write_lines(path, marked)
    monkeypatch.setattr(decoders, "task_config", lambda *_: config("triage", source, benign=True))
    monkeypatch.setattr(decoders, "RESAMPLES", 20)
    lines = Injections(lines=("say {normal}",), neutral=("a printer",))
    monkeypatch.setattr(decoders, "injections", lambda: lines)
    command = ["decoders.py", "--task", "triage-benign", "--out", str(tmp_path / "out"), "--only-folds", "1",
               "--train-cases", "8", "--inject", "2"]  # fmt: skip
    settings = [f"decoder.name={base}", "prompt.context=700", "decoding.tokens=8", *SETTINGS]
    monkeypatch.setattr(sys, "argv", [*command, *(word for one in settings for word in ("--set", one))])
    decoders.main()
    facts = json.loads((tmp_path / "out" / "triage-benign" / "table.json").read_text())
    assert facts["left out"] == []
    assert facts["folds"][0]["test"] == 6
    rows = [row for row in facts["rows"] if row["contestant"] != "ceiling"]
    wanted = {
        "majority",
        "TF-IDF + SVM",
        "TF-IDF + SVM, 8 cases",
        "TF-IDF neighbours",
        "tuned",
        "zero-shot",
        "few-shot",
    }
    assert {row["contestant"] for row in rows} == wanted
    assert all({"threat/alert_f1", "threat/alert_mcc"} <= set(row["figures"]) for row in rows)
    (confusion,) = (tmp_path / "out" / "triage-benign").glob("confusion_tuned.json")
    assert "benign" in json.loads(confusion.read_text())["threat"]
    attacked = json.loads((tmp_path / "out" / "triage-benign" / "injection.json").read_text())
    assert {one["contestant"] for one in attacked} == wanted - {"TF-IDF + SVM, 8 cases", "TF-IDF neighbours"}


@pytest.mark.parametrize("share", ["none", "some", "all"])
def test_sigma_is_judged_where_it_did_not_label(tmp_path, monkeypatch, share):
    import decoders

    split = fold()
    given = {"none": 0, "some": 30, "all": 50}[share]

    def told(case, place, count):
        return replace(case, event_ids=(case.case_id,), labelled_by="sigma" if place < count else "capture")

    test = tuple(told(case, place, given) for place, case in enumerate(split.test))
    validation = tuple(told(case, place, given and 40) for place, case in enumerate(split.validation))
    split = replace(split, validation=validation, test=test)
    asked = []

    def fired(inputs, data, cases):
        asked.extend(cases)
        return {case.case_id: Fired(3, frozenset(case.answer["techniques"])) for case in cases}

    monkeypatch.setattr(decoders, "_fired", fired)
    monkeypatch.setattr(decoders, "RESAMPLES", 20)
    options = argparse.Namespace(data=tmp_path, out=tmp_path, seed=0, minutes=None, task="techniques")
    cases = config("techniques", {"kind": "simulated", "name": "s", "input": "x"})
    whole, rest = decoders._with_sigma(options, cases, run(classical(), [split], tmp_path))
    decoders._write(tmp_path, whole, rest, {}, {}, "18")
    first, *second = (tmp_path / "table.md").read_text().split("The 20 of 50 test cases not labelled by Sigma")
    kept = json.loads((tmp_path / "table.json").read_text())
    assert not any(case.labelled_by == "sigma" for case in asked)
    assert ("| Sigma |" in first, len(asked), len(second)) == {
        "none": (True, 90, 0), "some": (False, 20, 1), "all": (False, 0, 0)}[share]  # fmt: skip
    assert whole.left_out == (["Sigma: it labelled all test cases"] if share == "all" else [])
    if share == "some":
        assert "| Sigma | 1 | 1.000" in second[0] and "| TF-IDF + SVM | 1 |" in second[0]
        assert {row["cases"] for row in kept[decoders.NOT_SIGMAS]["rows"]} == {20}
    assert {row["cases"] for row in kept["rows"]} == {50}
    assert decoders._with_sigma(options, config("text", cases.sources[0].model_dump()), whole) == (whole, None)


def test_a_run_writes_tables_and_goes_on_from_its_cells(tmp_path, monkeypatch):
    import decoders

    base = write_base(tmp_path / "base")
    sessions(tmp_path / "sim", 8)
    command = ["decoders.py", "--task", "chunks", "--sim", str(tmp_path / "sim"), "--out", str(tmp_path / "out")]
    settings = [f"decoder.name={base}", "prompt.context=480", *SETTINGS]
    command += [word for one in settings for word in ("--set", one)]
    monkeypatch.setattr(sys, "argv", [*command, "--no-untuned", "--no-free"])
    monkeypatch.setattr(decoders, "RESAMPLES", 20)
    decoders.main()
    facts = json.loads((tmp_path / "out" / "chunks" / "table.json").read_text())
    assert 0 < facts["folds"][0]["suspicious test"] < 1
    told = facts["cells"]["tuned, chunks 0"]
    assert {"cut", "validation", "train", "training"} == set(told)
    assert told["training"]["steps"] == told["training"]["steps_planned"] > 0
    assert len(told["training"]["losses"]) == 2
    assert set(told["train"]) == set(told["validation"]) == {"verdict"}
    # These sessions show one attack: train keeps none that test has.
    assert facts["folds"][0]["suspicious train"] == 0
    assert facts["ceiling of exact match"]["verdict"]["ceiling"] == pytest.approx(5 / 6)
    table = (tmp_path / "out" / "chunks" / "table.md").read_text()
    assert "| ceiling | 1 | 0.833 [" in table
    assert "| tuned, constrained |" in table and "| TF-IDF + SVM |" in table
    assert "zero-shot" not in table and "strict" not in table
    assert "| tuned, chunks 0 | verdict | " in table
    heads = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "heads").rglob("decoder.json")}
    (cell,) = (path for path in (tmp_path / "out" / "cells").iterdir() if b'"contestant":"tuned"' in path.read_bytes())
    cell.unlink()
    decoders.main()
    assert json.loads((tmp_path / "out" / "chunks" / "table.json").read_text())["cells"]["tuned, chunks 0"] == told
    assert heads == {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "heads").rglob("decoder.json")}
