"""Which queries an event must be put to, by its kind, channel and id, and the fields that they read."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from logfm.corpus.rules.compiling import Query, RuleSet
from logfm.corpus.rules.sources import KEYWORDS, WINDOWS

Key = tuple[str, str, str]
"""Kind of event, channel (lower-case) and event id; empty where no rule asks for the value."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Queries for the events of one key. `fields` are what they read, in the order of a row's values.

    `name` tells plans apart.
    """

    name: str
    queries: tuple[Query, ...]
    fields: tuple[str, ...]

    @cached_property
    def columns(self) -> tuple[tuple[str, bool], ...]:
        """All columns that the queries read: (field, lower-cased?)."""
        return tuple(sorted(frozenset[tuple[str, bool]]().union(*(query.columns for query in self.queries))))


class Plans:
    """Plans made when they are first asked for."""

    def __init__(self, rules: RuleSet) -> None:
        self._by_kind: dict[str, list[Query]] = {}
        for query in rules.queries:
            self._by_kind.setdefault(query.kind, []).append(query)
        windows = self._by_kind.get(WINDOWS, [])
        self._channels = _all(query.channels for query in windows)
        self._event_ids = {kind: _all(one.event_ids for one in queries) for kind, queries in self._by_kind.items()}
        self._made: dict[Key, tuple[Plan, ...]] = {}

    def windows(self, channel: str, event_id: str) -> tuple[Plan, ...]:
        """The plans for a Windows event, none where no rule is for it."""
        channel, event_id = channel.lower(), event_id.lower()
        return self._plan(
            (
                WINDOWS,
                channel if channel in self._channels else "",
                event_id if event_id in self._event_ids.get(WINDOWS, ()) else "",
            )
        )

    def other(self, kind: str, event_id: str = "") -> tuple[Plan, ...]:
        """The plans for an event of another kind, none where no rule is for it."""
        event_id = event_id.lower()
        known = event_id in self._event_ids.get(kind, ())
        return self._plan((kind, "", event_id if known else "")) if kind in self._by_kind else ()

    def _plan(self, key: Key) -> tuple[Plan, ...]:
        if key not in self._made:
            kind, channel, event_id = key
            queries = [
                query
                for query in self._by_kind.get(kind, ())
                if (query.channels is None or channel in query.channels)
                and (query.event_ids is None or event_id in query.event_ids)
            ]
            # Apart, because whole events are rarely equal while the fields that rules read often are.
            whole = [query for query in queries if any(field == KEYWORDS for field, _ in query.columns)]
            parts = [query for query in queries if query not in whole]
            self._made[key] = tuple(_plan(key, some) for some in (parts, whole) if some)
        return self._made[key]


def _plan(key: Key, queries: list[Query]) -> Plan:
    fields = tuple(sorted({field for query in queries for field, _ in query.columns}))
    return Plan("\0".join((*key, "whole" if KEYWORDS in fields else "")), tuple(queries), fields)


def _all(bounds: Iterable[frozenset[str] | None]) -> frozenset[str]:
    return frozenset[str]().union(*(bound for bound in bounds if bound is not None))
