"""Fine-tuning of the last layer: what is trained, what is cached, and that it is the encoder's own arithmetic."""

import numpy as np
import pytest
import torch

from logfm.configs.schema.finetune import LastLayerConfig, TrainingConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.finetune import Head, Sequences
from logfm.finetune.lastlayer import LastLayerNetwork
from tests.embeddings.samples import log_lines

LABELS = np.arange(24) % 2


@pytest.fixture(scope="module")
def sequences():
    lines = log_lines(72)
    texts = [list(lines[3 * row : 3 * row + 3]) for row in range(24)]
    for row in np.flatnonzero(LABELS):
        texts[row][1] = texts[row][1].replace("session", "attack")
    return Sequences(None, None, texts)


def test_untrained_vectors_are_those_of_the_encoder(ours, sequences):
    network = LastLayerNetwork(LastLayerConfig(), 2, ours)
    prepared = network.prepare(sequences)
    different = list(dict.fromkeys(text for texts in sequences.texts for text in texts))
    chosen = np.array([1, 4, 30])
    with torch.no_grad():
        found = network.vectors(prepared, chosen).numpy()
    np.testing.assert_allclose(found, ours.encode([different[one] for one in chosen]), atol=1e-5)


def test_long_texts_are_cut_as_the_encoder_cuts(encoder_folder):
    chunked = LogEncoder.load(encoder_folder, truncation="chunk")
    text = " ".join(log_lines(12))
    network = LastLayerNetwork(LastLayerConfig(), 2, chunked)
    prepared = network.prepare(Sequences(None, None, [[text, "short"]]))
    assert len(prepared.owners) > 2
    with torch.no_grad():
        found = network.vectors(prepared, np.array([0, 1])).numpy()
    np.testing.assert_allclose(found, chunked.encode([text, "short"]), atol=1e-5)


def test_the_last_layer_learns_and_the_encoder_stays_as_it_was(ours, sequences, tmp_path):
    model = ours.pretrained.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = LastLayerConfig(most_events=3, encoder_rate=0.3, dropout=0.0)
    quick = TrainingConfig(epochs=10, batch=8, learning_rate=0.01)
    head = Head.fit(config, sequences, LABELS, encoder=ours, training=quick)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    own = model.deberta.encoder.layer[-1].state_dict()
    assert all(not torch.equal(tensor, own[name]) for name, tensor in head.network.layer.state_dict().items())
    assert (head.scores(sequences) > 0.5).tolist() == LABELS.astype(bool).tolist()
    frozen = Head.fit(config.model_copy(update={"encoder_rate": 0.0}), sequences, LABELS, encoder=ours, training=quick)
    assert all(torch.equal(tensor, own[name]) for name, tensor in frozen.network.layer.state_dict().items())
    assert head.history[-1]["loss"] < frozen.history[-1]["loss"]
    head.save(tmp_path)
    np.testing.assert_array_equal(Head.load(tmp_path, ours).scores(sequences), head.scores(sequences))


def test_memory_and_disk_give_the_same(ours, sequences):
    quick = TrainingConfig(epochs=2, batch=8)
    scores = [
        Head.fit(LastLayerConfig(memory_bytes=size), sequences, LABELS, encoder=ours, training=quick).scores(sequences)
        for size in (0, 1 << 30)
    ]
    assert np.array_equal(*scores)


def test_mistakes_are_one_line(ours, letters, sequences, tmp_path):
    with pytest.raises(UserError, match="encoder folder trained by logfm"):
        Head.fit(LastLayerConfig(), sequences, LABELS, encoder=letters)
    with pytest.raises(UserError, match="reads texts"):
        vectors = Sequences([np.zeros((1, 32), np.float32)] * 24)
        Head.fit(LastLayerConfig(), vectors, LABELS, encoder=ours)
    head = Head.fit(LastLayerConfig(), sequences, LABELS, encoder=ours, training=TrainingConfig(epochs=1))
    head.save(tmp_path)
    with pytest.raises(UserError, match="is not the one that this head was trained on"):
        Head.load(tmp_path, letters)
