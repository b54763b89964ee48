"""Statistics of the masking: rates within sampling error, and never a delimiter."""

import numpy as np
import pytest

from logfm.configs.schema.pretrain import MaskingConfig
from logfm.pretrain.data import Masker
from logfm.pretrain.masking import mask_events, maskable_ids

MASK, SPECIAL, VOCABULARY = 4, np.arange(5), 100
DELIMITERS = np.zeros(VOCABULARY, dtype=bool)
DELIMITERS[5:30] = True


def draw(share=0.3, seed=0, events=400, **config):
    rng = np.random.default_rng(seed)
    originals = [rng.integers(5, VOCABULARY, size=rng.integers(1, 60)) for _ in range(events)]
    maskable = maskable_ids(DELIMITERS, SPECIAL, config.get("delimiters", False))
    masked = mask_events(originals, maskable, MASK, MaskingConfig(**config), share, np.random.default_rng(seed + 1))
    return np.concatenate(originals), np.concatenate(masked.events), masked


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_the_share_of_content_tokens_is_masked(share):
    before, _, masked = draw(share)
    content = np.count_nonzero(before >= 30)
    assert abs(len(masked.positions) / content - share) < 0.02


def test_no_delimiter_is_ever_touched():
    before, after, masked = draw()
    assert (before[masked.positions] >= 30).all()
    delimiters = before < 30
    assert np.array_equal(before[delimiters], after[delimiters])


def test_uniform_masking_touches_delimiters_at_the_same_rate():
    before, _, masked = draw(delimiters=True)
    hit = np.isin(np.arange(len(before)), masked.positions)
    assert abs(hit[before < 30].mean() - hit[before >= 30].mean()) < 0.03


def test_eighty_ten_ten():
    _, after, masked = draw(0.5, events=2000)
    now = after[masked.positions]
    assert abs((now == MASK).mean() - 0.8) < 0.01
    assert abs((now == masked.targets).mean() - 0.1) < 0.01
    other = now[(now != MASK) & (now != masked.targets)]
    assert abs(len(other) / len(now) - 0.1) < 0.01 and (other >= 30).all()


def test_targets_are_the_originals_and_the_draw_is_seeded():
    before, _, masked = draw(seed=5)
    assert np.array_equal(before[masked.positions], masked.targets)
    assert np.array_equal(draw(seed=5)[2].positions, masked.positions)
    assert not np.array_equal(draw(seed=6)[2].positions, masked.positions)


def test_positions_follow_the_events_through_packing():
    rng = np.random.default_rng(1)
    events = [rng.integers(30, VOCABULARY, size=length) for length in (9, 3, 30, 3, 17)]
    masker = Masker(maskable_ids(DELIMITERS, SPECIAL, False), MASK, MaskingConfig(random_share=0, keep_share=0), 0)
    batch = masker.batch(events, number=3, share=0.4)
    restored = batch.packed.ids_T.clone()
    assert (restored[batch.positions_M] == MASK).all()
    restored[batch.positions_M] = batch.targets_M
    for number, event in enumerate(events):
        assert restored[batch.packed.event_T == number].tolist() == event.tolist()


def test_an_event_without_content_is_left_alone():
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    masked = mask_events([np.array([1, 6, 7, 2])], maskable, MASK, MaskingConfig(), 0.9, np.random.default_rng(0))
    assert len(masked.positions) == 0 and masked.events[0].tolist() == [1, 6, 7, 2]
