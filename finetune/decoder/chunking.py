"""Consecutive events of a host or a session: chunks, and which of them become cases."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from logfm.configs.schema.cases import CaseSource, ChunkConfig, SimulatedSource
from logfm.finetune.decoder.groups import Counts, Group, Labelled

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Chunk:
    """Some events, and their place among the chunks of their host or session, from 1."""

    events: Sequence[Labelled]
    number: int

    @property
    def suspicious(self) -> bool:
        """Whether one of its events is."""
        return any(one.suspicious for one in self.events)


def chunks(group: Group, config: ChunkConfig, counts: Counts) -> list[Chunk]:
    """A group's events in order of time, each host's or the whole session's, cut every so many events.

    Events without a time keep their place behind the event before them in the input.
    """
    columns = config.by if group.by is None else group.by
    apart: dict[tuple[str, ...], list[Labelled]] = {}
    for one in group.events:
        key = tuple(str(getattr(one.event, name, "") or "") for name in columns)
        apart.setdefault(key, []).append(one)
    found = []
    for events in apart.values():
        ordered = _in_time(events)
        for number, start in enumerate(range(0, len(ordered), config.events), 1):
            some = ordered[start : start + config.events]
            if len(some) < min(config.least, config.events):
                counts["events of a last chunk that is too short"] += len(some)
            else:
                found.append(Chunk(some, number))
    return found


def drawn(
    found: Sequence[Chunk], group: Group, source: CaseSource, normal: bool, seed: int, counts: Counts
) -> list[Chunk]:
    """The chunks that become cases, in their order: so many suspicious and, with `normal`, so many others."""
    suspicious = [one for one in found if one.suspicious]
    others = [one for one in found if not one.suspicious] if normal else []
    most = source.group_normal
    if isinstance(source, SimulatedSource) and source.test_normal is not None and group.part == "test":
        most = source.test_normal
    rng = np.random.default_rng(seed_of(str(seed), group.source, group.name))
    chosen = _some(suspicious, source.group_attack, rng) + _some(others, most, rng)
    counts["suspicious chunks beyond what a file or session gives"] += max(0, len(suspicious) - source.group_attack)
    counts["normal chunks beyond what a file or session gives"] += max(0, len(others) - most)
    places = {id(one): place for place, one in enumerate(found)}
    return sorted(chosen, key=lambda one: places[id(one)])


def seed_of(*parts: str) -> int:
    """A seed from some words: the same ones give the same."""
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _some(found: Sequence[Chunk], most: int, rng: np.random.Generator) -> list[Chunk]:
    if len(found) <= most:
        return list(found)
    return [found[int(place)] for place in rng.choice(len(found), size=most, replace=False)]


def _in_time(events: Sequence[Labelled]) -> list[Labelled]:
    times = []
    last = _BEGINNING
    for one in events:
        last = one.event.timestamp or last
        times.append(last)
    return [events[place] for place in sorted(range(len(events)), key=times.__getitem__)]
