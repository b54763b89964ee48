"""The packed forward is held to Hugging Face's own, for outputs and gradients."""

import numpy as np
import pytest
import torch
from transformers import DebertaV2ForMaskedLM

from logfm.configs import load
from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig, PretrainConfig
from logfm.pretrain.data import Masker
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.forward import hidden_states, masked_logits, prediction_loss
from logfm.pretrain.memory import count
from logfm.pretrain.model import build, count_parameters, hf_config
from logfm.pretrain.packing import pack

VOCABULARY = 300


def random_model(**sizes):
    """A small model whose biases and norms are not at their trivial initial values."""
    config = ModelConfig(
        **{"hidden_size": 32, "layers": 2, "heads": 4, "intermediate_size": 48, "position_buckets": 8,
           "max_relative_positions": 40} | sizes
    )  # fmt: skip
    model = build(config, VOCABULARY, pad_id=0, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def random_events(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(5, VOCABULARY, size=length) for length in lengths]


def hugging_face(model, events):
    """Hidden states of each event by the padded forward of transformers."""
    longest = max(map(len, events))
    ids = torch.zeros(len(events), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, event in enumerate(events):
        ids[row, : len(event)] = torch.from_numpy(event)
        mask[row, : len(event)] = 1
    states = model.deberta(ids, attention_mask=mask).last_hidden_state
    return [states[row, : len(event)] for row, event in enumerate(events)]


@pytest.mark.parametrize("lengths", [[2], [3, 3, 3], [2, 7, 30, 31, 64, 5, 90], [100, 2]])
@pytest.mark.parametrize("grad", [True, False])
def test_hidden_states_equal_hugging_faces(lengths, grad):
    model, events = random_model(), random_events(lengths)
    packed = pack(events)
    with torch.set_grad_enabled(grad):
        states = hidden_states(model, packed)
    for number, expected in enumerate(hugging_face(model, events)):
        torch.testing.assert_close(states[packed.event_T == number], expected, atol=1e-4, rtol=1e-4)


def test_gradients_equal_hugging_faces():
    model, events = random_model(), random_events([4, 9, 25, 60, 10, 61])
    weights = torch.randn(32, generator=torch.Generator().manual_seed(3))
    (hidden_states(model, pack(events)) * weights).sum().backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    sum((states * weights).sum() for states in hugging_face(model, events)).backward()
    compared = 0
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            scale = parameter.grad.abs().max().clamp(min=1e-3)
            torch.testing.assert_close(ours[name] / scale, parameter.grad / scale, atol=1e-4, rtol=1e-4)
            compared += 1
    assert compared > 30


def test_the_loss_curve_is_hugging_faces():
    """The same weights, masks and optimiser: the losses of twenty steps, packed and padded."""
    ours, theirs = random_model(), random_model()
    optimizers = [torch.optim.AdamW(model.parameters(), lr=3e-3) for model in (ours, theirs)]
    masker = Masker(np.ones(VOCABULARY, dtype=bool), 3, MaskingConfig(), 0)
    curves = []
    for turn in range(20):
        events = random_events([40, 7, 90, 12, 33, 2], seed=turn % 4)
        batch = masker.batch(events, turn, 0.3)
        packed = batch.packed
        states = hidden_states(ours, packed)
        packed_loss, _, _ = prediction_loss(ours, None, states, packed, batch.positions_M, batch.targets_M)
        labels_T = torch.full_like(packed.ids_T, -100)
        labels_T[batch.positions_M] = batch.targets_M
        ids, labels = (
            torch.nn.utils.rnn.pad_sequence([flat[packed.event_T == n] for n in range(len(events))], True, empty)
            for flat, empty in ((packed.ids_T, 0), (labels_T, -100))
        )
        real = (torch.arange(ids.shape[1]) < packed.lengths_B[:, None]).long()
        padded_loss = theirs(input_ids=ids, attention_mask=real, labels=labels).loss
        for optimizer, loss in zip(optimizers, (packed_loss, padded_loss), strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        curves.append((float(packed_loss.detach()), float(padded_loss.detach())))
    assert curves[-1][0] < curves[0][0] - 0.1
    np.testing.assert_allclose(*np.array(curves).T, rtol=1e-4)


def test_attention_for_the_cpu_equals_the_eager_one_in_any_packing(monkeypatch):
    padded = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        monkeypatch.setattr("logfm.pretrain.attention.cpu._CHUNK", int(rng.choice([1, 20_000, 1 << 20])))
        lengths = np.exp(rng.uniform(0.7, 5.2, size=rng.integers(1, 14))).astype(int)
        packed = pack(random_events(lengths, seed))
        padded += sum(group.mask_b11L is not None for group in packed.groups)
        weights = torch.from_numpy(rng.normal(size=(len(packed.ids_T), 32)).astype(np.float32))
        found = []
        for name in ("eager", "cpu"):
            model = random_model()
            states = hidden_states(model, packed, name)
            (states * weights).sum().backward()
            found.append((states, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
        (expected, gradients), (ours, others) = found
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
        assert gradients.keys() == others.keys() and len(gradients) > 30
        for name, gradient in gradients.items():
            scale = gradient.abs().max().clamp(min=1)
            torch.testing.assert_close(others[name] / scale, gradient / scale, atol=1e-4, rtol=1e-4)
    assert padded > 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_that_are_computed_twice_have_the_same_states_and_gradients(dtype):
    found = []
    for recompute in (False, True):
        model = random_model()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            states = hidden_states(model, pack(random_events([4, 9, 25, 60, 10, 61])), recompute=recompute)
        states.float().square().sum().backward()
        found.append((states, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (states, gradients), (again, others) = found
    assert torch.equal(states, again)
    assert gradients.keys() == others.keys() and len(gradients) > 30
    assert all(torch.equal(gradients[name], others[name]) for name in gradients)


def test_layers_that_are_computed_twice_keep_their_inputs_alone():
    kept = []
    for recompute in (False, True):
        model, sizes = random_model(layers=4), {}

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            states = hidden_states(model, pack(random_events([30] * 40)), recompute=recompute)
        assert states.requires_grad
        kept.append(sum(sizes.values()))
    assert kept[1] < kept[0] / 3


def test_no_event_attends_to_another():
    model, events = random_model(), random_events([6, 9, 9, 40])
    alone = hidden_states(model, pack([events[2]]))
    changed = [events[0][::-1].copy(), events[1] // 2, events[2], events[3] // 3]
    packed = pack(changed)
    torch.testing.assert_close(hidden_states(model, packed)[packed.event_T == 2], alone, atol=1e-5, rtol=1e-5)


def test_logits_equal_hugging_faces_at_the_masked_positions():
    model, events = random_model(), random_events([12])
    positions = torch.tensor([3, 7])
    ours = masked_logits(model, hidden_states(model, pack(events)), positions)
    expected = model(torch.from_numpy(events[0])[None]).logits[0, positions]
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_same_seed_same_weights_and_the_count_is_right():
    first, second = (build(ModelConfig(), 512, 0, seed=7) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    counted = count_parameters(first)
    assert counted["total"] - counted["without_embeddings"] == 512 * 256


@pytest.mark.parametrize(
    ("recipe", "millions"), [("small", 30), ("base", 110), ("large", 350), ("xlarge", 700), ("xxlarge", 1100)]
)
def test_the_exported_encoder_is_within_five_percent_of_its_name_and_training_holds_a_decoder_more(recipe, millions):
    config = load(PretrainConfig, f"pretrain/{recipe}", [])
    with torch.device("meta"):
        model = DebertaV2ForMaskedLM(hf_config(config.model, 29_952, 0))
        decoder = build_decoder(config.model, 0)
    exported, more = (count_parameters(part)["total"] for part in (model, decoder))
    assert abs(exported / (millions * 1e6) - 1) < 0.05
    assert abs((exported + more) / (millions * 1e6) - 1) < 0.09
    planned = count(config.model, 29_952)
    assert (planned.exported, planned.total) == (exported, exported + more)


def test_nano_has_at_most_six_million_parameters_beside_the_embeddings():
    config = load(PretrainConfig, "pretrain/nano", [])
    with torch.device("meta"):
        model = DebertaV2ForMaskedLM(hf_config(config.model, 12_288, 0))
    assert count_parameters(model)["without_embeddings"] < 6e6
