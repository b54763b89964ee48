"""Fine-tuning of the last layer: what is trained, what is cached, and that it is the encoder's own arithmetic."""

import shutil

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer

from logfm.configs.schema.finetune import LastLayerConfig, TrainingConfig
from logfm.embeddings import LogEncoder
from logfm.errors import UserError
from logfm.finetune import Head, Sequences
from logfm.finetune.lastlayer import LastLayerNetwork, States, states_of
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


def test_memory_and_disk_give_the_same(ours, sequences, monkeypatch):
    monkeypatch.setattr("logfm.finetune.lastlayer.states_of", lambda encoder: States())
    quick = TrainingConfig(epochs=2, batch=8)
    scores = [
        Head.fit(LastLayerConfig(memory_bytes=size), sequences, LABELS, encoder=ours, training=quick).scores(sequences)
        for size in (0, 1 << 30)
    ]
    assert np.array_equal(*scores)


def test_a_step_in_parts_gives_the_gradients_of_one(ours, sequences):
    """What is computed at once has a bound in tokens; what parts lose is computed again in the backward pass."""
    grads = []
    for tokens in (1 << 20, 40):
        torch.manual_seed(3)
        network = LastLayerNetwork(LastLayerConfig(most_events=3, dropout=0.0), 2, ours)
        network.stem.tokens_per_batch, network.states = tokens, States()
        prepared = network.prepare(sequences)
        logits = network(prepared, np.arange(24))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(LABELS).long()).backward()
        grads.append({name: one.grad for name, one in network.named_parameters() if one.grad is not None})
    assert len(grads[0]) > 10 and grads[0].keys() == grads[1].keys()
    for name, one in grads[0].items():
        torch.testing.assert_close(grads[1][name], one, atol=1e-6, rtol=1e-4)


@pytest.fixture(params=["deberta", "bert", "roberta", "mpnet", "sentence"])
def foreign(request, encoder_folder, minilm_folder, tmp_path):
    """Models of the transformers library with random weights (the first is ours, read by their code), and MiniLM."""
    if request.param == "deberta":
        return LogEncoder.load(f"hf:{encoder_folder}")
    if request.param == "sentence":
        return LogEncoder.load(f"st:{minilm_folder}")
    folder = tmp_path / request.param
    shutil.copytree(encoder_folder, folder, ignore=shutil.ignore_patterns("*.safetensors", "config.json"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    special = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "max_position_embeddings": 200}
    AutoModel.from_config(AutoConfig.for_model(request.param, **shape, **special)).save_pretrained(folder)
    return LogEncoder.load(f"hf:{folder}", truncation="chunk")


def test_untrained_vectors_of_foreign_models_are_their_own(foreign, sequences):
    network = LastLayerNetwork(LastLayerConfig(), 2, foreign).eval()
    texts = list(dict.fromkeys(text for texts in sequences.texts for text in texts))
    prepared = network.prepare(sequences)
    with torch.no_grad():
        found = network.vectors(prepared, np.arange(len(texts))).numpy()
    if foreign.name.startswith("st:"):
        found /= np.linalg.norm(found, axis=1, keepdims=True)  # as MiniLM's last module does
    np.testing.assert_allclose(found, foreign.encode(texts), atol=2e-5)


def test_last_layers_of_foreign_models_learn(foreign, sequences, tmp_path):
    own = {name: tensor.clone() for name, tensor in foreign.backend.model.state_dict().items()}
    config = LastLayerConfig(most_events=3, encoder_rate=0.3, dropout=0.0)
    quick = TrainingConfig(epochs=10, batch=8, learning_rate=0.01)
    head = Head.fit(config, sequences, LABELS, encoder=foreign, training=quick)
    assert all(torch.equal(tensor, own[name]) for name, tensor in foreign.backend.model.state_dict().items())
    last = foreign.backend.model.encoder.layer[-1].state_dict()
    assert any(not torch.equal(tensor, last[name]) for name, tensor in head.network.layer.state_dict().items())
    head.save(tmp_path / "head")
    again = Head.load(tmp_path / "head", foreign)
    np.testing.assert_array_equal(again.scores(sequences), head.scores(sequences))


def test_ours_read_by_the_library_learns_the_same(ours, encoder_folder, sequences):
    config = LastLayerConfig(most_events=3, encoder_rate=0.3, dropout=0.0)
    quick = TrainingConfig(epochs=3, batch=8, learning_rate=0.01)
    encoders = (ours, LogEncoder.load(f"hf:{encoder_folder}"))
    scores = [Head.fit(config, sequences, LABELS, encoder=one, training=quick).scores(sequences) for one in encoders]
    np.testing.assert_allclose(*scores, atol=1e-3)


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


def test_states_are_computed_once_while_an_encoder_is_in_use(ours, encoder_folder, sequences, monkeypatch):
    computed = []
    first = LastLayerNetwork(LastLayerConfig(), 2, ours)
    below = type(first.stem).below
    monkeypatch.setattr(type(first.stem), "below", lambda self, ids: (computed.extend(ids), below(self, ids))[1])
    first.states = States()
    prepared = first.prepare(sequences)
    pieces = len(computed)
    second = LastLayerNetwork(LastLayerConfig(), 2, ours)
    second.states = first.states
    again = second.prepare(sequences)
    assert len(computed) == pieces == len(prepared.owners) > 1
    assert states_of(ours) is states_of(ours)
    texts = np.unique(np.concatenate(prepared.numbers))
    assert torch.equal(first.vectors(prepared, texts), second.vectors(again, texts))
    other = LogEncoder.load(str(encoder_folder))
    assert states_of(other) is states_of(other) is not states_of(ours)


def test_states_that_are_too_many_are_forgotten_but_for_those_in_use(ours, sequences):
    network = LastLayerNetwork(LastLayerConfig(memory_bytes=1), 2, ours)
    network.states = States()
    prepared = network.prepare(sequences)
    other = Sequences(None, None, [["something that was not there before"]])
    network.prepare(other)
    places = network.states._places
    assert len(places) == 1 and isinstance(prepared.places[0].block, np.memmap)
    assert network.vectors(prepared, np.array([0])).isfinite().all()
