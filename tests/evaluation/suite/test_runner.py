import json
import os
import signal
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

from logfm.errors import UserError
from logfm.evaluation.suite import registry as registries
from logfm.evaluation.suite.results import FAILED, NO_DATA, NOT_APPLICABLE, OK, read
from logfm.evaluation.suite.runner import CONTAMINATION, run
from tests.embeddings.samples import Server
from tests.evaluation.suite.fakes import Lengths, failing, lines, measuring, registry, spec


def first_feature(vectors, _):
    return vectors[:, 0]


def noisy(vectors, rng):
    return vectors[:, 0] + rng.normal(size=len(vectors))


def of(rows, **wanted):
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def test_one_row_a_measurement(tmp_path, own):
    encoder = Lengths()
    rows = run(registry([measuring("first", noisy)]), "small", [own("one", encoder)], tmp_path / "out")
    scores = of(rows, task="first", metric="score")
    assert {(row.encoder, row.seed) for row in scores} == {
        (name, seed) for name in ("own_encoders:one", "TF-IDF", "random") for seed in (0, 1)
    }
    ours = of(scores, encoder="own_encoders:one", seed=0)[0]
    assert (ours.status, ours.count, ours.role, ours.data, ours.note) == (OK, 24, "encoder", "lines", "10")
    assert ours.low < ours.value < ours.high and len(ours.replicates) == 200
    assert {row.role for row in of(scores, encoder="TF-IDF")} == {"baseline"}
    assert len(read(tmp_path / "out")) == len(rows)
    assert str(tmp_path) not in (tmp_path / "out" / "results.csv").read_text()
    # Both seeds and the second reading of the texts come from the store.
    assert sum(len(call) for call in encoder.calls) == 24


def test_encoders_of_every_kind_are_measured_by_their_uris(tmp_path, tiny_encoder):
    server = Server()
    try:
        uris = [str(tiny_encoder), f"st=st:{tiny_encoder}", f"hf=hf:{tiny_encoder}", f"{server.url}#bge"]
        rows = run(registry([measuring("first", first_feature)], baselines=()), "small", uris, tmp_path / "out")
    finally:
        server.close()
    found = {row.encoder: row for row in of(rows, task="first", metric="score", seed=0)}
    assert {row.status for row in rows if row.task == "first"} == {OK}
    assert list(found) == [tiny_encoder.parent.name, "st", "hf", "bge"]
    # One model behind three kinds of URI; the server gives lengths.
    assert found["st"].value == pytest.approx(found["hf"].value, abs=1e-5)
    assert found["st"].value == pytest.approx(found[tiny_encoder.parent.name].value, abs=1e-5)
    assert found["bge"].value == np.mean([len(line) for line in lines()]) and len(server.requests) >= 1


def test_what_was_measured_is_not_measured_again(tmp_path, own):
    encoder, calls = Lengths(), []

    def counting(vectors, rng):
        calls.append(len(vectors))
        return noisy(vectors, rng)

    known, uri = registry([measuring("first", counting)], baselines=()), own("one", encoder)
    before = run(known, "small", [uri], tmp_path / "out")
    assert len(calls) == 2
    again = run(known, "small", [uri], tmp_path / "out", seeds=3)
    assert len(calls) == 3
    assert [row.value for row in of(again, metric="score")][:2] == [row.value for row in of(before, metric="score")]
    changed = registry([measuring("first", counting, version=2)], baselines=())
    run(changed, "small", [uri], tmp_path / "out")
    capped = registry([measuring("first", counting)], suite={"baselines": (), "tasks": {"first": {"rows": 5}}})
    rows = run(capped, "small", [uri], tmp_path / "out")
    assert len(calls) == 7
    assert of(rows, metric="score")[0].note == "5"


def test_caps_are_for_capped_suites(tmp_path, own):
    rows = run(registry([measuring("first", noisy)], capped=False), "small", ["random"], tmp_path / "out")
    assert of(rows, metric="score")[0].note == "no cap"


def test_a_cut_cell_is_measured_again(tmp_path, own):
    known = registry([measuring("first", noisy)], baselines=())
    before = run(known, "small", ["random"], tmp_path / "out")
    for cell in (tmp_path / "out" / "cells").iterdir():
        cell.write_bytes(cell.read_bytes()[:40])
    again = run(known, "small", ["random"], tmp_path / "out")
    assert [row.value for row in of(again, metric="score")] == [row.value for row in of(before, metric="score")]


def test_what_fails_is_marked_and_the_rest_goes_on(tmp_path, own):
    tasks = [
        failing("broken", RuntimeError("no such thing\nand more")),
        failing("picky", UserError("all labels are of one class")),
        measuring("first", noisy),
    ]
    bad, good = own("bad", Lengths("bad", fails_after=0)), own("good", Lengths("good"))
    rows = run(registry(tasks, baselines=()), "small", [bad, good], tmp_path / "out")
    failed = of(rows, encoder="own_encoders:bad", task="first")
    assert [row.status for row in failed] == [FAILED, FAILED]
    reason = "encode() failed (RuntimeError: the model ran away)"
    assert failed[0].note == f"the encoder failed: {bad}: {reason}"
    assert np.isnan(failed[0].value)
    assert {row.status for row in of(rows, encoder="own_encoders:good", task="first")} == {OK}
    assert {(row.status, row.note) for row in of(rows, encoder="own_encoders:good", task="broken")} == {
        (FAILED, "RuntimeError: no such thing")
    }
    assert {(row.status, row.note) for row in of(rows, encoder="own_encoders:good", task="picky")} == {
        (NOT_APPLICABLE, "all labels are of one class")
    }


def test_an_encoder_that_cannot_be_opened_is_marked_and_the_rest_goes_on(tmp_path, own, capsys):
    class Gone(Lengths):
        @property
        def hash(self):
            raise RuntimeError("no weights\nand more")

        @hash.setter
        def hash(self, value):
            pass

    tasks = [measuring("first", noisy), measuring("ours", noisy, pretrained=True)]
    rows = run(registry(tasks, baselines=()), "small", [own("gone", Gone()), own("good")], tmp_path / "out")
    failed = of(rows, encoder="own_encoders:gone", status=FAILED)
    assert [(row.task, row.seed) for row in failed] == [("first", 0), ("first", 1), ("ours", 0), ("ours", 1)]
    reason = "own_encoders:gone: hash failed (RuntimeError: no weights)"
    assert {row.note for row in failed} == {f"the encoder could not be opened: {reason}"}
    assert {row.status for row in of(rows, encoder="own_encoders:good", task="first")} == {OK}
    assert f"own_encoders:gone cannot be opened: {reason}" in capsys.readouterr().err
    sys.modules["own_encoders"].gone = Lengths("back")
    rows = run(registry(tasks, baselines=()), "small", [own("good"), "py:own_encoders:gone"], tmp_path / "out")
    assert {row.status for row in of(rows, encoder="own_encoders:gone", task="first")} == {OK}


def test_an_encoder_that_fails_midway_is_tried_again_by_the_next_run(tmp_path, own):
    fragile = Lengths("fragile", fails_after=1)
    uri = own("fragile", fragile)
    data = [spec("one"), spec("two", path="two.log")]
    (tmp_path / "two.log").write_text("\n".join(f"other line {row} alpha" for row in range(9)))
    known = registry([measuring("first", noisy)], data, baselines=())
    rows = run(known, "small", [uri], tmp_path / "out", data=tmp_path)
    assert {row.status for row in of(rows, data="one", task="first")} == {OK}
    assert {row.status for row in of(rows, data="two", task="first")} == {FAILED}
    fragile.fails_after = None
    rows = run(known, "small", [uri], tmp_path / "out", data=tmp_path)
    assert {row.status for row in of(rows, task="first")} == {OK}


def test_an_encoder_that_keeps_failing_is_not_asked_for_ever(tmp_path, own):
    class Slow(Lengths):
        asked = 0

        def encode(self, texts):
            Slow.asked += 1
            raise TimeoutError("no answer")

    tasks = [measuring(name, noisy) for name in ("first", "second", "third")]
    rows = run(registry(tasks, baselines=()), "small", [own("slow", Slow("slow"))], tmp_path / "out")
    assert Slow.asked == 3
    assert {row.note for row in of(rows, status=FAILED)} == {
        "the encoder failed: py:own_encoders:slow: encode() failed (TimeoutError: no answer)"
    }


def test_a_metric_that_the_metadata_lacks_is_a_failure(tmp_path):
    task = measuring("first", noisy, metrics={"score": "higher"})
    rows = run(registry([task], baselines=()), "small", ["random"], tmp_path / "out")
    assert "the metric extra, which its metadata lacks" in of(rows, task="first")[0].note


def test_masked_language_models_only(tmp_path):
    rows = run(registry([measuring("first", noisy, pretrained=True)]), "small", ["random"], tmp_path / "out")
    assert {row.status for row in of(rows, task="first")} == {NOT_APPLICABLE}


def test_data_that_is_not_at_hand(tmp_path):
    data = [spec("one"), spec("far", path="far.log")]
    known = registry([measuring("first", noisy)], data)
    (tmp_path / "data").mkdir()
    rows = run(known, "small", ["random"], tmp_path / "out", data=tmp_path / "data")
    missing = of(rows, data="far")
    assert [row.status for row in missing] == [NO_DATA]
    assert missing[0].note == "the data set far is not at hand: DATA/far.log"
    far = registry([measuring("first", noisy)], [spec("far", path="far.log")])
    with pytest.raises(UserError, match="--data DIR"):
        run(far, "small", ["random"], tmp_path / "out")


def test_mistakes_are_told_in_a_line(tmp_path, own):
    known = registry([measuring("similarity", noisy)], [spec("one", ("similarity",))])
    with pytest.raises(UserError, match=r"unknown suite: smal. Did you mean small\?"):
        run(known, "smal", ["random"], tmp_path)
    with pytest.raises(UserError, match=r"unknown task of the suite small: similarty. Did you mean similarity\?"):
        run(known, "small", ["random"], tmp_path, tasks=["similarty"])
    with pytest.raises(UserError, match="no such encoder"):
        run(known, "small", ["nowhere/encoder"], tmp_path)
    with pytest.raises(UserError, match="unknown engine"):
        run(known, "small", ["random"], tmp_path, engine="spark")
    with pytest.raises(UserError, match="no encoder"):
        run(known, "small", [], tmp_path)
    broken = registry([measuring("similarity", noisy)], [spec("one", ("similarity",))], {"data": ["tow"]})
    with pytest.raises(UserError, match="unknown data set: tow"):
        run(broken, "small", ["random"], tmp_path)


def test_timed_tasks_encode_anew(tmp_path, own):
    encoder = Lengths()
    run(registry([measuring("first", noisy, timed=True)], baselines=()), "small", [own("one", encoder)], tmp_path)
    assert [len(call) for call in encoder.calls] == [24, 24]


def test_seeds_of_one_task(tmp_path):
    known = registry([measuring("first", noisy)], suite={"tasks": {"first": {"seeds": 1}}}, seeds=4, baselines=())
    rows = run(known, "small", ["random"], tmp_path)
    assert {row.seed for row in of(rows, task="first")} == {0}
    rows = run(known, "small", ["random"], tmp_path, seeds=3)
    assert {row.seed for row in of(rows, task="first")} == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": "many"}, "seeds is a number"),
        ({"seeds": 0}, "seeds is a number"),
        ({"baselines": "random"}, "baselines is a list"),
        ({"baselines": ["tfdif"]}, "none of the suite's baselines"),
    ],
)
def test_a_broken_suite(tmp_path, options, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"{{name: mine, title: t, tasks: {{first: {json.dumps(options)}}}}}")
    with pytest.raises(UserError, match=f"^configuration: first: .*{message}"):
        registry([measuring("first", noisy)]).suite(str(path))


def test_a_misspelt_option(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("{name: mine, title: t, tasks: {first: {rowz: 3}}}")
    with pytest.raises(UserError, match=r"unknown option of the task first: rowz. Did you mean rows\?"):
        registry([measuring("first", noisy)]).suite(str(path))


def test_baselines_of_one_task(tmp_path, own):
    tasks = [measuring("first", noisy), measuring("second", noisy)]
    suite = {"tasks": {"first": {"baselines": ["random"]}, "second": {}}, "baselines": ["tfidf", "random"]}
    rows = run(registry(tasks, suite=suite), "small", [own("one")], tmp_path)
    names = {task: {row.encoder for row in of(rows, task=task)} for task in ("first", "second")}
    assert names["first"] == {"own_encoders:one", "random"}
    assert names["second"] == {"own_encoders:one", "random", "TF-IDF"}


def test_contamination_is_a_row(tmp_path, own):
    rows = run(registry([measuring("first", noisy)]), "small", [own("one")], tmp_path)
    ours, tfidf = (of(rows, task=CONTAMINATION, encoder=name)[0] for name in ("own_encoders:one", "TF-IDF"))
    assert (ours.status, tfidf.value) == (NOT_APPLICABLE, 0.0)
    assert "unknown" in ours.note


def test_two_runs_do_not_write_one_folder(tmp_path):
    import fcntl

    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="another process"):
            run(registry([measuring("first", noisy)]), "small", ["random"], tmp_path)
    finally:
        os.close(handle)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.evaluation.suite.fakes import measuring, registry
    from logfm.evaluation.suite.runner import run

    def score(vectors, rng):
        if len(list(Path({out!r}, "cells").glob("*.parquet"))) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return vectors[:, 0] + rng.normal(size=len(vectors))

    run(registry([measuring("first", score)], seeds=4, baselines=()), "small", ["random"], Path({out!r}))
"""


def test_a_killed_run_goes_on(tmp_path):
    out = tmp_path / "out"
    program = textwrap.dedent(KILLED).format(root=str(Path(__file__).parents[3]), out=str(out))
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert not (out / "results.parquet").exists()
    calls = []

    def counting(vectors, rng):
        calls.append(1)
        return noisy(vectors, rng)

    rows = run(registry([measuring("first", counting)], seeds=4, baselines=()), "small", ["random"], out)
    assert len(calls) == 2
    whole = run(registry([measuring("first", noisy)], seeds=4, baselines=()), "small", ["random"], tmp_path / "whole")
    assert [row.value for row in of(rows, metric="score")] == [row.value for row in of(whole, metric="score")]


def test_a_changed_helper_is_a_changed_task(tmp_path, monkeypatch):
    helper, task = types.ModuleType("logfm.evaluation.helper"), types.ModuleType("logfm.evaluation.tasks.fake")
    for module in (helper, task):
        module.__file__ = str(tmp_path / module.__name__)
        Path(module.__file__).write_text("first")
        monkeypatch.setitem(sys.modules, module.__name__, module)
    task.helped = type("Helped", (), {"__module__": helper.__name__})
    before = registries._code_hash(task)
    assert registries._code_hash(task) == before
    Path(helper.__file__).write_text("second")
    assert registries._code_hash(task) != before
