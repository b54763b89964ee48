"""Statistics of the masking: rates within sampling error, and never a delimiter."""

import re
import threading

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from logfm.configs.schema.pretrain import MaskingConfig
from logfm.pretrain.data import Ahead, Masker, TrainBatches, ValidationBatches
from logfm.pretrain.masking import mask_events, maskable_ids
from logfm.tokenizer import LogTokenizer

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
    batch = masker.batch(events, turn=3, share=0.4)
    restored = batch.packed.ids_T.clone()
    assert (restored[batch.positions_M] == MASK).all()
    restored[batch.positions_M] = batch.targets_M
    for number, event in enumerate(events):
        assert restored[batch.packed.event_T == number].tolist() == event.tolist()


def test_an_event_without_content_is_left_alone():
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    masked = mask_events([np.array([1, 6, 7, 2])], maskable, MASK, MaskingConfig(), 0.9, np.random.default_rng(0))
    assert len(masked.positions) == 0 and masked.events[0].tolist() == [1, 6, 7, 2]


SPACED = np.zeros(VOCABULARY, dtype=bool)
SPACED[[*range(5, 10), *range(30, 45)]] = True


def fields(event):
    """The fields of an event, found token by token: lists of places."""
    found, last = [], None
    for place, token in enumerate(event):
        if token >= 30:
            if last != place - 1 or SPACED[token]:
                found.append([])
            found[-1].append(place)
            last = place
    return found


def draw_fields(share=0.3, seed=0, events=1500, **config):
    rng = np.random.default_rng(seed)
    originals = [rng.integers(5, VOCABULARY, size=rng.integers(1, 60)) for _ in range(events)]
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    settings = MaskingConfig(whole_words=True, **config)
    masked = mask_events(originals, maskable, MASK, settings, share, np.random.default_rng(seed + 1), SPACED)
    hit = np.split(
        np.isin(np.arange(sum(map(len, originals))), masked.positions), np.cumsum([len(o) for o in originals])[:-1]
    )
    return originals, hit, masked


def test_a_field_is_masked_whole_or_not_at_all():
    originals, hit, masked = draw_fields()
    lengths = []
    for event, chosen in zip(originals, hit, strict=True):
        for field in fields(event):
            assert len(set(chosen[field])) == 1
            lengths.append(len(field))
        assert not chosen[event < 30].any()
    assert max(lengths) > 5 and len(masked.positions) > 0
    before = np.concatenate(originals)
    assert np.array_equal(before[masked.positions], masked.targets)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_the_share_of_content_tokens_is_masked_with_whole_fields_of_every_length(share):
    originals, hit, masked = draw_fields(share)
    content = sum(np.count_nonzero(event >= 30) for event in originals)
    assert abs(len(masked.positions) / content - share) < 0.02
    by_length = {}
    for event, chosen in zip(originals, hit, strict=True):
        for field in fields(event):
            by_length.setdefault(len(field), []).append(chosen[field[0]])
    for length, draws in by_length.items():
        if len(draws) > 500:
            error = 4 * np.sqrt(share * (1 - share) / len(draws))
            assert abs(np.mean(draws) - share) < error, length


def test_long_and_short_fields_of_one_event_are_masked_equally_often():
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    events = [np.array([1, *([31, 60, 61, 62, 63] if i % 2 else [60]), 6, 70, 2]) for i in range(8000)]
    masked = mask_events(events, maskable, MASK, MaskingConfig(whole_words=True), 0.3, np.random.default_rng(0), SPACED)
    counts = dict.fromkeys((60, 61, 63, 70), 0)
    for token in counts:
        counts[token] = np.count_nonzero(masked.targets == token)
    assert counts[61] == counts[63]
    for token, times in ((60, 8000), (61, 4000), (70, 8000)):
        assert abs(counts[token] / times - 0.3) < 0.03


def test_the_fate_of_a_field_is_that_of_all_its_tokens():
    originals, hit, masked = draw_fields(0.5)
    fates = {"mask": 0, "kept": 0, "random": 0}
    for event, chosen, now in zip(originals, hit, masked.events, strict=True):
        for field in fields(event):
            if chosen[field[0]]:
                masks, same = np.count_nonzero(now[field] == MASK), np.array_equal(now[field], event[field])
                assert masks in (0, len(field))
                fates["mask" if masks else "kept" if same else "random"] += 1
                assert masks or (now[field] >= 30).all()
    total = sum(fates.values())
    assert abs(fates["mask"] / total - 0.8) < 0.02 and abs(fates["kept"] / total - 0.1) < 0.02


def test_whole_fields_are_seeded_and_may_all_become_masks():
    rng = np.random.default_rng(2)
    events = [rng.integers(5, VOCABULARY, size=40) for _ in range(20)]
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    config = MaskingConfig(whole_words=True, random_share=0, keep_share=0)
    one, again, other = (Masker(maskable, MASK, config, 0, SPACED).batch(events, n, 0.3) for n in (1, 1, 2))
    assert torch.equal(one.positions_M, again.positions_M) and not torch.equal(one.positions_M, other.positions_M)
    assert (one.packed.ids_T[one.positions_M] == MASK).all()


def test_whole_fields_of_a_real_tokenizer_are_the_words_of_the_text(tokenizer_folder):
    tokenizer = LogTokenizer.load(tokenizer_folder)
    text = "session opened for unusualuser root from 10.0.1.1"
    masker = Masker.of(tokenizer, MaskingConfig(whole_words=True), 0)
    event = np.concatenate([[tokenizer.cls_id], tokenizer.encode_batch([text])[0], [tokenizer.sep_id]])
    words = [
        [i for i, (start, end) in enumerate(tokenizer.spans(text)) if start < word.end() and end > word.start()]
        for word in re.finditer(r"[a-z0-9]+", text)
    ]
    assert max(map(len, words)) > 1
    seen = []
    for number in range(200):
        hit = np.isin(np.arange(1, len(event) - 1), masker.batch([event], number, 0.3).positions_M)
        assert all(len(set(hit[word])) == 1 for word in words)
        seen.append([hit[word[0]] for word in words])
    # Neighbours with but a space between them are fields of their own.
    opened = np.array(seen)
    assert (opened[:, :-1] != opened[:, 1:]).any(0).all()


def test_an_event_without_content_has_no_fields():
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    config = MaskingConfig(whole_words=True)
    masked = mask_events([np.array([1, 6, 7, 2])], maskable, MASK, config, 0.9, np.random.default_rng(0), SPACED)
    assert len(masked.positions) == 0 and masked.events[0].tolist() == [1, 6, 7, 2]


def test_whole_words_without_delimiters_are_refused():
    with pytest.raises(ValidationError, match="whole_words needs delimiters"):
        MaskingConfig(whole_words=True, delimiters=True)


def test_a_field_ends_with_its_event():
    events = [np.array([60])] * 4000
    maskable = maskable_ids(DELIMITERS, SPECIAL, False)
    config = MaskingConfig(whole_words=True)
    masked = mask_events(events, maskable, MASK, config, 0.3, np.random.default_rng(0), SPACED)
    assert abs(len(masked.positions) / 4000 - 0.3) < 0.03


class Slow:
    """Numbers that are made one by one, and the event that tells of the third."""

    def __init__(self):
        self.third = threading.Event()

    def __iter__(self):
        for number in range(5):
            if number == 2:
                self.third.set()
            yield number
        raise ArithmeticError


def test_batches_made_ahead_are_the_same_and_made_while_the_one_before_is_used():
    slow, seen = Slow(), []
    with pytest.raises(ArithmeticError):
        for number in Ahead(slow):
            seen.append(number)
            assert slow.third.wait(30)
    assert seen == list(range(5))
    assert list(Ahead(range(7))) == list(range(7))


class Events:
    """A shard of random events."""

    def __init__(self):
        rng = np.random.default_rng(4)
        self.lengths = rng.integers(3, 60, size=300)
        self._events = [rng.integers(5, VOCABULARY, size=length) for length in self.lengths]

    def events(self, rows):
        return [self._events[row] for row in rows]


def masked_tokens(batches, count):
    """By the event's original ids: where it was masked and what stood there then, of so many batches."""
    found = {}
    for batch, _ in zip(batches, range(count), strict=False):
        now, before = batch.packed.ids_T.clone(), batch.packed.ids_T.clone()
        before[batch.positions_M] = batch.targets_M
        hit = torch.zeros(len(now), dtype=torch.bool)
        hit[batch.positions_M] = True
        for number in range(len(batch.packed.lengths_B)):
            own = batch.packed.event_T == number
            found[tuple(before[own].tolist())] = hit[own].tolist(), now[own].tolist()
    return found


@pytest.mark.parametrize("whole_words", [False, True])
def test_an_event_has_the_same_masks_in_any_company_and_others_in_the_next_pass(whole_words):
    shard, config = Events(), MaskingConfig(whole_words=whole_words)
    masker = Masker(maskable_ids(DELIMITERS, SPECIAL, False), MASK, config, 3, SPACED)
    small, large = (TrainBatches(shard, masker, tokens, 0, 1) for tokens in (200, 1000))
    first = masked_tokens(small, small.per_epoch())
    assert len(first) == 300 and first == masked_tokens(large, large.per_epoch())
    large.start = large.per_epoch()
    again = masked_tokens(large, large.per_epoch())
    assert again.keys() == first.keys() and sum(again[event] == first[event] for event in first) < 60
    validated = [masked_tokens(ValidationBatches(shard, masker, n, 10**6, 0, 1), 10**6) for n in (200, 1000)]
    assert validated[0] == validated[1] and len(validated[0]) == 300
