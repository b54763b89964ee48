"""Delimiter-aware masking (SecEncoder, section 3.3.1): content tokens are masked, delimiters never."""

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


def mask_events(
    events: Sequence[np.ndarray],
    maskable: np.ndarray,
    mask_id: int,
    config: MaskingConfig,
    share: float,
    rng: np.random.Generator,
) -> Masked:
    """Choose `share` of each event's maskable tokens (rounded at random, so that short events count too).

    A chosen token becomes [MASK], a random maskable token, or stays, by the shares in `config`.
    """
    ids_T = np.concatenate(events).astype(np.int64)
    lengths = np.array([len(event) for event in events])
    event_T = np.repeat(np.arange(len(events)), lengths)
    chosen = _choose(ids_T, event_T, len(events), maskable, share, rng)
    targets = ids_T[chosen]
    fate = rng.random(len(chosen))
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
