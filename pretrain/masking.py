"""Delimiter-aware masking (SecEncoder, section 3.3.1): content tokens are masked, delimiters never.

With whole words, whole fields are: a field is a run of adjacent maskable tokens of one event, and begins anew at a
token with a leading space, because the tokenizer gives a single space to the token behind it.
Shape legend: T tokens of all events, R fields, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from logfm.configs.schema.pretrain import MaskingConfig


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
    rng: np.random.Generator,
    spaced: np.ndarray | None = None,
) -> Masked:
    """Choose `share` of each event's maskable tokens (rounded at random, so that short events count too).

    A chosen token becomes [MASK], a random maskable token, or stays, by the shares in `config`. With
    `config.whole_words` a field is chosen whole, with probability `share` whatever its length, and its tokens share
    their fate; `spaced` (bool (vocabulary,)) are then the tokens with a leading space.
    """
    ids_T = np.concatenate(events).astype(np.int64)
    lengths = np.array([len(event) for event in events])
    event_T = np.repeat(np.arange(len(events)), lengths)
    if config.whole_words:
        chosen, fate = _choose_whole(ids_T, event_T, maskable, spaced, share, rng)
    else:
        chosen = _choose(ids_T, event_T, len(events), maskable, share, rng)
        fate = rng.random(len(chosen))
    targets = ids_T[chosen]
    replaced = np.where(fate < config.keep_share, targets, mask_id)
    random = (fate >= config.keep_share) & (fate < config.keep_share + config.random_share)
    replaced[random] = rng.choice(np.flatnonzero(maskable), size=int(random.sum()))
    ids_T[chosen] = replaced
    return Masked(np.split(ids_T, np.cumsum(lengths)[:-1]), chosen, targets)


def _choose(
    ids_T: np.ndarray,
    event_T: np.ndarray,
    events: int,
    maskable: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Positions (ascending) of the chosen tokens: in each event the wanted number of those with the lowest draw."""
    candidates = np.flatnonzero(maskable[ids_T])
    owner = event_T[candidates]
    counts = np.bincount(owner, minlength=events)
    wanted = np.floor(counts * share + rng.random(events)).astype(np.int64)
    order = np.lexsort((rng.random(len(candidates)), owner))
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(candidates[order[rank < np.repeat(wanted, counts)]])


def _choose_whole(
    ids_T: np.ndarray,
    event_T: np.ndarray,
    maskable: np.ndarray,
    spaced: np.ndarray | None,
    share: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (ascending) of the tokens of the chosen fields, and for each the draw of its field; float64."""
    if spaced is None:
        raise ValueError("whole words need the ids with a leading space")
    candidates_C = np.flatnonzero(maskable[ids_T])
    event_C = event_T[candidates_C]
    field_C = _fields(candidates_C, event_C, spaced[ids_T[candidates_C]])
    chosen_R = _choose_fields(field_C, event_C, share, rng)
    fate_R = rng.random(len(chosen_R))
    taken_C = chosen_R[field_C]
    return candidates_C[taken_C], fate_R[field_C[taken_C]]


def _fields(places_C: np.ndarray, event_C: np.ndarray, spaced_C: np.ndarray) -> np.ndarray:
    """The field of each candidate, numbered from 0; int64 (C,). `places_C` are their positions, ascending."""
    if not len(places_C):
        return np.zeros(0, dtype=np.int64)
    begins = (np.diff(places_C) > 1) | (np.diff(event_C) > 0) | spaced_C[1:]
    return np.concatenate([[0], np.cumsum(begins)])


def _choose_fields(field_C: np.ndarray, event_C: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which fields are chosen; bool (R,).

    An event's fields are laid in random order on a circle, as long as their tokens are many, and an arc of `share` of
    it starts at a random point. A field that lies wholly in the arc is chosen, one that lies partly in it with that
    probability: so every field has the probability `share`, and an event's chosen tokens are nearly as many as wanted.
    """
    length_R = np.bincount(field_C).astype(np.float64)
    event_R = event_C[np.searchsorted(field_C, np.arange(len(length_R)))]
    order = np.lexsort((rng.random(len(length_R)), event_R))
    ends = np.cumsum(length_R[order])
    per_event = np.bincount(event_R, weights=length_R)
    before = np.cumsum(per_event) - per_event
    start_R = np.empty_like(length_R)
    start_R[order] = ends - length_R[order] - before[event_R[order]]
    around_R = per_event[event_R]
    arc_R = (rng.random(len(per_event)) * per_event)[event_R]
    covered_R = np.zeros_like(length_R)
    for turn_R in (arc_R, arc_R - around_R):
        stop_R = np.minimum(start_R + length_R, turn_R + share * around_R)
        covered_R += np.maximum(stop_R - np.maximum(start_R, turn_R), 0.0)
    return rng.random(len(length_R)) * length_R < covered_R
