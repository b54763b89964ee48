"""Every implementation of attention is held to the eager one, for outputs and gradients."""

import subprocess
import sys

import pytest
import torch

from logfm.pretrain.attention import Buckets, attention_named
from logfm.pretrain.attention.blockwise import blockwise_attention
from logfm.pretrain.attention.positions import distance_index, shift, unshift

BUCKETS = Buckets(8, 40)


def inputs(length, batch=2, heads=2, width=8, padded=True, dtype=torch.float32, buckets=BUCKETS):
    generator = torch.Generator().manual_seed(length)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float32).to(dtype).requires_grad_()

    tensors = [random(batch, heads, length, width) for _ in range(3)] + [
        random(heads, 2 * buckets.buckets, width) for _ in range(2)
    ]
    mask = None
    if padded:
        mask = torch.zeros(batch, 1, 1, length)
        mask[0, ..., max(1, length // 3) :] = -torch.inf
    return tensors, mask


def results(attend, tensors, mask, buckets=BUCKETS):
    out = attend(*tensors, buckets, mask)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    return [out, *torch.autograd.grad((out * weights).sum(), tensors)]


@pytest.mark.parametrize("length", [1, 2, 7, 16, 17, 33, 100, 131])
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("name", ["cpu", "blockwise"])
def test_outputs_and_gradients_equal_the_eager_ones(length, padded, name, monkeypatch):
    monkeypatch.setattr("logfm.pretrain.attention.blockwise.BLOCK", 16)
    attend = blockwise_attention if name == "blockwise" else attention_named("cpu")
    tensors, mask = inputs(length, padded=padded)
    expected = results(attention_named("eager"), tensors, mask)
    for ours, theirs in zip(results(attend, tensors, mask), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(attend(*tensors, BUCKETS, mask), expected[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("length", [7, 131])
@pytest.mark.parametrize("events", [1, 2])
def test_events_taken_a_few_at_a_time_have_the_eager_outputs_and_gradients(length, events, monkeypatch):
    monkeypatch.setattr("logfm.pretrain.attention.cpu._CHUNK", events * 2 * length**2)
    tensors, mask = inputs(length, batch=5)
    for number, tokens in enumerate((length, 1, length // 2, length - 1, length)):
        mask[number] = 0
        mask[number, ..., tokens:] = -torch.inf
    for part in (mask, None):
        expected = results(attention_named("eager"), tensors, part)
        for ours, theirs in zip(results(attention_named("cpu"), tensors, part), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        with torch.no_grad():
            ours = attention_named("cpu")(*tensors, BUCKETS, part)
        torch.testing.assert_close(ours, expected[0], atol=1e-4, rtol=1e-4)


def test_long_inputs_are_taken_block_by_block_without_being_asked():
    buckets = Buckets(64, 2048)
    tensors, _ = inputs(4096, batch=1, heads=1, padded=False, buckets=buckets)
    assert not any(one.shape[-2:] == (4096, 4096) for one in kept(attention_named("auto"), tensors, buckets))
    expected = results(attention_named("eager"), tensors, None, buckets)
    for ours, theirs in zip(results(attention_named("auto"), tensors, None, buckets), expected, strict=True):
        # Gradients of the tables are sums over millions of pairs.
        scale = theirs.abs().max().clamp(min=1)
        torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-4, rtol=1e-4)


def kept(attend, tensors, buckets):
    """What autograd keeps for the backward pass."""
    found = []

    def keep(tensor):
        found.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        attend(*tensors, buckets, None)
    return found


def test_bfloat16_stays_close(monkeypatch):
    monkeypatch.setattr("logfm.pretrain.attention.blockwise.BLOCK", 32)
    tensors, mask = inputs(90)
    expected = results(attention_named("eager"), tensors, mask)
    halves = [one.detach().bfloat16().requires_grad_() for one in tensors]
    for attend in (blockwise_attention, attention_named("cpu")):
        for ours, theirs in zip(results(attend, halves, mask), expected, strict=True):
            assert ours.dtype == torch.bfloat16
            assert (ours.float() - theirs).norm() < 0.03 * theirs.norm()


def test_memory_of_long_inputs_does_not_grow_with_the_square_of_their_length():
    script = """
import resource, sys, torch
from logfm.pretrain.attention import Buckets, attention_named
length = int(sys.argv[1])
q, k, v = (torch.randn(1, 2, length, 16, requires_grad=True) for _ in range(3))
table = torch.randn(2, 16, 16, requires_grad=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
attention_named("auto")(q, k, v, table, table, Buckets(8, 40), None).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    small, large = (
        int(subprocess.run([sys.executable, "-c", script, str(n)], capture_output=True, check=True).stdout)
        for n in (4096, 12288)
    )
    # Squares of 12,288 tokens would take 1.2 GB a tensor.
    assert large < small + 250


def test_shift_selects_by_distance():
    queries, keys = 5, 7
    scores = torch.arange(queries * (queries + keys - 1), dtype=torch.float).view(queries, -1)
    expected = torch.stack([torch.stack([scores[i, j - i + queries - 1] for j in range(keys)]) for i in range(queries)])
    torch.testing.assert_close(shift(scores), expected)


def test_unshift_is_the_transpose_of_shift():
    scores = torch.randn(3, 4, 9, requires_grad=True, dtype=torch.float64)
    other = torch.randn(3, 4, 6, dtype=torch.float64)
    (shift(scores) * other).sum().backward()
    torch.testing.assert_close(unshift(other), scores.grad)


def test_distances_fall_into_logarithmic_buckets():
    index = distance_index(200, buckets=16, max_distance=64, device=torch.device("cpu"))
    distance = torch.arange(199, -200, -1)
    near = distance.abs() <= 8
    assert torch.equal(index[near], distance[near] + 16)
    assert index.min() == 0 and index.max() == 31
    assert torch.all(index[:-1] >= index[1:])
