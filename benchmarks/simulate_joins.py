"""What a join by host and time adds to a chunk: the oracle of `simulate_shortcuts.py`."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

NEAR = 120.0
"""Seconds within which an address, a name or a queue id links two events."""
PORTS = 6.0
"""The same for ports."""
RARE = 25
"""A value that more events share links none."""
LINEAGE = 3
"""Generations of processes that are followed."""
_GUID = re.compile(r'"(?:Source)?Process(?:Guid|GUID)":"(\{[0-9a-f-]+\})"')
_PARENT = re.compile(r'"ParentProcessGuid":"(\{[0-9a-f-]+\})"')
_PORT = re.compile(r'(?:"SourcePort":"|srcport":"|dstport":"|SPT=|port )(\d{5})\b')
_OTHER = (
    re.compile(r"\b(198\.\d+\.\d+\.\d+|192\.0\.2\.\d+|203\.0\.113\.\d+)\b"),
    re.compile(r"\b((?:[a-z]+\.)+example)\b"),
    re.compile(r"(?:postfix/\w+(?:/\w+)?\[\d+\]: )([0-9a-f]{10}):"),
)
_WORD = re.compile(r"[A-Za-z_]{3,}(?:\.[a-z]{3,4})?")
_ID = re.compile(r'"EventID":(\d+)')


@dataclass
class Joins:
    """The links of a session: `session` holds times (s) and texts, in order of time."""

    session: Sequence[tuple[float, str]]
    starts: dict[str, int] = field(default_factory=dict)
    ports: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    others: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for number, (_, text) in enumerate(self.session):
            if '"EventID":1,' in text and (guid := _GUID.search(text)):
                self.starts[guid[1]] = number
            for port in set(_PORT.findall(text)):
                self.ports[port].append(number)
            for pattern in _OTHER:
                for value in set(pattern.findall(text)):
                    self.others[value].append(number)

    def description(self, number: int) -> Iterator[str]:
        """Words of an event, and those of the events that are linked to it."""
        yield from words(self.session[number][1], "")
        linked = set(self._lineage(number))
        for near in self._sharing(number, self.ports, _PORT.findall(self.session[number][1]), PORTS):
            linked |= {near, *self._lineage(near)}
        values = [value for pattern in _OTHER for value in pattern.findall(self.session[number][1])]
        for near in self._sharing(number, self.others, values, NEAR):
            linked |= {near, *self._lineage(near)}
        for one in linked - {number}:
            yield from words(self.session[one][1], "linked_")

    def _sharing(
        self, number: int, places: dict[str, list[int]], values: Sequence[str], seconds: float
    ) -> Iterator[int]:
        time = self.session[number][0]
        for value in values:
            near = [one for one in places[value] if abs(self.session[one][0] - time) <= seconds]
            if len(near) <= RARE:
                yield from near

    def _lineage(self, number: int) -> Iterator[int]:
        guid = _GUID.search(self.session[number][1])
        for _ in range(LINEAGE):
            if guid is None or guid[1] not in self.starts:
                return
            yield self.starts[guid[1]]
            guid = _PARENT.search(self.session[self.starts[guid[1]]][1])


def words(text: str, prefix: str) -> Iterator[str]:
    """What an event is, without numbers: its words, each with the event's type in front."""
    kind = _ID.search(text)
    for word in set(_WORD.findall(text)):
        yield f"{prefix}{kind[1] if kind else 't'}_{word.lower().replace('.', '_')}"
