"""Parts that share nothing: by time, or by whole entities. Windows are cut afterwards, inside a part.

A random split of events or windows is not offered: neighbours of a test event in train are its copies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from logfm.configs.schema.anomaly import SplitConfig
from logfm.errors import LogfmError, UserError

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """Event rows of the three parts, int64, each in the order of the data."""

    train: Rows
    validation: Rows
    test: Rows
    rule: str
    """How the parts were told apart, for notes."""

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        """Train, validation, test."""
        return self.train, self.validation, self.test


def by_time(times: NDArray[np.float64], config: SplitConfig | None = None) -> Split:
    """The earliest events train, the latest test; events of one moment stay together. `times` is (events,), seconds.

    Raises:
        UserError: an event without a time, or too few different times for three parts.
    """
    config = config or SplitConfig()
    if np.isnan(times).any():
        raise UserError("a split by time needs the time of every event", f"{int(np.isnan(times).sum())} have none")
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    cuts = []
    for share in (config.train, config.train + config.validation):
        cut = round(share * len(order))
        cuts.append(int(np.searchsorted(ordered, ordered[min(cut, len(order) - 1)], side="left")))
    train, validation, test = (np.sort(part) for part in np.split(order, cuts))
    if not (len(train) and len(validation) and len(test)):
        raise UserError("too few different times to tell train, validation and test apart", f"{len(times)} events")
    return checked(Split(train, validation, test, rule="by time"), times=times)


def by_entity(entities: Sequence[str], labels: NDArray[np.int8], seed: int, config: SplitConfig | None = None) -> Split:
    """Whole entities, drawn with the seed; those with and without an anomaly are dealt out apart.

    Dealing them apart fixes how many anomalous entities a part gets, so that none is left without; it says nothing
    about which. `entities` and `labels` are (events,).

    Raises:
        UserError: fewer than three entities.
    """
    config = config or SplitConfig()
    names, codes = np.unique(np.asarray(entities, dtype=object), return_inverse=True)
    if len(names) < 3:
        raise UserError("a split by entity needs three of them", f"found {len(names)}", "Split by time instead.")
    anomalous = np.zeros(len(names), dtype=bool)
    np.logical_or.at(anomalous, codes, labels > 0)
    rng = np.random.default_rng(seed)
    part_of = np.empty(len(names), dtype=np.int64)
    for stratum in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)):
        part_of[rng.permutation(stratum)] = _dealt(len(stratum), config)
    for part in range(3):
        if not (part_of == part).any():
            # Strata of one or two entities can leave a part empty: take from the fullest.
            fullest = np.flatnonzero(part_of == np.bincount(part_of, minlength=3).argmax())
            part_of[rng.choice(fullest)] = part
    train, validation, test = (np.flatnonzero(part_of[codes] == part) for part in range(3))
    return checked(Split(train, validation, test, rule="by entity"), entities=entities)


def by_first(entities: Sequence[str], times: NDArray[np.float64] | None, config: SplitConfig | None = None) -> Split:
    """Whole entities, in the order of their first events: the first train, the last test.

    Without times the order of the data counts. Entities that overlap in time can lie on both sides of a border.

    Raises:
        UserError: fewer than three entities.
    """
    config = config or SplitConfig()
    order = np.arange(len(entities)) if times is None else np.argsort(times, kind="stable")
    number: dict[str, int] = {}
    for row in order:
        number.setdefault(entities[row], len(number))
    if len(number) < 3:
        raise UserError("a split by entity needs three of them", f"found {len(number)}", "Split by time instead.")
    part_of = _dealt(len(number), config)[np.array([number[entity] for entity in entities])]
    train, validation, test = (np.flatnonzero(part_of == part) for part in range(3))
    return checked(
        Split(train, validation, test, rule="by entity, in the order of their first events"), entities=entities
    )


def checked(split: Split, entities: Sequence[str] | None = None, times: NDArray[np.float64] | None = None) -> Split:
    """The split, once it is sure that no event, no entity and no moment lies in two parts.

    With `times`, every part must lie behind the one before.

    Raises:
        LogfmError: an overlap.
    """
    every = np.concatenate(split.parts)
    if len(np.unique(every)) != len(every):
        raise LogfmError("an event lies in two parts of a split")
    if entities is not None:
        held = [{entities[row] for row in part} for part in split.parts]
        if held[0] & held[1] or held[0] & held[2] or held[1] & held[2]:
            raise LogfmError("an entity lies in two parts of a split")
    if times is not None:
        for earlier, later in zip(split.parts, split.parts[1:], strict=False):
            if len(earlier) and len(later) and times[earlier].max() >= times[later].min():
                raise LogfmError("parts of a split by time overlap")
    return split


def _dealt(count: int, config: SplitConfig) -> NDArray[np.int64]:
    """The part of each of `count` entities; where there are three or more, no part is left without."""
    cuts = np.rint(np.cumsum([config.train, config.validation]) * count).astype(int)
    if count >= 3:
        cuts[0] = min(max(cuts[0], 1), count - 2)
        cuts[1] = min(max(cuts[1], cuts[0] + 1), count - 1)
    return np.searchsorted(cuts, np.arange(count), side="right")
