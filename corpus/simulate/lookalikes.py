"""Routines in the shape of attack steps: the same kinds of events at the same pace, with what honest people do in them.

An administrator's script starts processes, writes files and talks to servers as an attack's step does. Were only
attacks such chains, lengths and counts would tell them from benign work, and nobody would have to read a command. So
each step becomes a routine whose commands, paths, names and records are those of other routines, of about the same
length; who does it on what host, how often and how fast is kept.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from random import Random
from typing import Any, Literal

from logfm.corpus.simulate.planning import usual
from logfm.corpus.simulate.pools import SYSTEM_PROCESSES, USER_PROCESSES
from logfm.corpus.simulate.templates import PLACEHOLDER, AnyEvent, Routine, Scenario, Step, texts_of
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import World, make_world

_NEAREST = 4
"""One of so many events of nearest length takes an event's place."""
_EACH = 2
"""Routines made of each way of a step."""
_COMMAND = "COMMAND="
"""In lines of sudo, before what may be replaced: who runs it is in the lines around it too. Other lines of logons are
the same whoever comes, and have an order."""
_FILLS = 6
"""A text is as long as the mean of so many of its fillings."""
_CONTENT: dict[str, tuple[str, ...]] = {
    "process": ("image", "command"),
    "file": ("path",),
    "registry": ("key", "value"),
    "access": ("target", "mask"),
    "windows": ("id", "channel", "provider", "data"),
    "auth": ("message",),
    "web": ("path", "method", "status", "user"),
    "dns": ("query", "type", "rcode", "answer"),
    "browse": ("url", "title"),
    "focus": ("app", "title"),
    "log": ("record", "data"),
}
"""What an event says, which is taken from another; the rest is its shape."""


def lookalikes(scenarios: Sequence[Scenario], routines: Sequence[Routine], weight: float) -> list[Routine]:
    """One routine of several variants for each step of each scenario; all together weigh `weight` in the mean session.

    The same arguments give the same routines.
    """
    known = _Known(routines)
    steps = [(scenario, step) for scenario in scenarios for step in scenario.steps]
    share = weight / sum(step.chance for _, step in steps)
    return [_of_step(known, scenario, step, share * step.chance) for scenario, step in steps]


class _Known:
    """Events of honest routines by kind, with the choices that their texts draw from."""

    def __init__(self, routines: Iterable[Routine]) -> None:
        self._casts: dict[str, list[Cast]] = {}
        self.by_kind: dict[tuple[Any, ...], list[tuple[int, AnyEvent, Routine]]] = defaultdict(list)
        for routine in routines:
            # Software that comes or goes would be there all the time.
            if routine.since > 0 or routine.until <= 1:
                continue
            for event in (one for variant in routine.variants for one in variant):
                size = self.size(event, routine)
                for kind in _kinds(event):
                    self.by_kind[kind].append((size, event, routine))

    def size(self, event: AnyEvent, behaviour: Routine | Scenario) -> int:
        """Characters of what an event says, about."""
        if behaviour.name not in self._casts:
            self._casts[behaviour.name] = [
                Cast(_world(), Random(f"{behaviour.name}/{number}"), values=behaviour.values, encoded=behaviour.encoded)
                for number in range(_FILLS)
            ]
        casts = self._casts[behaviour.name]
        return round(sum(len(cast.fill(text)) for text in _said(event) for cast in casts) / _FILLS)

    def like(self, event: AnyEvent, size: int, rng: Random) -> tuple[AnyEvent, Routine] | None:
        """An event of the same kind and about the same length; None where honest people leave no such kind."""
        for kind in _kinds(event):
            near = sorted(self.by_kind[kind], key=lambda one: abs(one[0] - size))[:_NEAREST]
            if near:
                return rng.choice(near)[1:]
        return None


def _kinds(event: AnyEvent) -> list[tuple[Any, ...]]:
    """What an event is, the narrowest first."""
    kind: tuple[Any, ...] = (event.event,)
    if event.event == "windows":
        # One of another id would be on a host that writes none.
        return [(*kind, event.by is not None, event.target is not None, event.id)]
    if event.event == "log":
        return [(*kind, event.record), (*kind, event.record.split(".")[0])]
    if event.event == "auth":
        return [(*kind, event.program, _COMMAND in event.message)]
    if event.event == "dns":
        return [(*kind, event.type), kind]
    return [kind]


@cache
def _world() -> World:
    """A company to measure texts with."""
    return make_world(0, 12)


def _said(event: AnyEvent) -> list[str]:
    """The texts of an event that may be replaced."""
    texts = list(texts_of(event.model_dump(include=set(_CONTENT.get(event.event, ())))))
    return [text.rpartition(_COMMAND)[2] for text in texts] if event.event == "auth" else texts


def _renamed(document: Any, change: Callable[[str], str]) -> Any:
    """A document whose texts are changed."""
    if isinstance(document, str):
        return change(document)
    if isinstance(document, Mapping):
        return {key: _renamed(value, change) for key, value in document.items()}
    if isinstance(document, tuple | list):
        return tuple(_renamed(value, change) for value in document)
    return document


def _of_step(known: _Known, scenario: Scenario, step: Step, weight: float) -> Routine:
    name = f"like_{scenario.name}_{step.name}"
    rng = Random(name)
    values: dict[str, tuple[str, ...]] = {}
    encoded: dict[str, str] = {}
    variants = []
    for variant in step.variants:
        for _ in range(_EACH):
            events = [one for event in variant if (one := _replaced(event, known, scenario, rng, values, encoded))]
            if events:
                variants.append(_with_processes(events))
    # Who looks at pages and windows is at work; scripts and services run at any hour. As often in the mean session.
    seen = any(event.event in ("browse", "focus") for events in variants for event in events)
    clock: Literal["work", "always"] = "work" if seen else "always"
    return Routine(
        name=name, source="windows", clock=clock, weight=weight / usual(clock), cover=True, alike=True, values=values,
        encoded=encoded, variants=tuple(variants),
    )  # fmt: skip


def _replaced(
    event: AnyEvent,
    known: _Known,
    scenario: Scenario,
    rng: Random,
    values: dict[str, tuple[str, ...]],
    encoded: dict[str, str],
) -> AnyEvent | None:
    """The event with what another says; the other's own choices go into `values` and `encoded` under new names."""
    shape = _plain(event, scenario)
    content = _CONTENT.get(event.event)
    if content is None:
        return shape
    if event.event == "auth":
        values |= scenario.values
        if _COMMAND not in event.message:
            return shape
    if event.event == "web":
        values |= {name: scenario.values[name] for name in PLACEHOLDER.findall(f"{event.agent}{event.referrer}")
                   if name in scenario.values}  # fmt: skip
    found = known.like(event, known.size(event, scenario), rng)
    if found is None:
        return None
    other, routine = found
    own: set[str] = set()

    def change(text: str) -> str:
        return PLACEHOLDER.sub(lambda match: f"{{{routine.name}_{match[1]}}}" if match[1] in own else match[0], text)

    # A choice may be called as what it is drawn from, so only those before it are its own.
    for name, texts in routine.values.items():
        values[f"{routine.name}_{name}"] = _renamed(texts, change)
        own.add(name)
    encoded |= {f"{routine.name}_{name}": change(text) for name, text in routine.encoded.items()}
    own |= {*routine.encoded}
    said = _renamed(other.model_dump(include=set(content)), change)
    if event.event == "auth":
        said = {"message": "".join(event.message.rpartition(_COMMAND)[:2]) + said["message"].rpartition(_COMMAND)[2]}
    return type(shape).model_validate(shape.model_dump() | said)


_INSTEAD = {"host": "{host}", "user": "{user}", "to": "{any_domain}", "client": "{visitor}", "source": "{peer}"}


def _plain(event: AnyEvent, scenario: Scenario) -> AnyEvent:
    """The event without choices of the attack's own in who does it and where."""
    own = {*scenario.values, *scenario.encoded}
    change = {field: text for field, text in _INSTEAD.items()
              if own.intersection(PLACEHOLDER.findall(str(getattr(event, field, "") or "")))}  # fmt: skip
    return event.model_copy(update=change)


def _with_processes(events: Sequence[AnyEvent]) -> tuple[AnyEvent, ...]:
    """The events, those of earlier steps' processes left to one of the system's."""
    there: dict[str, str] = {}
    found = []
    for event in events:
        host = getattr(event, "host", "")
        change = {}
        for role in ("parent", "by", "target"):
            name = getattr(event, role, None)
            if name and there.get(name) != host and name not in SYSTEM_PROCESSES and name not in USER_PROCESSES:
                change[role] = "svchost"
        found.append(event.model_copy(update=change))
        if event.event == "process" and event.name and event.chance == 1 and event.repeat[0] > 0:
            there[event.name] = host
    return tuple(found)
