"""Decoding: batches equal single cases, padding and prefix change nothing, labels' probabilities are exact."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logfm.configs.schema.decoder import BaseModelConfig, DecodingConfig
from logfm.evaluation.decoders.deciding import decide, matrix
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.generating import Generator, Prediction, threshold_of
from logfm.finetune.decoder.models import Base, open_base
from logfm.finetune.decoder.parsing import parse
from logfm.finetune.decoder.prompting import Prompter, Template
from logfm.finetune.decoder.session import Prefix, Session
from tests.finetune.decoder.conftest import CHUNKS, TECHNIQUES, TRIAGE

TEMPLATE = Template("Say it.", "{head}\n{text}")
Maker = Callable[[int, int], list[Case]]


@pytest.fixture(scope="module")
def base(base_folder: Path) -> Base:
    return open_base(BaseModelConfig(name=str(base_folder), dtype="float32", device="cpu"))


def _prompter(base: Base, grammar: Grammar) -> Prompter:
    return Prompter(base.tokenizer, TEMPLATE, grammar, 400, (), 6)


def _plainly(base: Base, prompt: list[int], way: list[int]) -> float:
    """The logarithm of a continuation's probability, from a plain forward."""
    shares = base.model(torch.tensor([prompt + way])).logits[0].float().log_softmax(-1)
    return sum(float(shares[len(prompt) + place - 1, token]) for place, token in enumerate(way))


def test_two_labels_have_their_exact_probabilities(base: Base, verdicts: Maker) -> None:
    prompter = _prompter(base, CHUNKS)
    cases = verdicts(6, 0)
    found = Generator(base.model, prompter, DecodingConfig()).predict(cases, "constrained", 400)
    for one, case in zip(found, cases, strict=True):
        logprobs = one.logprobs["verdict"]
        assert sum(map(math.exp, logprobs.values())) == pytest.approx(1, abs=1e-5)
        prompt = prompter.prefix + prompter.prompt(case).tokens + prompter.opening(0)
        normal, suspicious = (
            _plainly(base, prompt, [*prompter.label(label, first=True), prompter.end])
            for label in ("normal", "suspicious")
        )
        assert logprobs["suspicious"] - logprobs["normal"] == pytest.approx(suspicious - normal, abs=1e-4)


@pytest.mark.parametrize("grammar", [CHUNKS, TECHNIQUES, TRIAGE], ids=["chunks", "techniques", "triage"])
@pytest.mark.parametrize("mode", ["constrained", "free"])
def test_batches_answer_as_single_cases_do(base: Base, verdicts: Maker, grammar: Grammar, mode: str) -> None:
    generator = Generator(base.model, _prompter(base, grammar), DecodingConfig(tokens=12, reason_tokens=5))
    cases = verdicts(9, 1)
    single = generator.predict(cases, mode, 1)  # type: ignore[arg-type]
    together = generator.predict(cases, mode, 4_000)  # type: ignore[arg-type]
    assert [one.raw for one in single] == [one.raw for one in together]
    for one, other in zip(single, together, strict=True):
        for slot, logprobs in one.logprobs.items():
            assert logprobs == pytest.approx(other.logprobs[slot], abs=1e-3)
    assert [one.case_id for one in together] == [case.case_id for case in cases]


def test_constrained_answers_parse_strictly(base: Base, verdicts: Maker) -> None:
    for grammar in (CHUNKS, TECHNIQUES, TRIAGE):
        found = Generator(base.model, _prompter(base, grammar), DecodingConfig(reason_tokens=5)).predict(
            verdicts(12, 2), "constrained", 2_000
        )
        for one in found:
            assert one.answer is not None
            assert parse(one.raw, grammar, "strict").answer == one.answer


def test_a_label_of_several_tokens_has_the_models_probability(base: Base, verdicts: Maker) -> None:
    """Against the plain forward of every answer: how labels share their tokens makes no difference."""
    grammar = Grammar((Slot("technique", "one", ("T1003", "T1059", "T1059.001", "T1484", "none")),))
    prompter = _prompter(base, grammar)
    case = verdicts(1, 3)[0]
    (found,) = Generator(base.model, prompter, DecodingConfig()).predict([case], "constrained", 100)
    prompt = prompter.prefix + prompter.prompt(case).tokens + prompter.opening(0)
    labels = grammar.slots[0].labels
    wanted = torch.tensor(
        [_plainly(base, prompt, [*prompter.label(label, first=True), prompter.end]) for label in labels]
    )
    for label, logprob in zip(labels, wanted.log_softmax(0).tolist(), strict=True):
        assert found.logprobs["technique"][label] == pytest.approx(logprob, abs=1e-3)


@pytest.mark.parametrize("empty", [True, False])
def test_sets_come_in_order_without_repeats_and_are_empty_where_that_occurs(
    base: Base, verdicts: Maker, empty: bool
) -> None:
    # So long that a model that knows nothing would rather write none.
    slot = Slot("techniques", "set", ("T1003.001 of several", "T1059.001 of several"), empty)
    found = Generator(base.model, _prompter(base, Grammar((slot,))), DecodingConfig()).predict(
        verdicts(40, 4), "constrained", 2_000
    )
    assert any(one.answer["techniques"] == () for one in found if one.answer) == empty
    places = [[slot.labels.index(label) for label in one.answer["techniques"]] for one in found if one.answer]
    assert all(one == sorted(set(one)) for one in places)
    assert all(set(one.logprobs["techniques"]) == set(slot.labels) for one in found)


def test_a_tree_of_continuations_is_read_as_each_alone(base: Base) -> None:
    prefix = Prefix(base.model, [5, 6, 7])
    session = Session(base.model, prefix, 2)
    session.feed([[8, 9, 10], [11]])
    states = session.branches([20, 21, 22], [-1, 0, -1])
    for row, text in enumerate(([5, 6, 7, 8, 9, 10], [5, 6, 7, 11])):
        for node, way in enumerate(([20], [20, 21], [22])):
            plain = base.model.model(torch.tensor([text + way])).last_hidden_state[0, -1]
            assert torch.allclose(states[row, node], plain, atol=1e-4)
    before = session.logits.clone()
    session.feed([[30], []])
    assert torch.equal(session.logits[1], before[1])
    plain = base.model(torch.tensor([[5, 6, 7, 8, 9, 10, 30]])).logits[0, -1]
    assert torch.allclose(session.logits[0], plain, atol=1e-4)


def test_a_set_has_no_more_labels_than_training_has(base: Base, verdicts: Maker) -> None:
    labels = tuple(f"T10{number}" for number in range(10, 40))
    sizes = {}
    for most in (1, 2, None):
        prompter = _prompter(base, Grammar((Slot("techniques", "set", labels, False, most),)))
        found = Generator(base.model, prompter, DecodingConfig()).predict(verdicts(12, 7), "constrained", 4_000)
        sizes[most] = max(len(one.answer["techniques"]) for one in found if one.answer)
    assert sizes[1] == 1
    assert sizes[2] <= 2


def test_many_trees_are_read_in_parts(base: Base, verdicts: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(base.model, _prompter(base, TECHNIQUES), DecodingConfig(reason_tokens=2))
    whole = generator.predict(verdicts(5, 6), "constrained", 4_000)
    monkeypatch.setattr("logfm.finetune.decoder.constrained._AT_ONCE", 30)
    for one, other in zip(generator.predict(verdicts(5, 6), "constrained", 4_000), whole, strict=True):
        assert one.answer == other.answer
        assert one.logprobs["techniques"] == pytest.approx(other.logprobs["techniques"], abs=1e-3)


def test_of_a_large_tree_only_what_can_matter_is_read_and_the_answers_are_the_same(
    base: Base, verdicts: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tuple(f"T1{number}" for number in range(100, 1000, 7))
    grammar = Grammar((Slot("techniques", "set", labels, True, 3),))
    read: list[int] = []
    branches = Session.branches

    def counted(self: Session, tokens: list[int], *rest: Any) -> torch.Tensor:
        read.append(len(tokens))
        return branches(self, tokens, *rest)

    monkeypatch.setattr(Session, "branches", counted)
    found = {}
    for first, margin in ((10_000, 9.0), (8, 9.0), (1, 0.0)):
        monkeypatch.setattr("logfm.finetune.decoder.constrained._FIRST", first)
        monkeypatch.setattr("logfm.finetune.decoder.constrained._MARGIN", margin)
        read.clear()
        generator = Generator(base.model, _prompter(base, grammar), DecodingConfig())
        found[first] = generator.predict(verdicts(12, 8), "constrained", 1), sum(read)
    whole, pruned = found[10_000], found[1]
    assert pruned[1] < whole[1]
    for one, other, third in zip(whole[0], pruned[0], found[8][0], strict=True):
        assert one.answer == other.answer == third.answer
        exact, bounds = one.logprobs["techniques"], other.logprobs["techniques"]
        assert set(exact) == set(bounds) == set(labels)
        assert third.logprobs["techniques"] == pytest.approx(exact, abs=0.05)


def test_a_heads_threshold_is_chosen_as_that_of_any_contestant() -> None:
    """By F1 and MCC together: by F1 alone all of these would be called suspicious."""
    slot = CHUNKS.slots[0]
    scores = [*[(0.9, True)] * 5, (0.4, True), (0.4, False), (0.2, True), (0.2, True), (0.2, False)]
    cases = [
        Case(str(n), "g", "s", "", {}, (str(n),), {"verdict": ("suspicious" if bad else "normal",)})
        for n, (_, bad) in enumerate(scores)
    ]
    found = [
        Prediction(str(n), "", None, {"verdict": {"suspicious": math.log(p), "normal": math.log(1 - p)}})
        for n, (p, _) in enumerate(scores)
    ]
    threshold = threshold_of(found, cases, slot)
    assert threshold == pytest.approx(0.65)
    margins = matrix(slot, [one.logprobs["verdict"] for one in found])
    called = decide(slot, margins, [case.answer["verdict"] for case in cases]).labels(margins)
    assert [label == ("suspicious",) for label in called] == [p > threshold for p, _ in scores]
    none = [replace(case, answer={"verdict": ("normal",)}) for case in cases]
    assert threshold_of(found, none, slot) is None
