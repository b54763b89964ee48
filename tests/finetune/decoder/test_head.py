"""Decoder heads: they learn, save, load, merge, resume after a kill to the same weights, and refuse another base."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from logfm.artifacts import digest
from logfm.configs.base import parse
from logfm.configs.schema.decoder import BaseModelConfig, DecoderConfig, DecoderTrainingConfig, LoraConfig
from logfm.errors import UserError
from logfm.finetune.decoder import models
from logfm.finetune.decoder.adapters import adapt
from logfm.finetune.decoder.answers import Case, Grammar, Slot
from logfm.finetune.decoder.head import DecoderHead, copy_of, merge
from logfm.finetune.decoder.models import Base, open_base
from logfm.finetune.decoder.packing import examples, plan
from logfm.finetune.decoder.training import Adapting, Steps
from tests.finetune.decoder.conftest import CHUNKS, TECHNIQUES, TRIAGE, write_base

Maker = Callable[[int, int], list[Case]]


def _config(folder: Path, **changed: object) -> DecoderConfig:
    source = {"kind": "rows", "name": "made", "input": "none", "group": "rule"}
    return parse(
        DecoderConfig,
        {
            "decoder": {"name": str(folder), "dtype": "float32", "device": "cpu"},
            "data": {"task": "chunks", "sources": [source]},
            "out": "none",
            "lora": {"rank": 8, "alpha": 16, "dropout": 0.05},
            "training": {"epochs": 5, "batch": 8, "learning_rate": 0.02, "tokens": 1024, "checkpoint": 20},
            "prompt": {"context": 300},
            **changed,
        },
        "test",
    )


@pytest.fixture(scope="module")
def trained(base_folder: Path, verdicts: Maker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DecoderHead]:
    """A head's folder, and the head as it came out of its training."""
    folder = tmp_path_factory.mktemp("trained")
    head, _ = DecoderHead.fit(_config(base_folder), CHUNKS, verdicts(120, 0), verdicts(30, 1), folder)
    return folder, head


def _right(head: DecoderHead, cases: list[Case]) -> float:
    found = head.predict(cases, "constrained")
    return sum(one.answer == case.answer for one, case in zip(found, cases, strict=True)) / len(cases)


def test_it_learns_what_a_word_says(trained: tuple[Path, DecoderHead], base_folder: Path, verdicts: Maker) -> None:
    cases = verdicts(60, 2)
    untuned = DecoderHead.untuned(_config(base_folder), CHUNKS)
    assert _right(trained[1], cases) > 0.8 > _right(untuned, cases)
    free = trained[1].predict(cases, "free")
    assert sum(one.raw == CHUNKS.write(case.answer) for one, case in zip(free, cases, strict=True)) > 45


def test_few_cases_are_learnt_by_heart(base_folder: Path, verdicts: Maker, tmp_path: Path) -> None:
    """Many epochs over 32 cases: what isn't learnt of the cases themselves, training loses."""
    cases = verdicts(32, 6)
    training = {"epochs": 40, "batch": 8, "learning_rate": 0.02}
    config = _config(base_folder, lora={"rank": 8, "alpha": 16}, training=training)
    head, figures = DecoderHead.fit(config, CHUNKS, cases, (), tmp_path)
    # The random base's matrix of words is frozen and small: it can't be sure of a word, and the loss stays high.
    assert figures["losses"][-1] < figures["losses"][0]
    assert _right(head, cases) >= 31 / 32


def test_a_loaded_head_answers_as_the_trained_one(trained: tuple[Path, DecoderHead], verdicts: Maker) -> None:
    folder, head = trained
    cases = verdicts(20, 3)
    loaded = DecoderHead.load(folder)
    for one, other in zip(head.predict(cases), loaded.predict(cases), strict=True):
        assert one.raw == other.raw
        assert one.logprobs["verdict"] == pytest.approx(other.logprobs["verdict"], abs=1e-3)
    assert loaded.threshold == head.threshold


def test_a_merged_model_needs_no_adapter(trained: tuple[Path, DecoderHead], verdicts: Maker, tmp_path: Path) -> None:
    folder, head = trained
    merge(folder, tmp_path / "merged")
    merged = open_base(BaseModelConfig(name=str(tmp_path / "merged"), dtype="float32", device="cpu"))
    plain = replace(head, base=merged)
    cases = verdicts(20, 3)
    assert [one.raw for one in plain.predict(cases, "free")] == [one.raw for one in head.predict(cases, "free")]
    weights = tmp_path / "merged" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    merge(folder, tmp_path / "merged")
    assert weights.stat().st_mtime_ns == before
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    with pytest.raises(UserError, match="taken"):
        merge(folder, tmp_path / "taken")


def test_an_adapter_for_another_base_is_refused(trained: tuple[Path, DecoderHead], tmp_path: Path) -> None:
    other = write_base(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="another base"):
        DecoderHead.load(trained[0], open_base(BaseModelConfig(name=str(other), dtype="float32", device="cpu")))
    with pytest.raises(UserError, match="no decoder head"):
        DecoderHead.load(tmp_path)


def test_frozen_layers_computed_once_give_the_same_training(base_folder: Path, verdicts: Maker, tmp_path: Path) -> None:
    """States in two parts equal those of the whole model, and only the upper layers have adapters."""
    base = open_base(BaseModelConfig(name=str(base_folder), dtype="float32", device="cpu"))
    config = _config(base_folder, lora={"rank": 4, "layers": 1})
    prompter = DecoderHead.untuned(config, CHUNKS, (), base).prompter()
    given, _ = examples(verdicts(8, 4), prompter, config.training)
    model = adapt(copy_of(base), config.lora, 0)
    from logfm.finetune.decoder.frozen import FrozenStates
    from logfm.finetune.decoder.stack import Stack
    from logfm.finetune.decoder.training import frozen_layers

    assert frozen_layers(model) == 2
    with torch.no_grad():
        for name, one in model.named_parameters():
            if "lora_B" in name:  # begins at zero, where the adapter does nothing
                one.normal_(std=0.1)
    (step,) = list(Steps(given, DecoderTrainingConfig(epochs=1, batch=8, tokens=4_000), prompter.end, 0))
    prefix = torch.tensor(prompter.prefix)
    (batch,) = step
    inner = model.get_base_model()
    states = FrozenStates(inner, 2, prefix, given, 300, prompter.end, tmp_path / "states")
    with torch.no_grad():
        plain = inner.model(torch.cat([prefix.expand(len(batch.rows), -1), batch.tokens_BL], 1)).last_hidden_state
        begun, below = Stack(inner, 0, 2).states(prefix, batch.tokens_BL)
        _, found = Stack(inner, 2).states(begun, below)
        # What is kept is that, in bfloat16: eight bits of a number.
        torch.testing.assert_close(states.prefix.float(), begun, rtol=2**-8, atol=1e-6)
        for place, length in enumerate(batch.lengths):
            texts = (one[place, :length] for one in (found, plain[:, len(prefix) :]))
            torch.testing.assert_close(*texts, rtol=1e-4, atol=1e-5)
            kept = states.take(batch)[place, :length].float()
            torch.testing.assert_close(kept, below[place, :length], rtol=2**-7, atol=1e-4)
        whole = Adapting(model, prefix, None, config.training, 1).loss(batch)
        states.prefix = begun
        states.states = torch.cat([below[batch.rows.index(row), : states.lengths[row]] for row in range(len(given))])
        upper = Adapting(model, prefix, states, config.training, 1).loss(batch)
    assert float(upper) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Phi3"])
def test_the_loss_is_that_of_a_plain_forward_without_padding(kind: str, verdicts: Maker, tmp_path: Path) -> None:
    """Qwen2's projections have a bias, Phi-3's are one matrix for query, key and value."""
    folder = write_base(tmp_path / "base", kind=kind)
    base = open_base(BaseModelConfig(name=str(folder), dtype="float32", device="cpu"))
    prompter = DecoderHead.untuned(_config(folder), CHUNKS, (), base).prompter()
    given, _ = examples(verdicts(5, 5), prompter, DecoderTrainingConfig())
    model = adapt(copy_of(base), LoraConfig(rank=2), 0)
    (step,) = list(Steps(given, DecoderTrainingConfig(epochs=1, batch=5, tokens=4_000), prompter.end, 0))
    wanted = 0.0
    for one in given:
        tokens = prompter.prefix + one.tokens
        logits = base.model(torch.tensor([tokens])).logits[0].float().log_softmax(-1)
        answer = range(len(prompter.prefix) + one.answer, len(tokens))
        wanted -= sum(
            float(logits[place - 1, tokens[place]]) * weight for place, weight in zip(answer, one.weights, strict=True)
        )
    found = Adapting(model, torch.tensor(prompter.prefix), None, DecoderTrainingConfig(), 1).loss(step[0])
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_slots_tokens_count_the_same_whatever_its_label(base_folder: Path, verdicts: Maker, balanced: bool) -> None:
    base = open_base(BaseModelConfig(name=str(base_folder), dtype="float32", device="cpu"))
    grammar = Grammar(
        (*TRIAGE.slots[:1], Slot("techniques", "set", ("T1003", "T1059", "T1059.001")), *TRIAGE.slots[2:])
    )
    sets = (("T1059",), ("T1059.001",), ("T1003", "T1059.001"), ("T1003",))
    threats = ("impact", "access", "access", "access")
    answers = [{"threat": (t,), "techniques": s, "severity": ("low",)} for t, s in zip(threats, sets, strict=True)]
    cases = [replace(case, answer=answer) for case, answer in zip(verdicts(4, 0), answers, strict=True)]
    prompter = DecoderHead.untuned(_config(base_folder), grammar, (), base).prompter()
    found, _ = examples(cases, prompter, DecoderTrainingConfig(format_weight=0.3, balanced=balanced))
    assert sum(sum(one.weights) for one in found) == pytest.approx(len(found))
    weight = {"impact": 2, "access": 2 / 3} if balanced else {"impact": 1, "access": 1}
    counted = dict.fromkeys(("threat", "techniques", "severity", None), 0.0)
    single: dict[str, set[float]] = {}
    for case, one in zip(cases, found, strict=True):
        assert one.tokens[one.answer :] == prompter.answer(case.answer)
        at = 0
        for piece, slot in prompter.pieces(case.answer):
            given = one.weights[at : at + len(piece)]
            at += len(piece)
            counted[slot and slot.name] += sum(given)
            if slot is not None:
                single.setdefault(slot.name, set()).update(
                    round(share / weight[case.answer["threat"][0]], 9) for share in given
                )
    assert {name: len(shares) for name, shares in single.items()} == {"threat": 1, "techniques": 1, "severity": 1}
    every = len(found) / 3.3
    expected = {"threat": every, "techniques": every, "severity": every, None: 0.3 * every}
    assert counted == pytest.approx(expected)


def test_free_text_counts_the_same_however_long(base_folder: Path, verdicts: Maker) -> None:
    base = open_base(BaseModelConfig(name=str(base_folder), dtype="float32", device="cpu"))
    reasons = ("cmd.exe", "cmd.exe ran a backup of a login")
    cases = [
        replace(case, answer={"techniques": ("T1003",), "reason": (reason,)})
        for case, reason in zip(verdicts(2, 0), reasons, strict=True)
    ]
    prompter = DecoderHead.untuned(_config(base_folder), TECHNIQUES, (), base).prompter()
    short, long = examples(cases, prompter, DecoderTrainingConfig())[0]
    assert len(short.weights) < len(long.weights)
    assert sum(short.weights) == pytest.approx(sum(long.weights)) == pytest.approx(1)


def test_a_case_counts_the_same_beside_long_labels(base_folder: Path, verdicts: Maker, tmp_path: Path) -> None:
    """A step's loss is the mean over its cases, not over its tokens."""
    base = open_base(BaseModelConfig(name=str(base_folder), dtype="float32", device="cpu"))
    training = {"epochs": 1, "batch": 1}
    config = _config(base_folder, lora={"rank": 4}, training=training)
    sets = (("T1003",), ("T1003", "T1059", "T1059.001", "T1105"))
    cases = [
        replace(case, answer={"techniques": labels, "reason": ()})
        for case, labels in zip(verdicts(2, 0), sets, strict=True)
    ]
    prompter = DecoderHead.untuned(config, TECHNIQUES, (), base).prompter()
    given, _ = examples(cases, prompter, config.training)
    ((first,), _) = Steps(given, config.training, prompter.end, config.seed)
    assert abs(float(first.weights_N.sum()) - 1) > 0.1
    wanted = Adapting(adapt(copy_of(base), config.lora, 0), torch.tensor(prompter.prefix), None, config.training, 2)
    _, figures = DecoderHead.fit(config, TECHNIQUES, cases, (), tmp_path, base)
    assert figures["losses"][0] == pytest.approx(float(wanted.loss(first).detach()), rel=1e-3)


def test_every_case_is_seen_once_an_epoch_within_the_tokens() -> None:
    lengths = [10 + 7 * (n % 13) for n in range(50)]
    config = DecoderTrainingConfig(epochs=2, batch=8, tokens=200)
    steps = list(plan(lengths, config, 3))
    rows = [row for step in steps for part in step for row in part]
    assert sorted(rows[:50]) == sorted(rows[50:]) == list(range(50))
    assert rows[:50] != rows[50:]
    assert all(max(lengths[row] for row in part) * len(part) <= 200 for step in steps for part in step)
    assert steps == list(plan(lengths, config, 3))


def test_a_time_limit_ends_the_training(base_folder: Path, verdicts: Maker, tmp_path: Path) -> None:
    config = _config(base_folder, training={"epochs": 3, "batch": 4, "minutes": 1e-5})
    _, figures = DecoderHead.fit(config, CHUNKS, verdicts(20, 0), (), tmp_path)
    assert figures["steps"] == 1 < figures["steps_planned"] == 15


def test_a_label_outside_of_the_grammar_is_named(base_folder: Path, verdicts: Maker, tmp_path: Path) -> None:
    odd = replace(verdicts(1, 0)[0], answer={"verdict": ("odd",)})
    with pytest.raises(UserError, match="verdict odd"):
        DecoderHead.fit(_config(base_folder), CHUNKS, [odd], (), tmp_path)


def test_a_head_keeps_its_prompt_and_does_not_learn_what_stands_in_it(
    base_folder: Path, verdicts: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "mine.txt"
    template.write_text("[system]\nSay it.\n[case]\n{head}\n{text}\n")
    training = {"epochs": 1, "batch": 4, "minutes": 1e-5}
    config = _config(base_folder, training=training, prompt={"context": 400, "shots": 2, "template": str(template)})
    seen: list[Case] = []

    def watched(cases: list[Case], *rest: Any) -> Any:
        seen.extend(cases)
        return examples(cases, *rest)

    monkeypatch.setattr("logfm.finetune.decoder.head.examples", watched)
    head, _ = DecoderHead.fit(config, CHUNKS, verdicts(8, 0), (), tmp_path / "head")
    assert len(head.shots) == 2
    assert {case.case_id for case in (*seen, *head.shots)} == {case.case_id for case in verdicts(8, 0)}
    assert len(seen) == 6
    template.unlink()
    assert DecoderHead.load(tmp_path / "head").prompter().prefix == head.prompter().prefix


_KILLED = """
    import sys
    from pathlib import Path
    from tests.finetune.decoder.conftest import CHUNKS, make_verdicts as cases
    from tests.finetune.decoder.test_head import _config
    from logfm.finetune.decoder.head import DecoderHead
    DecoderHead.fit(_config(Path(sys.argv[1])), CHUNKS, cases(120, 0), cases(30, 1), Path(sys.argv[2]))
"""


def test_a_killed_training_goes_on_to_the_same_weights(
    trained: tuple[Path, DecoderHead], base_folder: Path, verdicts: Maker, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_KILLED), str(base_folder), str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / "checkpoints"
    try:
        while not list(checkpoints.glob("*.ckpt")) and process.poll() is None:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert list(checkpoints.glob("*.ckpt"))
    assert not (tmp_path / "decoder.json").exists()
    DecoderHead.fit(_config(base_folder), CHUNKS, verdicts(120, 0), verdicts(30, 1), tmp_path)
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


@pytest.mark.parametrize("faster", [True, False])
def test_the_processor_decides_on_the_number_format(
    faster: bool, base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "faster_in_bf16", lambda: faster)
    base = open_base(BaseModelConfig(name=str(base_folder), device="cpu"))
    assert base.model.dtype == (torch.bfloat16 if faster else torch.float32)


def test_bases_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        open_base(BaseModelConfig(name=str(tmp_path)))
    write_base(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="no decoder model"):
        open_base(BaseModelConfig(name=str(tmp_path / "base")))
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="nf4 needs a GPU"):
            open_base(BaseModelConfig(name=str(write_base(tmp_path / "fine")), quantised="nf4"))


def test_the_hash_is_that_of_the_content(base_folder: Path, tmp_path: Path) -> None:
    same = write_base(tmp_path / "same")
    opened: list[Base] = [open_base(BaseModelConfig(name=str(one))) for one in (base_folder, same)]
    assert opened[0].hash == opened[1].hash
    assert opened[0].hash != digest({})
    assert open_base(BaseModelConfig(name=str(write_base(tmp_path / "other", seed=3)))).hash != opened[0].hash
