"""Models that generate text as contestants: what they write is read strictly, tolerantly, and decoded constrained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from logfm.evaluation.decoders.deciding import decide, matrix, worth
from logfm.evaluation.decoders.guesses import Fold, Guess, Guesses
from logfm.finetune.decoder.answers import Answer, Case, Grammar
from logfm.finetune.decoder.parsing import parse

STRICT, TOLERANT, CONSTRAINED, CALIBRATED = "strict", "tolerant", "constrained", "constrained, threshold"


class Predicted(Protocol):
    """What a decoder says of a case."""

    @property
    def case_id(self) -> str:
        """Whose."""

    @property
    def raw(self) -> str:
        """What was generated."""

    @property
    def answer(self) -> Answer | None:
        """The answer, where decoding was constrained to the grammar."""

    @property
    def logprobs(self) -> Mapping[str, Mapping[str, float]]:
        """For a slot the log-probability of each label, where decoding was constrained."""

    @property
    def cut(self) -> int:
        """Tokens of the case's text that did not fit into the context."""


class Predictor(Protocol):
    """A decoder that is ready to answer."""

    def predict(self, cases: Sequence[Case], *, mode: Literal["free", "constrained"]) -> Sequence[Predicted]:
        """An answer a case, in order."""


@dataclass(frozen=True)
class Decoder:
    """A decoder as a contestant."""

    name: str
    prepare: Callable[[Fold, int], Predictor]
    """Trains it on the fold, or opens it as it is."""
    about: Mapping[str, Any]
    free: bool = True
    """Whether it also generates freely, for the strict and the tolerant reader: that takes longest."""
    calibrated: bool = True
    """Whether thresholds of its labels' probabilities are chosen on validation too."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model, its adapter's training, and how its outputs are read."""
        return {"kind": "decoder", "version": 2, "free": self.free, "calibrated": self.calibrated, **self.about}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Prepare it, and let it answer in every way; how many test cases were cut is told, and validation's worth."""
        predictor = self.prepare(fold, seed)
        found: dict[str, list[Guess]] = {}
        if self.free:
            found |= read_free(predictor.predict(fold.test, mode="free"), fold.grammar)
        constrained = predictor.predict(fold.test, mode="constrained")
        found[CONSTRAINED] = [_constrained(one) for one in constrained]
        fold.told["cut"] = sum(one.cut > 0 for one in constrained)
        if self.calibrated and fold.validation:
            judged = predictor.predict(fold.validation, mode="constrained")
            found[CALIBRATED] = calibrate(fold, judged, constrained)
            fold.told["validation"] = reached(fold.grammar, fold.validation, judged)
        return found


def read_free(predicted: Sequence[Predicted], grammar: Grammar) -> dict[str, list[Guess]]:
    """Free outputs as the strict and the tolerant reader have them."""
    found: dict[str, list[Guess]] = {STRICT: [], TOLERANT: []}
    for one in predicted:
        strict, tolerant = parse(one.raw, grammar, "strict"), parse(one.raw, grammar, "tolerant")
        found[STRICT].append(Guess(one.case_id, strict.answer, strict.reason, one.raw))
        found[TOLERANT].append(Guess(one.case_id, tolerant.answer, tolerant.reason, one.raw))
    return found


def calibrate(fold: Fold, validation: Sequence[Predicted], test: Sequence[Predicted]) -> list[Guess]:
    """Constrained answers whose labels follow thresholds that were chosen on validation.

    A slot keeps its answer where some case has no probabilities for it, or where no threshold beats the answers
    themselves on validation.
    """
    answers: list[dict[str, tuple[str, ...]]] = [dict(one.answer or {}) for one in test]
    for slot in fold.grammar.slots:
        if slot.kind == "text" or not all(one.logprobs.get(slot.name) for one in (*validation, *test)):
            continue
        known = matrix(slot, [one.logprobs[slot.name] for one in validation])
        truth = [case.answer[slot.name] for case in fold.validation]
        decision = decide(slot, known, truth)
        said = [None if one.answer is None else one.answer[slot.name] for one in validation]
        if worth(slot, said, truth) >= decision.worth:
            continue
        for answer, labels in zip(
            answers, decision.labels(matrix(slot, [one.logprobs[slot.name] for one in test])), strict=True
        ):
            answer[slot.name] = labels
    return [
        Guess(one.case_id, answer if one.answer is not None else None, "", one.raw, dict(one.logprobs))
        for one, answer in zip(test, answers, strict=True)
    ]


def reached(grammar: Grammar, cases: Sequence[Case], predicted: Sequence[Predicted]) -> dict[str, float]:
    """What constrained answers to cases are worth, by slot: settings of a training are chosen by it on validation."""
    found = {}
    for slot in grammar.slots:
        if slot.kind != "text":
            said = [None if one.answer is None else one.answer[slot.name] for one in predicted]
            found[slot.name] = round(worth(slot, said, [case.answer[slot.name] for case in cases]), 4)
    return found


def _constrained(one: Predicted) -> Guess:
    reason = "" if one.answer is not None else "no answer"
    return Guess(one.case_id, one.answer, reason, one.raw, dict(one.logprobs))
