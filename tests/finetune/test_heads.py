"""The heads: they find what is planted, score a sequence by itself, and come back from disk as they were."""

import numpy as np
import orjson
import pytest
import torch
from sklearn.metrics import average_precision_score

from logfm.configs.schema.finetune import (
    GnnConfig,
    LastLayerConfig,
    LstmConfig,
    TrainingConfig,
    TransformerConfig,
)
from logfm.errors import UserError
from logfm.finetune import Head, Sequences
from tests.finetune.samples import planted

KINDS = [LstmConfig(hidden=8), TransformerConfig(hidden=8, heads=2), GnnConfig(hidden=8, nodes=200)]
QUICK = TrainingConfig(epochs=20, batch=16, learning_rate=0.02, patience=20)
SHORT = TrainingConfig(epochs=2, batch=16)


@pytest.fixture(scope="module", params=KINDS, ids=lambda config: config.kind)
def fitted(request):
    return Head.fit(request.param, *planted(80, 0), planted(40, 1), training=QUICK, seed=3)


def test_a_planted_event_is_found(fitted):
    sequences, labels = planted(80, 2)
    scores = fitted.scores(sequences)
    assert scores.dtype == np.float32
    assert average_precision_score(labels, scores) > 0.95
    called = scores > fitted.threshold
    assert (called == labels).mean() > 0.9
    assert fitted.history[-1]["loss"] < fitted.history[0]["loss"] / 2


def test_a_score_depends_on_its_own_sequence_alone(fitted):
    sequences, _ = planted(30, 2)
    together = fitted.scores(sequences)
    alone = np.concatenate([fitted.scores(sequences.take(np.array([row]))) for row in range(30)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_same_seed_gives_the_same_scores_and_another_does_not(fitted):
    sequences, _ = planted(20, 2)
    scores = [
        Head.fit(fitted.config, *planted(40, 0), planted(20, 1), training=SHORT, seed=seed).scores(sequences)
        for seed in (3, 3, 4)
    ]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_torch_keeps_its_own_random_state():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Head.fit(LstmConfig(hidden=4), *planted(20, 0), training=SHORT)
    assert torch.equal(torch.rand(1), expected)


def test_a_saved_head_gives_the_same_scores(fitted, tmp_path):
    sequences, _ = planted(20, 2)
    fitted.save(tmp_path)
    loaded = Head.load(tmp_path)
    assert np.array_equal(loaded.scores(sequences), fitted.scores(sequences))
    assert (loaded.threshold, loaded.classes, loaded.config) == (fitted.threshold, fitted.classes, fitted.config)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "no json", "wrong kind", "another config"])
def test_a_damaged_head_is_refused(fitted, tmp_path, damage):
    fitted.save(tmp_path)
    weights, head = tmp_path / "head.safetensors", tmp_path / "head.json"
    content = bytearray(weights.read_bytes())
    document = orjson.loads(head.read_bytes())
    if damage == "cut":
        weights.write_bytes(content[:-7])
    elif damage == "flipped":
        content[-3] ^= 1
        weights.write_bytes(content)
    elif damage == "gone":
        weights.unlink()
    elif damage == "no json":
        head.write_bytes(b"{")
    elif damage == "wrong kind":
        head.write_bytes(orjson.dumps(document | {"dim": "8"}))
    else:
        document["config"]["hidden"] = 10
        head.write_bytes(orjson.dumps(document))
    with pytest.raises(UserError, match="damaged head"):
        Head.load(tmp_path)


def test_a_folder_without_a_head_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a head"):
        Head.load(tmp_path)


def test_the_time_between_events_is_read():
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(60)]
    labels = np.arange(60) % 2
    times = [np.arange(4) * (100.0 if label else 1.0) + rng.random() for label in labels]
    parts = [np.arange(40), np.arange(40, 60)]
    for config in KINDS[:2]:
        for known, least, most in ((True, 0.99, 1.0), (False, 0.0, 0.8)):
            whole = Sequences(vectors, times if known else None)
            head = Head.fit(config, whole.take(parts[0]), labels[parts[0]], training=QUICK)
            found = average_precision_score(labels[parts[1]], head.scores(whole.take(parts[1])))
            assert least <= found <= most


def test_several_classes():
    sequences, labels = planted(90, 0)
    three = np.where(np.arange(90) % 3 == 2, 2, labels)
    for row in np.flatnonzero(three == 2):
        sequences.vectors[row][:, 1] -= 8
    head = Head.fit(LstmConfig(hidden=8), sequences, three, training=QUICK, classes=("normal", "a", "b"))
    found = head.probabilities(sequences)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert (found.argmax(axis=1) == three).mean() > 0.9
    np.testing.assert_allclose(head.scores(sequences), 1 - found[:, 0], atol=1e-5)


def test_the_threshold_is_that_of_the_rule():
    from logfm.finetune.judging import choose_threshold, f1

    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    attack = np.array([0, 0, 0, 0, 0, 1, 0, 1, 1, 1], dtype=bool)
    assert choose_threshold(scores, attack, TrainingConfig()) == pytest.approx(0.55)
    rule = TrainingConfig(threshold="false_positive_rate", false_positive_rate=0.0)
    assert choose_threshold(scores, attack, rule) == pytest.approx(0.75)
    rule = TrainingConfig(threshold="false_positive_rate", false_positive_rate=0.34)
    assert (scores[~attack] > choose_threshold(scores, attack, rule)).mean() == pytest.approx(2 / 6)
    rng = np.random.default_rng(0)
    scores, attack = rng.integers(0, 30, 200) / 30, rng.random(200) < 0.3
    best = max(f1(scores > border, attack) for border in np.linspace(-0.01, 1.01, 500))
    assert f1(scores > choose_threshold(scores, attack, TrainingConfig()), attack) == pytest.approx(best)


def test_mistakes_are_one_line():
    sequences, labels = planted(20, 0)
    small = LstmConfig(hidden=4)
    with pytest.raises(UserError, match="need 2 classes and have: normal"):
        Head.fit(small, sequences, np.zeros(20))
    with pytest.raises(UserError, match="validation sequences need 2 classes"):
        Head.fit(small, sequences, labels, (sequences, np.ones(20)))
    with pytest.raises(UserError, match="an unknown label"):
        Head.fit(small, sequences, labels + 1)
    with pytest.raises(UserError, match="have 3 labels"):
        Head.fit(small, sequences, labels[:3])
    with pytest.raises(UserError, match="a sequence without events: number 1"):
        Sequences([np.zeros((1, 2), np.float32), np.zeros((0, 2), np.float32)])
    with pytest.raises(UserError, match="no graph can be made"):
        same = Sequences([np.ones((2, 3), np.float32)] * 20)
        Head.fit(GnnConfig(), same, labels)
    head = Head.fit(small, sequences, labels, training=TrainingConfig(epochs=1))
    with pytest.raises(UserError, match="reads vectors of 8 dimensions, not 2"):
        head.scores(Sequences([np.zeros((1, 2), np.float32)]))
    with pytest.raises(UserError, match="loss is no finite number"):
        Head.fit(small, Sequences([one * np.float32(np.nan) for one in sequences.vectors]), labels)
    with pytest.raises(UserError, match="lastlayer trains layers of the encoder"):
        Head.fit(LastLayerConfig(), sequences, labels)


def test_long_sequences_keep_their_beginning_and_their_end():
    sequences = Sequences([np.arange(7, dtype=np.float32)[:, None]], [np.arange(7.0)], [list("abcdefg")])
    short, longer = sequences.trimmed(3)
    assert longer == 1
    assert short.vectors[0].ravel().tolist() == [0, 1, 6]
    assert short.times[0].tolist() == [0, 1, 6]
    assert short.texts[0] == ["a", "b", "g"]
    np.testing.assert_allclose(short.gaps(0)[:, 0], np.log1p([0, 1, 5]) / np.log1p(1e6), atol=1e-6)
    assert sequences.trimmed(7) == (sequences, 0)
