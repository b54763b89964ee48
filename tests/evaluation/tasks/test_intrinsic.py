"""Intrinsic measures against what a known model must score."""

import numpy as np
import pytest

from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.evaluation.suite.contestants import Pretrained, Random
from logfm.evaluation.tasks import intrinsic
from tests.embeddings.conftest import encoder_folder  # noqa: F401
from tests.embeddings.samples import log_lines
from tests.evaluation.tasks.conftest import make_data


@pytest.fixture
def ours(encoder_folder):  # noqa: F811
    return Pretrained("ours", str(encoder_folder), loaded=LogEncoder.load(encoder_folder))


@pytest.fixture
def data():
    texts = [line.rstrip("\n") for line in log_lines(120)]
    return make_data(texts=texts, sources=["a" if n % 2 else "b" for n in range(len(texts))])


def test_an_untrained_model_is_as_good_as_chance(scores, ours, data):
    found = scores(intrinsic, ours, data)
    vocabulary = ours.encoder.pretrained.tokenizer.vocab_size
    assert set(found) == {"", "source a", "source b"}
    assert found[""]["perplexity"].value == pytest.approx(vocabulary, rel=0.15)
    assert found[""]["masked_accuracy"].value < 0.1
    assert found[""]["bits_per_byte"].low <= found[""]["bits_per_byte"].value <= found[""]["bits_per_byte"].high
    tokens = sum(found[name]["perplexity"].count for name in ("source a", "source b"))
    assert tokens == found[""]["perplexity"].count > 0


def test_bits_per_byte_follow_from_perplexity(scores, ours, data):
    """A vocabulary's mean bytes per masked token lie between the two."""
    found = scores(intrinsic, ours, data)[""]
    size = np.log2(found["perplexity"].value) / found["bits_per_byte"].value
    assert 1.0 <= size <= 8.0


def test_a_model_that_knows_the_answer(scores, ours, data, monkeypatch):
    import torch

    import logfm.pretrain.forward as forward

    def right(model, decoder, states, packed, positions, targets):
        return torch.zeros(()), torch.full((len(targets),), np.log(2.0)), torch.ones(len(targets), dtype=torch.bool)

    monkeypatch.setattr(forward, "prediction_loss", right)
    found = scores(intrinsic, ours, data)[""]
    assert found["perplexity"].value == pytest.approx(2.0) and found["masked_accuracy"].value == 1.0
    assert found["perplexity"].high == pytest.approx(2.0)


def test_every_loss_goes_to_its_own_event(scores, ours, monkeypatch):
    """Letters cost one nat and digits none, so sources of letters and of digits are told apart exactly."""
    import torch

    import logfm.pretrain.forward as forward

    tokenizer = ours.encoder.pretrained.tokenizer
    digits = [f"{n}{n * 7} {n * 3}" for n in range(40)]
    words = [f"{'xyz' * (1 + n % 5)} qrst{'uvw' * (n % 7)} {chr(97 + n % 26)}{chr(97 + n // 2)}" for n in range(40)]
    delimiters = set(np.flatnonzero(tokenizer.delimiter_mask).tolist())
    in_digits, in_words = (set(np.concatenate(tokenizer.encode_batch(texts))) - delimiters for texts in (digits, words))
    assert not in_digits & in_words

    def loss(model, decoder, states, packed, positions, targets):
        costly = torch.tensor([int(one) in in_words for one in targets])
        return torch.zeros(()), costly.float(), ~costly

    monkeypatch.setattr(forward, "prediction_loss", loss)
    mixed = [text for pair in zip(digits, words, strict=True) for text in pair]
    found = scores(intrinsic, ours, make_data(texts=mixed, sources=["digits", "words"] * 40))
    assert found["source digits"]["perplexity"].value == 1.0 and found["source digits"]["masked_accuracy"].value == 1.0
    assert found["source words"]["perplexity"].value == pytest.approx(np.e)
    assert found["source words"]["masked_accuracy"].value == 0.0


def test_encoders_that_know_other_templates_are_not_compared(scores, ours, data, monkeypatch):
    def judged(known):
        monkeypatch.setattr(intrinsic, "_seen", lambda contestant, texts: np.array([known in text for text in texts]))
        found = scores(intrinsic, ours, data)
        assert {intrinsic.SEEN, intrinsic.NEW} < set(found)
        return {condition: metrics["bits_per_byte"].judged for condition, metrics in found.items()}

    first, same, other = judged("opened"), judged("opened"), judged("closed")
    assert first == same and first[""] == other[""] == first["source a"] == ""
    assert first[intrinsic.SEEN] != first[intrinsic.NEW]
    assert first[intrinsic.SEEN] != other[intrinsic.SEEN] and first[intrinsic.NEW] != other[intrinsic.NEW]


def test_the_draw_is_the_seeds(scores, ours, data):
    one, same, other = (scores(intrinsic, ours, data, seed)[""]["bits_per_byte"].value for seed in (1, 1, 2))
    assert one == same != other


def test_others_are_refused(scores, data):
    with pytest.raises(UserError, match="logfm trained"):
        scores(intrinsic, Random("random"), data)
