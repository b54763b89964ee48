from dataclasses import dataclass, replace

import orjson
import pytest

from logfm.errors import UserError
from logfm.evaluation.decoders.contestants import Majority, classical
from logfm.evaluation.decoders.generating import CALIBRATED, CONSTRAINED, STRICT, TOLERANT, Decoder
from logfm.evaluation.decoders.guesses import Cell, Guess, read_cell
from logfm.evaluation.decoders.running import Results, cell_key, fold_hash, part, run
from logfm.evaluation.decoders.tables import (
    ceiling_row,
    ceilings,
    confusion_tables,
    document,
    layers,
    learning_markdown,
    markdown,
    merged,
    pooled,
    table,
    versus,
    versus_markdown,
)
from tests.evaluation.decoders.samples import TECHNIQUES, fold

TACTICS = dict.fromkeys(TECHNIQUES, ("execution",))


@dataclass(frozen=True)
class Says:
    """Answers as a decoder would, from the words of the text; every third free output is chatter."""

    case_id: str
    raw: str
    answer: object
    logprobs: object
    cut: int = 0


class Reader:
    def predict(self, cases, *, mode):
        found = []
        for place, case in enumerate(cases):
            label = "suspicious" if "t1047" in case.text else "normal"
            probability = -0.1 if label == "suspicious" else -0.5
            scores = {"label": {"suspicious": probability, "normal": -0.3}}
            raw = (f"label: {label}", f"Label: {label.upper()}!", "I can't say")[place % 3]
            if mode == "free":
                found.append(Says(case.case_id, raw, None, {}))
            else:
                found.append(Says(case.case_id, f"label: {label}", {"label": ("normal",)}, scores))
        return found


def decoder(**more):
    return Decoder("decoder", lambda split, seed: Reader(), {"model": "words"}, **more)


def test_a_decoder_is_read_in_four_ways(tmp_path):
    split = fold(named=False)
    results = run([Majority(), decoder()], [split], tmp_path)
    rows = {(row.contestant, row.mode): row for row in table(results, {}, resamples=50)}
    assert set(rows) == {("majority", ""), *(("decoder", mode) for mode in (STRICT, TOLERANT, CONSTRAINED, CALIBRATED))}
    figures = {mode: {name: one.value for name, one in rows["decoder", mode].figures.items()} for mode in
               (STRICT, TOLERANT, CONSTRAINED, CALIBRATED)}  # fmt: skip
    assert figures[STRICT]["label/invalid"] == pytest.approx(33 / 50)
    assert figures[TOLERANT]["label/invalid"] == pytest.approx(16 / 50)
    assert figures[TOLERANT]["label/wrong"] == 0
    assert figures[CONSTRAINED]["label/attack_f1"] == 0
    assert figures[CALIBRATED]["label/attack_f1"] == 1
    assert figures[CONSTRAINED]["label/pr_auc"] == 1
    raw = [guess.raw for guess in pooled(results, "decoder", STRICT, [split])]
    assert raw[2] == "I can't say"


def test_cells_are_kept_and_read_again(tmp_path):
    split = fold(named=False)
    first = run([Majority(), decoder()], [split], tmp_path)
    kept = sorted(tmp_path.glob("*.jsonl"))
    assert len(kept) == 2

    def refuse(split, seed):
        raise AssertionError("measured again")

    again = run([Majority(), replace(decoder(), prepare=refuse)], [split], tmp_path)
    assert again.cells == first.cells
    # What the model reads is part of the identity.
    changed = replace(split, test=(replace(split.test[0], text="other"), *split.test[1:]))
    assert fold_hash(changed) != fold_hash(split)
    assert cell_key(decoder(), "x", 0) != cell_key(decoder(free=False), "x", 0)
    assert cell_key(decoder(), "x", 0) != cell_key(decoder(), "x", 1)


def test_raw_outputs_lie_in_the_cell(tmp_path):
    split = fold(named=False)
    run([decoder()], [split], tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    rows = [orjson.loads(line) for line in path.read_bytes().split(b"\n")]
    assert rows[0]["contestant"] == "decoder"
    assert sum(row.get("mode") == STRICT and row["raw"] == "I can't say" for row in rows) == 16
    assert read_cell(tmp_path / "other.jsonl") is None


def test_what_a_contestant_reached_on_validation_lies_in_the_cell(tmp_path):
    split = fold(named=False)
    results = run([decoder(), *classical()], [split], tmp_path)
    figures = {
        name: read_cell(path).figures for path in tmp_path.glob("*.jsonl") for name in [read_cell(path).contestant]
    }
    assert figures["decoder"]["cut"] == 0
    assert figures["decoder"]["validation"]["label"] < figures["TF-IDF + SVM"]["validation"]["label"]
    assert figures["majority"] == {}
    assert results.cells["decoder", split.name].figures == figures["decoder"]
    assert split.told == {}


def test_a_part_of_the_results_is_that_of_the_wanted_cases(tmp_path):
    folds = [fold(name="1"), fold(name="2", seed=1)]
    results = run(classical(), folds, tmp_path)
    wanted = {case.case_id for case in (*folds[0].validation, *folds[0].test) if "T1047" in case.answer["techniques"]}
    found = part(results, lambda case: case.case_id in wanted, "with T1047")
    (cut,) = found.folds
    assert (cut.name, {case.case_id for case in (*cut.validation, *cut.test)}) == ("1, with T1047", wanted)
    assert cut.train == folds[0].train
    assert len(cut.test) < 50
    for (name, place), cell in found.cells.items():
        assert place == cell.fold == cut.name
        before = {guess.case_id: guess for guess in results.cells[name, "1"].guesses[""]}
        assert cell.guesses[""] == [before[case.case_id] for case in cut.test]
    assert {name for name, _ in found.cells} == {one.name for one in classical()}
    assert {row.cases for row in table(found, TACTICS, resamples=20)} == {len(cut.test)}


def test_what_was_learnt_stands_beside_validation(tmp_path):
    def told(name, train):
        figures = {"train": {"label": train}, "validation": {"label": 0.4}, "training": {"losses": [2.0, 0.5]}}
        return Cell(name, "1", {}, 0.0, figures if train else {})

    split = fold(named=False)
    cells = {(name, "1"): told(name, train) for name, train in (("a", 0.55), ("b", 0))}
    shown = learning_markdown(Results([split], cells))
    assert shown.splitlines()[2:] == ["| a, 1 | label | 0.550 | 0.400 | 2.000 → 0.500 |"]
    assert not learning_markdown(Results([split], {}))


@dataclass(frozen=True)
class Refused:
    name: str = "refused"

    @property
    def identity(self):
        return {"kind": self.name}

    def guess(self, split, seed):
        raise UserError("this needs the package x")


@dataclass(frozen=True)
class Other:
    name: str = "other"

    @property
    def identity(self):
        return {"kind": self.name}

    def guess(self, split, seed):
        return {"": [Guess("nobody", None)]}


def test_who_is_refused_or_late_is_left_out(tmp_path):
    split = fold(named=False)
    results = run([Refused(), Majority()], [split], tmp_path)
    assert set(results.cells) == {("majority", "1")}
    assert "package x" in results.left_out[0]
    late = run([Majority(), decoder()], [split], tmp_path, minutes=-1)
    assert set(late.cells) == {("majority", "1")}
    assert "no time" in late.left_out[0]
    with pytest.raises(ValueError, match="other cases"):
        run([Other()], [split], tmp_path)


def test_tables_over_folds(tmp_path):
    folds = [fold(name="1"), fold(name="2", seed=1)]
    results = run(classical(), folds, tmp_path)
    del results.cells["TF-IDF neighbours", "2"]
    rows = {row.contestant: row for row in table(results, TACTICS, resamples=100)}
    assert (rows["majority"].folds, rows["majority"].cases, rows["majority"].groups) == (2, 100, 20)
    assert rows["TF-IDF neighbours"].cases == 50
    assert rows["TF-IDF + SVM"].figures["techniques/tactic/micro_f1"].value > 0.9
    found = versus(results, ("TF-IDF + SVM", ""), [("majority", ""), ("TF-IDF neighbours", "")], TACTICS, 100)
    assert {one.figure for one in found} == {"techniques/exact", "techniques/jaccard", "techniques/micro_f1"}
    first = found[0]
    assert first.theirs == "majority"
    assert first.difference.low > 0
    assert first.mcnemar.p < 0.01
    assert first.p >= first.difference.p
    shown = markdown(list(rows.values()), merged([one.grammar for one in folds]))
    assert shown.count("| TF-IDF + SVM | 2 |") == 2
    assert "rouge_l" in shown
    assert versus_markdown(found).count("\n") == len(found) + 1
    whole = orjson.loads(orjson.dumps(document(list(rows.values()), found)))
    assert whole["rows"][0]["contestant"] == "majority"
    assert whole["versus"][0]["mcnemar"]["p"] < 0.01
    found = ceilings(folds)
    assert 0.8 < found["techniques"]["seen"] <= found["techniques"]["ceiling"] == 1


def test_the_ceiling_is_a_row(tmp_path):
    split = fold()
    split = replace(split, train=tuple(case for case in split.train if "T1105" not in case.answer["techniques"]))
    row = ceiling_row([split], resamples=50)
    figures = {name: one.value for name, one in row.figures.items()}
    assert figures["techniques/exact"] == pytest.approx(ceilings([split])["techniques"]["ceiling"])
    truth = [case.answer["techniques"] for case in split.test]
    met = [1 - ("T1105" in one) / len(one) for one in truth]
    assert figures["techniques/jaccard"] == pytest.approx(sum(met) / len(met))
    assert figures["techniques/exact"] < figures["techniques/jaccard"] < 1
    for one in table(run(classical(), [split], tmp_path), TACTICS, resamples=20):
        assert all(one.figures[name].value <= value for name, value in figures.items())
    shown = markdown([row], split.grammar)
    assert f"| ceiling | 1 | {figures['techniques/exact']:.3f} [" in shown


def test_a_label_that_train_lacks_lowers_the_ceiling():
    split = fold(named=False)
    one = replace(split, train=tuple(case for case in split.train if case.answer["label"] == ("normal",)))
    share = sum(case.answer["label"] == ("normal",) for case in split.test) / 50
    found = {name: estimate.value for name, estimate in ceiling_row([one], 20).figures.items()}
    assert found == pytest.approx({"label/accuracy": share})


def test_confusions_and_layers(tmp_path):
    split = fold(named=False)
    results = run([decoder()], [split], tmp_path)
    counted = confusion_tables([split], pooled(results, "decoder", TOLERANT, [split]))["label"]
    assert sum(sum(row.values()) for row in counted.values()) == 50
    assert counted["normal"].keys() == {"normal", "invalid"}
    named = fold()
    results = run([Majority()], [named], tmp_path)
    found = layers([named], pooled(results, "majority", "", [named]), "majority", "18")
    assert [one["score"] for one in found["techniques_predictions"]["techniques"]] == [50]
    assert found["techniques_errors"]["versions"]["attack"] == "18"
