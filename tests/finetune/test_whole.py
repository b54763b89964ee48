"""A classifier that is fine-tuned whole: every layer learns, the given encoder does not."""

import numpy as np
import pytest
import torch

from logfm.configs.schema.finetune import TrainingConfig, WholeConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.finetune import Head, Sequences
from logfm.finetune.whole import WholeNetwork
from tests.embeddings.samples import log_lines

LABELS = np.arange(24) % 2
QUICK = TrainingConfig(epochs=12, batch=8, learning_rate=0.01)


@pytest.fixture(scope="module")
def sequences():
    lines = log_lines(48)
    texts = [list(lines[2 * row : 2 * row + 2]) for row in range(24)]
    for row in np.flatnonzero(LABELS):
        texts[row][1] = texts[row][1].replace("session", "attack")
    return Sequences(None, None, texts)


@pytest.fixture(params=["ours", "hf"])
def encoder(request, ours, encoder_folder):
    return ours if request.param == "ours" else LogEncoder.load(f"hf:{encoder_folder}")


def _weights(encoder):
    model = getattr(encoder.backend, "model", None) or encoder.pretrained.model
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_untrained_means_are_the_encoders_vectors(encoder, sequences):
    network = WholeNetwork(WholeConfig(), 2, encoder).eval()
    prepared = network.prepare(sequences)
    with torch.no_grad():
        found = network._means([prepared[row] for row in (3, 0)]).numpy()
    joined = ["\n".join(sequences.texts[row]) for row in (3, 0)]
    np.testing.assert_allclose(found, encoder.encode(joined), atol=2e-5)


def test_every_layer_learns_and_the_encoder_stays_as_it_was(encoder, sequences, tmp_path):
    before = _weights(encoder)
    head = Head.fit(WholeConfig(encoder_rate=0.1, dropout=0.0), sequences, LABELS, encoder=encoder, training=QUICK)
    assert all(torch.equal(tensor, before[name]) for name, tensor in _weights(encoder).items())
    layers = head.network.encoder.encoder.layer
    pretrained = {name.removeprefix("deberta."): tensor for name, tensor in before.items()}
    for number, layer in enumerate(layers):
        for name, tensor in layer.named_parameters():
            if name.endswith("dense.weight"):
                assert not torch.equal(tensor, pretrained[f"encoder.layer.{number}.{name}"]), (number, name)
    assert (head.scores(sequences) > 0.5).tolist() == LABELS.astype(bool).tolist()
    head.save(tmp_path / "head")
    np.testing.assert_array_equal(Head.load(tmp_path / "head", encoder).scores(sequences), head.scores(sequences))


def test_a_step_in_parts_gives_the_gradients_of_one(ours, sequences, monkeypatch):
    grads = []
    for tokens in (1 << 20, 60):
        monkeypatch.setattr("logfm.finetune.whole._TOKENS", tokens)
        torch.manual_seed(3)
        network = WholeNetwork(WholeConfig(dropout=0.0), 2, ours)
        logits = network(network.prepare(sequences), np.arange(24)[::-1].copy())
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS).long()).backward()
        grads.append({name: one.grad for name, one in network.named_parameters() if one.grad is not None})
    assert len(grads[0]) > 20 and grads[0].keys() == grads[1].keys()
    for name, one in grads[0].items():
        torch.testing.assert_close(grads[1][name], one, atol=1e-6, rtol=1e-4)


def test_a_text_is_cut_to_the_most_tokens(ours, sequences):
    network = WholeNetwork(WholeConfig(most_tokens=10), 2, ours)
    whole = WholeNetwork(WholeConfig(), 2, ours).prepare(sequences)
    for cut, ids in zip(network.prepare(sequences), whole, strict=True):
        assert len(ids) > 10 and cut.tolist() == [*ids[:9], ids[-1]]


def test_a_long_text_of_several_pieces_is_its_first(encoder_folder):
    chunked = LogEncoder.load(encoder_folder, truncation="chunk")
    texts = [["a short event"], [" ".join(log_lines(12))], ["another"]]
    network = WholeNetwork(WholeConfig(), 2, chunked)
    prepared = network.prepare(Sequences(None, None, texts))
    assert len(prepared) == 3 and len(prepared[1]) > len(prepared[2])


def test_an_encoder_without_layers_is_one_line(letters, ours, sequences):
    with pytest.raises(UserError, match="encoder folder trained by logfm"):
        Head.fit(WholeConfig(), sequences, LABELS, encoder=letters)
    with pytest.raises(UserError, match="the head whole trains layers"):
        Head.fit(WholeConfig(), sequences, LABELS)
    with pytest.raises(UserError, match="reads texts"):
        Head.fit(WholeConfig(), Sequences([np.zeros((1, 32), np.float32)] * 24), LABELS, encoder=ours)
