from dataclasses import dataclass, field

from logfm.evaluation.decoders.generating import STRICT, TOLERANT, calibrate, read_free
from tests.evaluation.decoders.samples import TECHNIQUES, fold


@dataclass(frozen=True)
class Says:
    case_id: str
    raw: str
    answer: object = None
    logprobs: dict = field(default_factory=dict)


def said(cases, scores, right):
    """Constrained answers: the truth, or nothing at all; every label has the score that `scores` gives it."""
    return [
        Says(
            case.case_id,
            "",
            {"techniques": case.answer["techniques"] if right else (), "reason": ("x",)},
            {"techniques": {name: scores(name, case) for name in TECHNIQUES}},
        )
        for case in cases
    ]


def test_thresholds_are_used_where_they_are_better_on_validation():
    split = fold()

    def telling(name, case):
        return -0.5 if name in case.answer["techniques"] else -3.0

    found = calibrate(split, said(split.validation, telling, False), said(split.test, telling, False))
    assert [one.answer["techniques"] for one in found] == [case.answer["techniques"] for case in split.test]
    assert {one.answer["reason"] for one in found} == {("x",)}


def test_an_answer_stays_where_thresholds_are_no_better():
    split = fold()

    def blind(name, case):
        return -1.0

    found = calibrate(split, said(split.validation, blind, True), said(split.test, blind, True))
    assert [one.answer["techniques"] for one in found] == [case.answer["techniques"] for case in split.test]


def test_without_probabilities_an_answer_stays():
    split = fold()
    given = [Says(case.case_id, "", {"techniques": ("T1047",), "reason": ()}) for case in split.test]
    validation = [Says(case.case_id, "", {"techniques": ("T1047",), "reason": ()}) for case in split.validation]
    assert {one.answer["techniques"] for one in calibrate(split, validation, given)} == {("T1047",)}


def test_free_outputs_have_two_readers():
    split = fold(named=False)
    found = read_free([Says("a", "Label: Normal."), Says("b", "label: suspicious"), Says("c", "?")], split.grammar)
    assert [one.answer for one in found[STRICT]] == [None, {"label": ("suspicious",)}, None]
    assert [one.answer for one in found[TOLERANT]] == [{"label": ("normal",)}, {"label": ("suspicious",)}, None]
    assert [one.reason for one in found[STRICT]] == ["other text", "", "other text"]
    assert [one.raw for one in found[TOLERANT]] == ["Label: Normal.", "label: suspicious", "?"]
