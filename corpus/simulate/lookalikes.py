"""Routines in the shape of attack steps: the same kinds of events at the same pace, with what honest people do in them.

An administrator's script starts processes, writes files and talks to servers as an attack's step does. Were only
attacks such chains, lengths and counts would tell them from benign work, and nobody would have to read a command. So
each step becomes a routine whose commands, paths, names and records are those of other routines, of about the same
length; who does it on what host, how often and how fast is kept. A program takes with it what it does: one that
connects or writes in the step is one that does in its routine. Programs of earlier steps have their like, too, which
run when the routine begins.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any, Literal

from logfm.corpus.simulate.planning import usual
from logfm.corpus.simulate.pools import SYSTEM_PROCESSES
from logfm.corpus.simulate.templates import (
    PLACEHOLDER,
    AnyEvent,
    NetworkEvent,
    ProcessEvent,
    Routine,
    Scenario,
    Step,
    texts_of,
)
from logfm.corpus.simulate.values import Cast
from logfm.corpus.simulate.world import World, make_world

_NEAREST = 4
"""One of so many events of nearest length takes an event's place."""
_CLOSE = 12
"""Characters by which they may be further than the nearest. A program that another one starts in its routine is taken
if it is as long but for so many, or a sixth."""
_EACH = 2
"""Routines made of each way of a step."""
_TOLD = 1.1
"""A connection whose most bytes are so many times its least can be told by its size."""
_OTHERS = {"browser": ("teams", "outlook")}
"""What else connects from a workstation all day, by what does in attacks."""
_BY_SYSTEM = frozenset({"services", "svchost", "wmiprvse", "taskhost", "lsass", "system"})
"""Processes of the system that start others: what they start, nobody else does."""
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


@dataclass(eq=False)
class _Honest:
    """An event of an honest routine: the characters of what it says, and what a process does that it starts."""

    size: int
    event: AnyEvent
    routine: Routine
    acts: list["_Honest"] = field(default_factory=list)


class _Known:
    """Events of honest routines by kind, with the choices that their texts draw from."""

    def __init__(self, routines: Iterable[Routine]) -> None:
        self._casts: dict[str, list[Cast]] = {}
        self._by_kind: dict[tuple[Any, ...], list[_Honest]] = defaultdict(list)
        for routine in routines:
            # Software that comes or goes would be there all the time.
            if routine.since > 0 or routine.until <= 1:
                continue
            for variant in routine.variants:
                events = [_Honest(self.size(event, routine), event, routine) for event in variant]
                for one in events:
                    one.acts += [other for other in events if _acts(one.event, other.event)]
                    for kind in _kinds(one.event):
                        self._by_kind[kind].append(one)

    def size(self, event: AnyEvent, behaviour: Routine | Scenario) -> int:
        """Characters of what an event says, about."""
        if behaviour.name not in self._casts:
            self._casts[behaviour.name] = [
                Cast(_world(), Random(f"{behaviour.name}/{number}"), values=behaviour.values, encoded=behaviour.encoded)
                for number in range(_FILLS)
            ]
        casts = self._casts[behaviour.name]
        return round(sum(len(cast.fill(text)) for text in _said(event) for cast in casts) / _FILLS)

    def like(self, event: AnyEvent) -> list[_Honest]:
        """Events of the same kind, by the same process of the system where one is; none where honest people leave no
        such kind."""
        found = next((self._by_kind[kind] for kind in _kinds(event) if self._by_kind[kind]), [])
        by = getattr(event, "by", None)
        return [one for one in found if getattr(one.event, "by", None) == by] or found


def _acts(process: AnyEvent, event: AnyEvent) -> bool:
    """Whether a process that an event starts does what another one says."""
    if process.event != "process" or process.name is None:
        return False
    return process.name in (getattr(event, "by", None), getattr(event, "parent", None))


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
    maker = _Maker(known, scenario, Random(name))
    there = maker.there(step)
    variants = [events for variant in step.variants for _ in range(_EACH) if (events := maker.variant(variant))]
    # Who looks at pages and windows is at work; scripts and services run at any hour. As often in the mean session.
    seen = any(event.event in ("browse", "focus") for events in variants for event in events)
    clock: Literal["work", "always"] = "work" if seen else "always"
    return Routine(
        name=name, source="windows", clock=clock, weight=weight / usual(clock), cover=True, alike=True,
        values=maker.values, encoded=maker.encoded, there=there, variants=tuple(variants),
    )  # fmt: skip


class _Maker:
    """Makes a routine of a step: the choices that its texts draw from, and who runs."""

    def __init__(self, known: _Known, scenario: Scenario, rng: Random) -> None:
        self.values: dict[str, tuple[str, ...]] = {}
        self.encoded: dict[str, str] = {}
        self._known, self._scenario, self._rng = known, scenario, rng
        self._running: dict[str, _Honest] = {}
        """What takes the place of the processes of earlier steps, by name."""

    def there(self, step: Step) -> tuple[ProcessEvent, ...]:
        """What takes the place of the processes of earlier steps that a step needs."""
        before = self._scenario.steps[: self._scenario.steps.index(step)]
        started = [event for one in before for variant in one.variants for event in variant
                   if isinstance(event, ProcessEvent)]  # fmt: skip
        used = {name for variant in step.variants for event in variant for name in _named(event)}
        found = []
        for event in {one.name: one for one in reversed(started)}.values():
            if event.name in used:
                honest = self._program(event, [one for variant in step.variants for one in variant])
                self._running[event.name] = honest
                parent = event.parent if event.parent in SYSTEM_PROCESSES else "explorer"
                said = self._saying(event, honest).model_dump()
                found.append(ProcessEvent.model_validate(said | {"parent": parent, "chance": 1.0, "repeat": (1, 1)}))
        return tuple(found)

    def variant(self, events: Sequence[AnyEvent]) -> tuple[AnyEvent, ...]:
        """The events with what honest people say in them; without those that honest people leave none of."""
        running = dict(self._running)
        found = []
        for event in events:
            if isinstance(event, ProcessEvent):
                honest: _Honest | None = self._program(event, events, running.get(event.parent))
                if event.name and honest:
                    running[event.name] = honest
            else:
                honest = self._act(event, running)
            if honest:
                found.append(self._saying(event, honest))
            elif event.event not in _CONTENT or (event.event == "auth" and _COMMAND not in event.message):
                found.append(self._shape(event))
        return tuple(found)

    def _shape(self, event: AnyEvent) -> AnyEvent:
        """An event that says nothing but who does it: the same, by another program where its size would tell."""
        if isinstance(event, NetworkEvent) and event.by in _OTHERS and event.sent[1] <= _TOLD * event.sent[0]:
            # The size is known of the network and the program of its host: only both together are the attack's.
            self._keep(event, event.model_dump())
            return event.model_copy(update={"by": self._rng.choice(_OTHERS[event.by]), "technique": ()})
        shape = _plain(event, self._scenario)
        self._keep(shape, shape.model_dump())
        return shape

    def _program(self, event: ProcessEvent, others: Sequence[AnyEvent], parent: _Honest | None = None) -> _Honest:
        """A program that does what the step's does, and is called about as long; one that `parent` starts, if any."""
        wanted = [(one, self._known.size(one, self._scenario)) for one in others if _acts(event, one)]
        size = self._known.size(event, self._scenario)

        def distance(one: _Honest) -> tuple[int, int]:
            lacks, far = 0, abs(one.size - size)
            for act, length in wanted:
                near = [abs(other.size - length) for other in one.acts if _kinds(other.event)[0] == _kinds(act)[0]]
                lacks += not near
                far += min(near, default=0)
            return lacks, far

        children = [one for one in parent.acts if one.event.event == "process"] if parent else []
        close = max(_CLOSE, size // 6)
        able = [one for one in children if distance(one) <= (0, close)] or self._startable(event)
        fewest = min(distance(one)[0] for one in able)
        return self._nearest([(distance(one)[1], one) for one in able if distance(one)[0] == fewest])

    def _startable(self, event: ProcessEvent) -> list[_Honest]:
        """Honest programs that are started by the same process of the system, or by programs, with the same rights."""
        way = _way(event)
        honest = [(one, one.event) for one in self._known.like(event) if isinstance(one.event, ProcessEvent)]
        # Who works under another name has no program in the user's folder.
        honest = [(one, its) for one, its in honest if event.user == "{user}" or "{user}" not in its.image]
        for wanted in (way, ("", way[1]), ("", False)):
            if found := [one for one, its in honest if _way(its) == wanted]:
                return found
        return [one for one, _ in honest]

    def _act(self, event: AnyEvent, running: Mapping[str, _Honest]) -> _Honest | None:
        """An event of the same kind and about the same length, of the same program where that leaves one."""
        if event.event not in _CONTENT or (event.event == "auth" and _COMMAND not in event.message):
            return None
        program = running.get(getattr(event, "by", None) or "")
        own = [one for one in program.acts if _kinds(one.event)[0] == _kinds(event)[0]] if program else []
        size = self._known.size(event, self._scenario)
        like = own or self._known.like(event)
        return self._nearest([(abs(one.size - size), one) for one in like]) if like else None

    def _nearest(self, options: Sequence[tuple[int, _Honest]]) -> _Honest:
        """One of the nearest, by how far they are."""
        near = sorted(options, key=lambda one: one[0])[:_NEAREST]
        return self._rng.choice([one for far, one in near if far <= near[0][0] + _CLOSE])

    def _saying(self, event: AnyEvent, honest: _Honest) -> AnyEvent:
        """The event with what another says; the other's own choices go into the routine's under new names."""
        shape, routine, own = _plain(event, self._scenario), honest.routine, set[str]()

        def change(text: str) -> str:
            return PLACEHOLDER.sub(
                lambda match: f"{{{routine.name}_{match[1]}}}" if match[1] in own else match[0], text
            )

        # A choice may be called as what it is drawn from, so only those before it are its own.
        for name, texts in routine.values.items():
            self.values[f"{routine.name}_{name}"] = _renamed(texts, change)
            own.add(name)
        self.encoded |= {f"{routine.name}_{name}": change(text) for name, text in routine.encoded.items()}
        own |= {*routine.encoded}
        said = _renamed(honest.event.model_dump(include=set(_CONTENT[event.event])), change)
        if event.event == "auth":
            head = "".join(event.message.rpartition(_COMMAND)[:2])
            said = {"message": head + said["message"].rpartition(_COMMAND)[2]}
        document = shape.model_dump() | said
        self._keep(event, document)
        return type(shape).model_validate(document)

    def _keep(self, event: AnyEvent, document: Mapping[str, Any]) -> None:
        """Keep the scenario's own choices of what an event goes on saying: who logs on, by which program."""
        if event.event in ("auth", "web", "network"):
            names = {name for text in texts_of(dict(document)) for name in PLACEHOLDER.findall(text)}
            self.values |= {name: texts for name, texts in self._scenario.values.items() if name in names}


def _way(event: ProcessEvent) -> tuple[str, bool]:
    """Which process of the system starts a program, "" for another program, and whether as the system."""
    return event.parent if event.parent in _BY_SYSTEM else "", event.integrity == "System"


def _named(event: AnyEvent) -> list[str]:
    """The processes that an event names."""
    return [name for role in ("parent", "by", "target") if (name := getattr(event, role, None))]


_INSTEAD = {"host": "{host}", "user": "{user}", "to": "{any_domain}", "client": "{visitor}", "source": "{peer}"}


def _plain(event: AnyEvent, scenario: Scenario) -> AnyEvent:
    """The event without choices of the attack's own in who does it and where."""
    own = {*scenario.values, *scenario.encoded}
    change = {field: text for field, text in _INSTEAD.items()
              if own.intersection(PLACEHOLDER.findall(str(getattr(event, field, "") or "")))}  # fmt: skip
    return event.model_copy(update=change | {"technique": ()})
