import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from logfm.cli import main
from logfm.configs.base import RECIPES, load
from logfm.configs.schema.suite import DataSpec, SuiteSpec
from logfm.errors import UserError
from logfm.evaluation.suite import registry as registries
from logfm.evaluation.suite.leaderboard import Board
from logfm.evaluation.suite.main import Result, compare_folders, evaluate, idle, unmeasured
from logfm.evaluation.suite.report import figure, view
from logfm.evaluation.suite.results import Row
from logfm.evaluation.suite.runner import CONTAMINATION
from tests.evaluation.suite.fakes import Lengths, failing, lines, measuring, meta, registry, spec

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202e'


@pytest.fixture
def measured(tmp_path, own):
    """Two runs of one suite: `one` with the encoder `good`, `two` with `bad`, and a task that fails."""
    tasks = [
        measuring("first", lambda vectors, rng: vectors[:, 0] + rng.normal(size=len(vectors))),
        failing("broken", RuntimeError(HOSTILE)),
    ]
    data = [spec("lines", ("first", "broken")), spec("marked", role="choices"), spec("far", path="far.log")]
    known = registry(tasks, data)
    for name in ("one", "two"):
        evaluate(known, "small", [f"mine={own(name, Lengths(name))}"], tmp_path / name)
    return tmp_path


def test_the_report_says_everything_and_runs_nothing(measured):
    page = (measured / "one" / "report.html").read_text()
    for words in ("Leaderboard", "Is first right?", "failed", "no data", "made here", "contamination", ">choices<"):
        assert words in page
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!#)", page)
    assert "default-src 'none'" in page
    assert str(measured) not in page
    assert page.count("<svg") == page.count("</svg>") >= 1


def test_runs_are_compared_on_the_command_line(measured, capsys):
    assert main(["eval", "compare", str(measured / "one"), str(measured / "two"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    pairs = {(one["first"], one["second"]) for one in document["comparisons"]["first"]}
    assert ("mine (one)", "mine (two)") in pairs
    equal = next(
        one
        for one in document["comparisons"]["first"]
        if one["first"].startswith("mine") and one["second"].startswith("mine")
    )
    assert equal["tie"] and equal["winner"] is None
    assert main(["eval", "compare", str(measured / "one")]) == 0
    assert "Leaderboard" in capsys.readouterr().out


def test_mistakes_of_a_comparison(measured):
    folder = measured / "one"
    with pytest.raises(UserError, match=r"unknown metric: scor. Did you mean score\?"):
        compare_folders([folder], "scor")
    with pytest.raises(UserError, match=r"unknown task of these results: frist. Did you mean first\?"):
        compare_folders([folder], None, ["frist"])
    assert set(compare_folders([folder], "extra").verdicts["first"]) == set()
    (folder / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json"):
        compare_folders([folder])


def test_a_task_that_knows_only_its_name_is_listed(capsys):
    assert main(["eval", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"quick", "choices", "local", "secencoder", "logatlas"} <= {suite["name"] for suite in document["suites"]}
    names = {task["name"] for task in document["tasks"]}
    for suite in document["suites"]:
        assert set(suite["tasks"]) <= names
    assert main(["eval", "list"]) == 0
    assert "Data sets" in capsys.readouterr().out


def test_everything_about_one_thing(capsys):
    assert main(["eval", "list", "search"]) == 0
    shown = capsys.readouterr().out
    assert "leakage" in shown and "main_score" in shown
    assert main(["eval", "list", "quick", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "quick"
    assert main(["eval", "list", "serch"]) == 2
    assert "Did you mean search?" in capsys.readouterr().err


def test_unknown_things_end_with_two(capsys, tmp_path):
    for words, message in (
        (["quik", "--encoder", "random"], "Did you mean quick?"),
        (["quick", "--encoder", "random", "--task", "serch"], "Did you mean search?"),
        (["quick", "--encoder", "nowhere"], "no such encoder"),
        (["local", "--encoder", "random", "--data", str(tmp_path / "none")], "no such data folder"),
        (["quick", "--encoder", "random", "--data-specs", str(tmp_path / "none")], "no such folder"),
    ):
        assert main(["eval", "run", *words, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_a_data_set_of_ones_own_is_yaml_alone(tmp_path, monkeypatch):
    (tmp_path / "specs").mkdir()
    (tmp_path / "app.log").write_text("\n".join(lines(60)))
    text = (RECIPES / "evaluation" / "data" / "simulated.yaml").read_text()
    document = {"name": "mine", "title": "t", "source": "s", "licence": "l", "tasks": ["search"], "path": "app.log",
                "split": "x", "leakage": "y", "options": {"templates": "drain"}}  # fmt: skip
    (tmp_path / "specs" / "mine.yaml").write_text(json.dumps(document))
    known = registries.registry([tmp_path / "specs"])
    assert known.data["mine"].path == "app.log"
    assert len(known.load(known.data["mine"], tmp_path, None).texts) == 60
    (tmp_path / "specs" / "simulated.yaml").write_text(text)
    with pytest.raises(UserError, match="simulated is taken"):
        registries.registry([tmp_path / "specs"])


def test_what_ships_fits_together():
    known = registries.registry()
    for name in known.suites:
        suite = known.suite(name)
        assert all(known.runs_on(task, suite) for task in suite.tasks), name
    for one in known.data.values():
        assert one.tasks
    for path in (RECIPES / "evaluation" / "suites").glob("*.yaml"):
        assert load(SuiteSpec, path).name == path.stem
    assert all(isinstance(one, DataSpec) for one in known.data.values())


def test_a_suite_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntitle: t\ntasks: {search: {}}\ndata: [simulated]\n")
    assert registries.registry().suite(str(path)).name == "mine"
    path.write_text("name: mine\ntitle: t\ntasks: {serch: {}}\n")
    with pytest.raises(UserError, match="unknown task: serch"):
        registries.registry().suite(str(path))


def test_metadata_is_strict():
    with pytest.raises(ValidationError):
        meta("first", spilt="typo")
    with pytest.raises(ValidationError):
        meta("First Task")


def test_figures_are_readable():
    assert [figure(one) for one in (None, float("nan"), 0.5, 73.0, 12345.6)] == ["–", "–", "0.500", "73.0", "12,346"]


def test_a_cell_that_judges_several_parts_of_its_data_took_its_time_once():
    cell = {"suite": "s", "task": "first", "data": "linux", "encoder": "good", "metric": "score", "seconds": 2.0}
    rows = [Row(**cell, data_hash="all"), Row(**cell, data_hash="new templates"), Row(**cell | {"seed": 1})]
    assert view(Result(rows, {}, [], {}, {}, {"data": {}}))["seconds"] == 4.0


def test_the_leaderboard_says_which_of_its_data_an_encoder_has_learnt_from():
    board = Board("first", "score", "higher", "results", ("linux", "windows"), (), (), True)
    cell = {"suite": "s", "task": CONTAMINATION, "metric": "seen", "encoder": "good"}
    parts = {"linux": 0.4, "windows": 0.9, "elsewhere": 1.0}
    rows = [Row(**cell, data=name, value=value) for name, value in parts.items()]
    learnt = view(Result(rows, {}, [board], {}, {}, {"data": {}}))["learnt"]
    assert learnt == [("good", [("windows", 0.9), ("linux", 0.4)])]


def test_there_is_no_path_of_a_machine_in_what_ships():
    for path in (RECIPES / "evaluation").rglob("*.yaml"):
        assert not re.search(r"(^|\s)/(home|work|tmp|root)/", path.read_text()), path
    assert Path(registries.__file__).is_file()


def test_ones_own_data_sets_belong_to_every_suite_that_has_their_task(tmp_path):
    text = (RECIPES / "evaluation" / "data" / "simulated.yaml").read_text().replace("name: simulated", "name: portal")
    (tmp_path / "portal.yaml").write_text(text)
    known = registries.registry([tmp_path])
    for name in ("quick", "local"):
        assert known.names(known.suite(name))[-1] == "portal"
    assert "portal" in {spec.name for spec in known.runs_on("search", known.suite("local"))}
    assert "simulated" not in {spec.name for spec in known.runs_on("search", known.suite("local"))}


def test_broken_lines_of_ones_own_data_are_told(tmp_path, capsys):
    specs, data, out = tmp_path / "specs", tmp_path / "data", tmp_path / "out"
    specs.mkdir()
    data.mkdir()
    spec_of = "title: Portal\nsource: us\nlicence: ours\ntasks: [runtime]\nsplit: none\nleakage: none\n"
    reading = "path: portal.jsonl\nreader: jsonl\noptions: {text: raw}\n"
    (specs / "portal.yaml").write_text(f"name: portal\n{spec_of}{reading}")
    good = "".join(f'{{"raw": "user {number} signed in"}}\n' for number in range(40))
    (data / "portal.jsonl").write_text(good + '{"raw": "half a li\n[]\n')
    suite = tmp_path / "ours.yaml"
    suite.write_text("name: ours\ntitle: Ours\nbaselines: []\ndata: [portal]\ntasks: {runtime: {}}\n")
    arguments = ["eval", "run", suite, "--encoder", "random", "--data", data, "--data-specs", specs, "--out", out]
    assert main([str(one) for one in arguments]) == 0
    said = capsys.readouterr()
    assert "left out: 1 not JSON, 1 no JSON object" in said.out + said.err
    assert "left out: 1 not JSON, 1 no JSON object" in (out / "report.html").read_text()


def test_a_run_in_which_nothing_of_an_encoder_could_be_measured_fails(tmp_path, own):
    task = measuring("first", lambda vectors, rng: vectors[:, 0])
    known = registry([task, failing("broken", RuntimeError("no"))], [spec("lines", ("first", "broken"))])
    uri = [f"mine={own('mine', Lengths('mine'))}"]
    assert unmeasured(evaluate(known, "small", uri, tmp_path / "some")) == []
    assert unmeasured(evaluate(known, "small", uri, tmp_path / "none", tasks=["broken"])) == ["mine"]


def test_a_run_that_measured_nothing_says_why(tmp_path, own):
    known = registry([failing("refused", UserError("needs labels", "lines"))], [spec("lines", ("refused",))])
    found = evaluate(known, "small", [f"mine={own('mine', Lengths('mine'))}"], tmp_path / "out")
    assert unmeasured(found) == [] and "refused on lines: needs labels" in idle(found)
