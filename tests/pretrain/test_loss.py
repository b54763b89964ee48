"""The loss that makes its gradients on the way: the same as cross entropy written down plainly."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain import loss as module
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.forward import hidden_states, prediction_loss
from logfm.pretrain.loss import masked_loss
from logfm.pretrain.model import build
from logfm.pretrain.packing import pack


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 7 * 40)


def inputs(rows, width=8, vocabulary=40, spread=1.0):
    generator = torch.Generator().manual_seed(rows)
    shapes = (rows, width), (vocabulary, width), (vocabulary,)
    made = [(torch.randn(shape, generator=generator) * spread).requires_grad_() for shape in shapes]
    return *made, torch.randint(0, vocabulary, (rows,), generator=generator)


@pytest.mark.parametrize(("rows", "spread"), [(1, 1.0), (7, 1.0), (30, 1.0), (30, 12.0)])
def test_it_equals_cross_entropy(rows, spread):
    states, weight, bias, targets = inputs(rows, spread=spread)
    loss, nll, right = masked_loss(states, weight, bias, targets)
    scores = states @ weight.T + bias
    expected = cross_entropy(scores, targets, reduction="none")
    torch.testing.assert_close(nll, expected.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, expected.mean(), rtol=1e-5, atol=1e-5)
    assert torch.equal(right, scores.argmax(-1) == targets)
    ours = torch.autograd.grad(3 * loss, (states, weight, bias))
    theirs = torch.autograd.grad(3 * expected.mean(), (states, weight, bias))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_an_improbable_target_has_a_finite_loss():
    weight = torch.tensor([[300.0], [-300.0]])
    loss, nll, right = masked_loss(torch.ones(1, 1), weight, torch.zeros(2), torch.tensor([1]))
    assert loss.item() == pytest.approx(600.0)
    assert nll.tolist() == [600.0]
    assert not right.item()


def test_under_autocast_products_are_in_bfloat16_and_gradients_in_float32():
    states, weight, bias, targets = inputs(30)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, _ = masked_loss(states, weight, bias, targets)
    grads = torch.autograd.grad(loss, (states, weight, bias))
    expected = cross_entropy(states @ weight.T + bias, targets)
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    for mine, other in zip(grads, torch.autograd.grad(expected, (states, weight, bias)), strict=True):
        assert mine.dtype == torch.float32
        assert torch.cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.999


def test_nothing_masked_is_a_loss_of_zero_with_a_graph():
    states, weight, bias, _ = inputs(1)
    loss, nll, right = masked_loss(states[:0], weight, bias, torch.empty(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert nll.shape == right.shape == (0,)
    assert all(not tensor.grad.any() for tensor in (states, weight, bias))


def test_a_batch_without_masked_tokens_has_a_gradient_for_every_parameter():
    config = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=16, decoder_layers=2)
    model, decoder = build(config, 40, 0, 0), build_decoder(config, 0)
    packed, nowhere = pack([np.arange(5, 12)]), torch.empty(0, dtype=torch.int64)
    loss, _, _ = prediction_loss(model, decoder, hidden_states(model, packed), packed, nowhere, nowhere)
    loss.backward()
    for name, parameter in [*model.named_parameters(), *decoder.named_parameters()]:
        assert parameter.grad is not None and not parameter.grad.any(), name


def test_without_gradients_it_only_measures():
    states, weight, bias, targets = inputs(9)
    with torch.no_grad():
        loss, nll, _ = masked_loss(states, weight, bias, targets)
    assert loss.item() == pytest.approx(nll.mean().item())
