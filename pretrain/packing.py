"""Packing: events laid end to end without padding, and batches planned by token budget.

Shape legend: T tokens of a batch, B events, L tokens of the longest event of a group, b events of a group.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

# A group of events shares one attention call; so much of it may be padding before a new group is opened.
_GROUP_WASTE = 0.1
# A span of events shares one kernel launch: work is laid out for its longest, and a grid has at most 65,535 rows of
# events times heads.
_SPAN_TOKENS, _SPAN_EVENTS = 64, 1023


class Group(NamedTuple):
    """Events of similar length, next to each other in the packed batch; attention runs on a group at a time.

    `start:stop` are its tokens. Where lengths differ, `gather_bL` (int64, b·L) spreads the tokens to a padded grid,
    `scatter_n` (int64) brings them back and `mask_b11L` (float32, 0 or -inf) hides the padding; else they are None.
    """

    start: int
    stop: int
    events: int
    length: int
    gather_bL: torch.Tensor | None
    scatter_n: torch.Tensor | None
    mask_b11L: torch.Tensor | None


class Span(NamedTuple):
    """Events next to each other, the longest at most twice as long as the shortest, for kernels that take no padding.

    `start:stop` are its tokens; event i has those from `start + offsets[i]` to `start + offsets[i + 1]` (int32).
    """

    start: int
    stop: int
    longest: int
    offsets: torch.Tensor


class Packed(NamedTuple):
    """A packed batch: `ids_T` (int64), `event_T` (int64, the event of each token in the caller's order), `lengths_B`
    (int64, in the caller's order), and the events by ascending length in groups and in spans.
    """

    ids_T: torch.Tensor
    event_T: torch.Tensor
    lengths_B: torch.Tensor
    groups: tuple[Group, ...]
    spans: tuple[Span, ...]

    def to(self, device: torch.device) -> "Packed":
        """The same batch on another device; a copy to a GPU doesn't wait for the work that is queued there."""

        def move(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else to_device(tensor, device)

        groups = tuple(
            Group(g.start, g.stop, g.events, g.length, move(g.gather_bL), move(g.scatter_n), move(g.mask_b11L))
            for g in self.groups
        )
        spans = tuple(span._replace(offsets=to_device(span.offsets, device)) for span in self.spans)
        ids_T, event_T, lengths_B = (to_device(one, device) for one in (self.ids_T, self.event_T, self.lengths_B))
        return Packed(ids_T, event_T, lengths_B, groups, spans)


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on another device; a copy to a GPU goes through pinned memory and doesn't wait."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def pack(events: Sequence[np.ndarray]) -> Packed:
    """Pack events (integer ids with [CLS] and [SEP], none empty), sorted by length."""
    lengths = np.array([len(ids) for ids in events], dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    groups: list[Group] = []
    start = first = 0
    for last in _group_ends(ordered):
        groups.append(_group(ordered[first:last], start))
        start, first = groups[-1].stop, last
    ids = np.concatenate([events[i] for i in order]).astype(np.int64)
    return Packed(
        torch.from_numpy(ids),
        torch.from_numpy(np.repeat(order, ordered)),
        torch.from_numpy(lengths),
        tuple(groups),
        tuple(_spans(ordered)),
    )


def _group_ends(ordered: np.ndarray) -> Iterator[int]:
    """Ends of groups of ascending lengths, such that padding to the longest wastes little."""
    first, tokens = 0, 0
    for i, length in enumerate(ordered):
        if i > first and (i + 1 - first) * length - (tokens + length) > _GROUP_WASTE * (tokens + length):
            yield i
            first, tokens = i, 0
        tokens += int(length)
    yield len(ordered)


def _spans(ordered: np.ndarray) -> Iterator[Span]:
    first = start = 0
    while first < len(ordered):
        within = int(np.searchsorted(ordered, max(_SPAN_TOKENS, 2 * int(ordered[first])), side="right"))
        last = min(within, first + _SPAN_EVENTS)
        offsets = np.concatenate([[0], np.cumsum(ordered[first:last])])
        stop = start + int(offsets[-1])
        yield Span(start, stop, int(ordered[last - 1]), torch.from_numpy(offsets.astype(np.int32)))
        first, start = last, stop


def _group(lengths: np.ndarray, start: int) -> Group:
    longest, tokens = int(lengths[-1]), int(lengths.sum())
    if int(lengths[0]) == longest:
        return Group(start, start + tokens, len(lengths), longest, None, None, None)
    column = np.arange(longest)
    real_bL = column < lengths[:, None]
    first_b1 = (np.cumsum(lengths) - lengths)[:, None]
    gather = np.where(real_bL, first_b1 + column, 0).ravel()
    mask = torch.zeros(real_bL.shape).masked_fill_(torch.from_numpy(~real_bL), float("-inf"))
    return Group(
        start,
        start + tokens,
        len(lengths),
        longest,
        torch.from_numpy(gather),
        torch.from_numpy(np.flatnonzero(real_bL)),
        mask[:, None, None, :],
    )


def plan_batches(lengths: np.ndarray, tokens_per_batch: int, seed: int) -> list[np.ndarray]:
    """Cut a shuffled pass over all samples into batches of at most `tokens_per_batch` tokens.

    Samples of similar length meet (pools of 64 batches are sorted by length), the batches come in random order, and
    the same seed gives the same plan. A single sample above the budget makes a batch of its own.
    """
    generator = np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for pool in pools(lengths, tokens_per_batch, generator):
        batches += cut_by_tokens(pool, lengths[pool], tokens_per_batch)
    return [batches[i] for i in generator.permutation(len(batches))]


def plan_parts(lengths: np.ndarray, tokens_per_part: float, seed: int) -> list[np.ndarray]:
    """Cut a shuffled pass over all samples into parts of `tokens_per_part` tokens on average, as near as whole samples
    allow: a long one is followed by smaller or empty parts. As many parts for every seed.
    """
    generator = np.random.default_rng(seed)
    ordered = np.concatenate(list(pools(lengths, tokens_per_part, generator)))
    total = int(lengths.sum())
    parts = max(1, round(total / tokens_per_part))
    middles = np.cumsum(lengths[ordered]) - lengths[ordered] / 2
    cuts = np.searchsorted(middles, np.arange(1, parts) * (total / parts))
    cut = np.split(ordered, cuts)
    return [cut[i] for i in generator.permutation(parts)]


def pools(lengths: np.ndarray, tokens_per_batch: float, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """All samples in random order, in pools of about 64 batches, each pool sorted by length."""
    shuffled = generator.permutation(len(lengths))
    pool_of = np.cumsum(lengths[shuffled]) // (64 * tokens_per_batch)
    for pool in np.split(shuffled, np.flatnonzero(np.diff(pool_of)) + 1):
        yield pool[np.argsort(lengths[pool], kind="stable")]


def cut_by_tokens(items: np.ndarray, lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Cut `items` in order into runs whose `lengths` sum to at most `tokens` (a longer item stands alone)."""
    cuts, filled = [], 0
    for i, length in enumerate(lengths):
        if filled and filled + length > tokens:
            cuts.append(i)
            filled = 0
        filled += int(length)
    return np.split(items, cuts) if len(items) else []
