"""Packing loses nothing, and batch plans are fair, bounded and reproducible."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logfm.pretrain.packing import cut_by_tokens, pack, plan_batches


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_every_token_is_packed_once_and_traced_to_its_event(lengths):
    events = [np.arange(length) + 1000 * number for number, length in enumerate(lengths)]
    packed = pack(events)
    for number, event in enumerate(events):
        assert packed.ids_T[packed.event_T == number].tolist() == event.tolist()
    assert packed.lengths_B.tolist() == lengths
    assert [group.start for group in packed.groups] == [0, *[group.stop for group in packed.groups[:-1]]]
    assert packed.groups[-1].stop == sum(lengths)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_padding_inside_the_groups_is_bounded_and_masked(lengths):
    packed = pack([np.ones(length, dtype=np.int64) for length in lengths])
    for group in packed.groups:
        tokens = group.stop - group.start
        assert group.events * group.length <= 1.1 * tokens + 1e-9
        if group.mask_b11L is not None:
            assert int((group.mask_b11L == 0).sum()) == tokens
            assert group.gather_bL[group.scatter_n].tolist() == list(range(tokens))


def test_a_plan_uses_every_sample_once_within_the_budget():
    lengths = np.random.default_rng(0).integers(2, 200, size=3000)
    plan = plan_batches(lengths, tokens_per_batch=1000, seed=3)
    assert sorted(np.concatenate(plan)) == list(range(3000))
    assert max(lengths[batch].sum() for batch in plan) <= 1000
    assert np.mean([lengths[batch].sum() for batch in plan]) > 850
    again = plan_batches(lengths, tokens_per_batch=1000, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(plan, again, strict=True))
    other = plan_batches(lengths, tokens_per_batch=1000, seed=4)
    assert not all(np.array_equal(a, b) for a, b in zip(plan, other, strict=False))


def test_a_sample_above_the_budget_stands_alone():
    batches = cut_by_tokens(np.arange(4), np.array([3, 50, 3, 3]), tokens=10)
    assert [batch.tolist() for batch in batches] == [[0], [1], [2, 3]]


@settings(deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_spans_cover_the_batch_with_events_of_similar_length(lengths):
    packed = pack([np.ones(length, dtype=np.int64) for length in lengths])
    found = []
    for span in packed.spans:
        inside = np.diff(span.offsets.numpy())
        assert span.start == sum(found) and span.stop == span.start + inside.sum()
        assert span.longest == inside.max() <= max(64, 2 * inside.min())
        found += inside.tolist()
    assert found == sorted(lengths)


def test_a_span_has_no_more_events_than_a_kernel_takes():
    packed = pack([np.array([7])] * 2500)
    assert [len(span.offsets) - 1 for span in packed.spans] == [1023, 1023, 454]
    assert packed.to(torch.device("cpu")).spans[1].offsets[-1] == 1023
