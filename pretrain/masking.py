"""Delimiter-aware masking (SecEncoder, section 3.3.1): content tokens are masked, delimiters never.

With whole words, whole fields are: a field is a run of adjacent maskable tokens of one event, and begins anew at a
token with a leading space, because the tokenizer gives a single space to the token behind it.

An event's draws are made from a seed of its own and from places within it, so they are the same in whatever company it
comes. They are the finaliser of SplitMix64 (Steele et al., 2014) on a counter: a few products for a whole batch.
Shape legend: B events, T tokens of all events, R fields, C candidates, X any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logfm.configs.schema.pretrain import MaskingConfig

# What a draw is for: draws of different kinds at the same place have nothing to do with each other.
_COUNT, _ORDER, _FATE, _WHICH, _ARC, _EDGE = range(6)
_KINDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Masked:
    """Events with some tokens replaced, and what stood there.

    `events`: the corrupted ids. `positions` (int64, (M,)): indices into the concatenated events. `targets` (int64,
    (M,)): the original ids.
    """

    events: list[np.ndarray]
    positions: np.ndarray
    targets: np.ndarray


def maskable_ids(delimiter_mask: np.ndarray, special_ids: np.ndarray, delimiters: bool) -> np.ndarray:
    """Which ids may be masked, bool (vocabulary,): content tokens; with `delimiters` all but the special ones."""
    maskable = np.ones_like(delimiter_mask, dtype=bool) if delimiters else ~delimiter_mask.astype(bool)
    maskable[special_ids] = False
    return maskable


def leading_spaces(tokens: Sequence[str]) -> np.ndarray:
    """Which tokens, given as text by id, begin with a space; bool (vocabulary,)."""
    return np.array([token.startswith(" ") for token in tokens], dtype=bool)


def mask_events(
    events: Sequence[np.ndarray],
    maskable: np.ndarray,
    mask_id: int,
    config: MaskingConfig,
    share: float,
    draw: np.ndarray | np.random.Generator,
    spaced: np.ndarray | None = None,
) -> Masked:
    """Choose `share` of each event's maskable tokens (rounded at random, so that short events count too).

    A chosen token becomes [MASK], a random maskable token, or stays, by the shares in `config`. With
    `config.whole_words` a field is chosen whole, with probability `share` whatever its length, and its tokens share
    their fate; `spaced` (bool (vocabulary,)) are then the tokens with a leading space.

    `draw` are the events' seeds (uint64 (B,), see `event_seeds`), or a generator that makes some.
    """
    seeds_B = draw
    if isinstance(seeds_B, np.random.Generator):
        seeds_B = seeds_B.integers(2**64, size=len(events), dtype=np.uint64)
    ids_T = np.concatenate(events).astype(np.int64)
    lengths = np.array([len(event) for event in events])
    event_T = np.repeat(np.arange(len(events)), lengths)
    begin_B = np.cumsum(lengths) - lengths
    if config.whole_words:
        chosen, decided = _choose_whole(ids_T, event_T, begin_B, maskable, spaced, share, seeds_B)
    else:
        chosen = _choose(ids_T, event_T, begin_B, maskable, share, seeds_B)
        decided = chosen
    owner = event_T[chosen]
    fate = _uniform(seeds_B[owner], _FATE, decided - begin_B[owner])
    targets = ids_T[chosen]
    replaced = np.where(fate < config.keep_share, targets, mask_id)
    random = (fate >= config.keep_share) & (fate < config.keep_share + config.random_share)
    content = np.flatnonzero(maskable)
    which = _uniform(seeds_B[owner[random]], _WHICH, (chosen - begin_B[owner])[random])
    replaced[random] = content[(which * len(content)).astype(np.int64)]
    ids_T[chosen] = replaced
    return Masked(np.split(ids_T, np.cumsum(lengths)[:-1]), chosen, targets)


def event_seeds(seed: int, turn: int | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Seeds of events (uint64 (B,)), by their rows in the data and by the pass over it (an int, or one of each)."""
    passes = _scramble(np.uint64(seed % 2**64) + _GOLDEN * np.atleast_1d(turn).astype(np.uint64))
    return _scramble(passes + _GOLDEN * (rows.astype(np.uint64) + np.uint64(1)))


def _uniform(seeds_X: np.ndarray, kind: int, place_X: np.ndarray | int = 0) -> np.ndarray:
    """A number between 0 and 1 for each seed and place; float64 (X,)."""
    counter = np.atleast_1d(place_X).astype(np.uint64) * np.uint64(_KINDS) + np.uint64(kind + 1)
    mixed_X = _scramble(seeds_X + _GOLDEN * counter)
    numbers_X: np.ndarray = (mixed_X >> np.uint64(11)) * 2.0**-53
    return numbers_X


def _scramble(mixed_X: np.ndarray) -> np.ndarray:
    mixed_X = (mixed_X ^ (mixed_X >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed_X = (mixed_X ^ (mixed_X >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed_X ^ (mixed_X >> np.uint64(31))


def _choose(
    ids_T: np.ndarray,
    event_T: np.ndarray,
    begin_B: np.ndarray,
    maskable: np.ndarray,
    share: float,
    seeds_B: np.ndarray,
) -> np.ndarray:
    """Positions (ascending) of the chosen tokens: in each event the wanted number of those with the lowest draw."""
    candidates = np.flatnonzero(maskable[ids_T])
    owner = event_T[candidates]
    counts = np.bincount(owner, minlength=len(begin_B))
    wanted = np.floor(counts * share + _uniform(seeds_B, _COUNT)).astype(np.int64)
    order = np.lexsort((_uniform(seeds_B[owner], _ORDER, candidates - begin_B[owner]), owner))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(candidates[order[rank < np.repeat(wanted, counts)]])


def _choose_whole(
    ids_T: np.ndarray,
    event_T: np.ndarray,
    begin_B: np.ndarray,
    maskable: np.ndarray,
    spaced: np.ndarray | None,
    share: float,
    seeds_B: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (ascending) of the tokens of the chosen fields, and for each that of its field's first token."""
    if spaced is None:
        raise ValueError("whole words need the ids with a leading space")
    candidates_C = np.flatnonzero(maskable[ids_T])
    event_C = event_T[candidates_C]
    field_C = _fields(candidates_C, event_C, spaced[ids_T[candidates_C]])
    first_R = candidates_C[np.searchsorted(field_C, np.arange(field_C[-1] + 1 if len(field_C) else 0))]
    chosen_R = _choose_fields(field_C, first_R, event_T, begin_B, share, seeds_B)
    taken_C = chosen_R[field_C]
    return candidates_C[taken_C], first_R[field_C[taken_C]]


def _fields(places_C: np.ndarray, event_C: np.ndarray, spaced_C: np.ndarray) -> np.ndarray:
    """The field of each candidate, numbered from 0; int64 (C,). `places_C` are their positions, ascending."""
    if not len(places_C):
        return np.zeros(0, dtype=np.int64)
    begins = (np.diff(places_C) > 1) | (np.diff(event_C) > 0) | spaced_C[1:]
    return np.concatenate([[0], np.cumsum(begins)])


def _choose_fields(
    field_C: np.ndarray,
    first_R: np.ndarray,
    event_T: np.ndarray,
    begin_B: np.ndarray,
    share: float,
    seeds_B: np.ndarray,
) -> np.ndarray:
    """Which fields are chosen; bool (R,). `first_R` are the positions of their first tokens.

    An event's fields are laid in random order on a circle, as long as their tokens are many, and an arc of `share` of
    it starts at a random point. A field that lies wholly in the arc is chosen, one that lies partly in it with that
    probability: so every field has the probability `share`, and an event's chosen tokens are nearly as many as wanted.
    """
    length_R = np.bincount(field_C).astype(np.float64)
    event_R = event_T[first_R]
    own_R, place_R = seeds_B[event_R], first_R - begin_B[event_R]
    order = np.lexsort((_uniform(own_R, _ORDER, place_R), event_R))
    ends = np.cumsum(length_R[order])
    per_event = np.bincount(event_R, weights=length_R, minlength=len(begin_B))
    before = np.cumsum(per_event) - per_event
    start_R = np.empty_like(length_R)
    start_R[order] = ends - length_R[order] - before[event_R[order]]
    around_R = per_event[event_R]
    arc_R = (_uniform(seeds_B, _ARC) * per_event)[event_R]
    covered_R = np.zeros_like(length_R)
    for turn_R in (arc_R, arc_R - around_R):
        stop_R = np.minimum(start_R + length_R, turn_R + share * around_R)
        covered_R += np.maximum(stop_R - np.maximum(start_R, turn_R), 0.0)
    return _uniform(own_R, _EDGE, place_R) * length_R < covered_R
