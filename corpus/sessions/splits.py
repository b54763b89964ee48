"""Splits of sessions into train, validation and test that share no time, no host, or no scenario."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np

from logfm.corpus.labels import GENERIC, is_attack
from logfm.errors import UserError

SPLITS = ("train", "validation", "test")
By = Literal["time", "host", "scenario"]
Row = dict[str, Any]


def split_sessions(rows: Sequence[Row], by: By, shares: Sequence[float]) -> tuple[dict[str, list[Row]], int]:
    """Sessions (rows of SESSIONS, in order of their start) for each split, and how many fit in none.

    `shares` are those of the sessions that train, validation and test should get, and sum to one.
    - "time": train ends before validation begins, and that before test; sessions across a border are left out.
    - "host": every host's sessions lie in one split, however its name is capitalised; a session on several joins them.
    - "scenario": every attack scenario (the label, where it names one) and every input file's attack sessions lie in
      one split. Normal sessions of files without attacks are divided by time.

    Raises:
        UserError: too few sessions, hosts or scenarios for three splits.
    """
    keys = {row["session_id"]: key for row, key in zip(rows, _keys(rows, by), strict=True)}
    found, left = _by_time(rows, shares) if by == "time" else _by_group(rows, keys, shares, by)
    for name in SPLITS:
        if not found[name]:
            what = f"the {name} split would be empty: too few groups to split by {by}"
            raise UserError(what, fix="Try another --split.")
    _check_disjoint(found, keys, by)
    return found, left


def _check_disjoint(splits: dict[str, list[Row]], keys: dict[str, tuple[str, ...]], by: By) -> None:
    """Assert that no session, and nothing that the split keeps apart, lies in two splits."""
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        left, right = splits[first], splits[second]
        assert not {row["session_id"] for row in left} & {row["session_id"] for row in right}
        assert not _all_keys(left, keys) & _all_keys(right, keys)
        if by == "time":
            assert max(row["end"] for row in left) < min(row["start"] for row in right)


def _all_keys(rows: Iterable[Row], keys: dict[str, tuple[str, ...]]) -> set[str]:
    return {one for row in rows for one in keys[row["session_id"]]}


def _keys(rows: Sequence[Row], by: By) -> list[tuple[str, ...]]:
    """What each session must not share with another split."""
    if by == "time":
        return [()] * len(rows)
    if by == "host":
        return [tuple({host.lower(): None for host in row["hosts"]}) for row in rows]
    attacks = [_scenarios(row) for row in rows]
    captures = {one for some in attacks for one in some if one.startswith("file ")}
    # What surrounds an attack in its capture goes with it.
    return [
        some or tuple(name for name in (f"file {file}" for file in row["files"]) if name in captures)
        for row, some in zip(rows, attacks, strict=True)
    ]


def _by_time(rows: Sequence[Row], shares: Sequence[float]) -> tuple[dict[str, list[Row]], int]:
    timed = [row for row in rows if row["start"] is not None]
    if not timed:
        raise UserError("no session has a time", fix="Split by host or scenario.")
    starts = [row["start"] for row in timed]
    borders = [starts[min(len(starts) - 1, round(len(starts) * share))] for share in np.cumsum(shares)[:2]]
    found: dict[str, list[Row]] = {name: [] for name in SPLITS}
    for row in timed:
        first, last = (sum(moment >= border for border in borders) for moment in (row["start"], row["end"]))
        if first == last:
            found[SPLITS[first]].append(row)
    return found, len(rows) - sum(map(len, found.values()))


def _by_group(
    rows: Sequence[Row], keys: dict[str, tuple[str, ...]], shares: Sequence[float], by: By
) -> tuple[dict[str, list[Row]], int]:
    groups = _components(keys.values())
    members: dict[str, list[Row]] = {}
    free: list[Row] = []
    for row in rows:
        key = keys[row["session_id"]]
        (members.setdefault(groups[key[0]], []) if key else free).append(row)
    found: dict[str, list[Row]] = {name: [] for name in SPLITS}
    total = sum(map(len, members.values()))
    # The largest first, each to the split that lacks most; ties by name, so that the order of input doesn't matter.
    for number, group in enumerate(sorted(members, key=lambda name: (-len(members[name]), name))):
        empty = [name for name in SPLITS if not found[name]]
        lacking = {name: share * total - len(found[name]) for name, share in zip(SPLITS, shares, strict=True)}
        place = empty[0] if len(members) - number <= len(empty) else max(SPLITS, key=lacking.__getitem__)
        found[place] += members[group]
    left = len(free)
    if by == "scenario" and free:
        divided, left = _by_time(free, shares)
        for name in SPLITS:
            found[name] += divided[name]
    return found, left


def _scenarios(row: Row) -> tuple[str, ...]:
    """What an attack session belongs to: its scenarios by name, else the files it lies in; nothing if normal."""
    attacks = [label for label in row["labels"] if is_attack(label)]
    named = [f"scenario {label}" for label in attacks if label.lower() not in GENERIC]
    return tuple(named or [f"file {name}" for name in row["files"]] if attacks else ())


def _components(keys: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """The representative of each key, equal for keys that some session joins."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            parent[key] = key = parent[parent[key]]
        return key

    for some in keys:
        for key in some:
            first, second = sorted((root(some[0]), root(key)))
            parent[second] = first
    return {key: root(key) for key in parent}
