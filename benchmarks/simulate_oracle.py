"""An oracle that joins the sources: it knows what each step of each scenario leaves, and looks for that.

It reads records only: of the simulator it knows the scenarios, nothing of the truth, the seed or the company. A run of
a scenario is searched step by step: who, where, which process, which address has to be the same in all of its records,
whatever source they are in. What fits best, and well enough, is taken for an attack.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from simulate_evidence import Evidence, Seen, gather
from simulate_footprints import CUT, anchor, carried, know, left, names_in, process_of, shown, text_of

from logfm.corpus.simulate.templates import AnyEvent, Scenario, Step

BEAM = 80
"""Runs of a scenario that are followed at once."""
CHOICES = 5
"""Records that are tried for an event."""
_EARLY = 1.0
"""Seconds by which a record may show an earlier time than the one before it: some show whole seconds."""
MISSING = 3.0
"""Bits that a step costs that was not found, and should have been."""
ENOUGH = 5.0
"""Bits that a run must have."""
MOST_BITS = 8.0
KNOWN = 2.0
"""Bits for what a process of the run has done."""
LATER = 0.1
"""Bits that an event costs for each doubling of the time (s) since the one before: of records that fit, the next."""
REPEATED = 0.05
"""Bits for each repetition."""
MOST_RIVALS = 400


@dataclass(frozen=True)
class Run:
    """A part of an attack that fits: what is bound, the processes, the records by step."""

    time: float
    bound: dict[str, str] = field(default_factory=dict)
    processes: dict[str, str] = field(default_factory=dict)
    pids: dict[str, str] = field(default_factory=dict)
    used: frozenset[int] = frozenset()
    found: tuple[tuple[Step, AnyEvent, Seen], ...] = ()
    done: frozenset[str] = frozenset()
    bits: float = 0.0


class Told(NamedTuple):
    """What a line is said to be: the names of the scenario and its step, and the techniques that it shows."""

    scenario: str
    step: str
    techniques: tuple[str, ...]


def identify(
    lines: Sequence[tuple[int, float, str, str, str]], sources: Sequence[str], scenarios: Sequence[Scenario]
) -> dict[int, Told]:
    """The steps of the attack that a session holds, by the numbers of its lines.

    `lines` are number, time (s since 1970), folder of the source, host and text, in order of time; `sources` the
    folders that they are from: what other sources would show is not missed.
    """
    evidence = gather(lines, frozenset(sources))
    runs = [(one, best_run(evidence, one)) for one in scenarios]
    scenario, run = max(runs, key=lambda pair: pair[1].bits)
    if run.bits < ENOUGH:
        return {}
    return {
        near.number: Told(scenario.name, step.name, event.technique or step.technique)
        for step, event, one in run.found
        for near in left(evidence, event, one)
    }


def best_run(evidence: Evidence, scenario: Scenario) -> Run:
    """The run of a scenario that fits a session best."""
    know(scenario)
    runs = [Run(-math.inf)]
    for number, step in enumerate(scenario.steps):
        following: list[Run] = []
        for run in runs:
            ready = run.done.issuperset(step.needs)
            if ready:
                for variant in step.variants:
                    following += _follow(evidence, scenario, step, variant, run)
            if ready and not any(_visible(evidence, variant) for variant in step.variants):
                following.append(replace(run, done=run.done | {step.name}))
                continue
            cost = MISSING if ready and step.chance == 1 else 0.3 if ready else MISSING / 3
            following.append(replace(run, bits=run.bits - cost))
        runs = _distinct(following)[: BEAM * (4 if number == 0 else 1)]
    return runs[0]


def _visible(evidence: Evidence, variant: Sequence[AnyEvent]) -> list[AnyEvent]:
    """The events that the sources at hand would show."""
    return [event for event in variant if anchor(evidence, event)]


def _distinct(runs: Iterable[Run]) -> list[Run]:
    """The best of the runs that could go on in the same way, best first: they may differ in what came earlier.

    Without this, runs that only differ in how often something was repeated would push all others out.
    """
    found: dict[tuple[object, ...], Run] = {}
    for one in sorted(runs, key=lambda one: -one.bits):
        parts = (*one.bound.items(), *one.processes.items(), *one.pids.items())
        found.setdefault((one.time, frozenset(parts), one.done), one)
    return list(found.values())


def _follow(evidence: Evidence, scenario: Scenario, step: Step, variant: Sequence[AnyEvent], run: Run) -> list[Run]:
    """The ways in which a step goes on from a run, each as the run with the step's records."""
    runs = [run]
    for event in _visible(evidence, variant):
        nexts: list[Run] = []
        for one in runs:
            nexts += _happen(evidence, scenario, step, event, one)
            if event.chance < 1 or event.repeat[0] == 0:
                nexts.append(one)
        runs = _distinct(nexts)[:BEAM]
    return [replace(one, done=one.done | {step.name}) for one in runs if one.found != run.found]


def _happen(evidence: Evidence, scenario: Scenario, step: Step, event: AnyEvent, run: Run) -> Iterator[Run]:
    """The ways in which an event follows a run: some of the next records that fit it, each repeated or not."""
    shows = anchor(evidence, event)
    if shows is None:
        return
    kind = shows[0]
    candidates = [one for one in evidence.near(kind, run.time - _EARLY, math.inf) if one.number not in run.used]
    match = _matcher(evidence, scenario, event, run, shows[1])
    tried = 0
    for place, one in enumerate(candidates):
        bound = match(one)
        if bound is None:
            continue
        tried += 1
        rivals = sum(match(other) is not None for other in evidence.kinds[kind][:MOST_RIVALS])
        bits = min(MOST_BITS, math.log2((len(evidence.kinds[kind]) + 1) / max(1, rivals)) + 0.5)
        if run.found:
            bits -= LATER * math.log2(1 + max(0.0, one.time - run.time))
        bits += KNOWN * any(getattr(event, role, None) in run.processes for role in ("parent", "by"))
        found = _with(evidence, step, event, run, one, bound, bits)
        count, (low, high) = 1, event.repeat
        if count >= low:
            yield found
        for other in candidates[place + 1 :]:
            if count >= high:
                break
            if other.number in found.used or match(other) is None or not _agrees(match(other), found.bound):
                continue
            count += 1
            found = _with(evidence, step, event, found, other, {}, REPEATED)
            if count >= low:
                yield found
        if tried >= CHOICES and run.found:
            return


def _agrees(bound: dict[str, str] | None, before: dict[str, str]) -> bool:
    return all(before.get(name, value) == value for name, value in (bound or {}).items() if value is not None)


def _with(
    evidence: Evidence, step: Step, event: AnyEvent, run: Run, one: Seen, bound: dict[str, str], bits: float
) -> Run:
    processes, pids = dict(run.processes), dict(run.pids)
    if name := getattr(event, "name", None):
        processes[name] = one.fields["ProcessGuid"]
    if (pid := getattr(event, "pid", None)) and one.kind == "auth":
        pids[pid] = one.fields["pid"]
    known = run.bound | {name: value for name, value in bound.items() if value is not None}
    used = run.used | {near.number for near in left(evidence, event, one)}
    return Run(one.time, known, processes, pids, used, (*run.found, (step, event, one)), run.done, run.bits + bits)


def _matcher(
    evidence: Evidence, scenario: Scenario, event: AnyEvent, run: Run, fields: dict[str, str]
) -> Callable[[Seen], dict[str, str] | None]:
    names = tuple(fields)
    template = CUT.join(fields.values())
    used = set(names_in(scenario, template))
    bound = tuple(sorted((name, value) for name, value in run.bound.items() if name in used))
    pattern = text_of(scenario.name, template, bound)
    known: dict[int, dict[str, str] | None] = {}

    def match(one: Seen) -> dict[str, str] | None:
        if one.number not in known:
            found = (pattern.fullmatch(text) for text in shown(evidence, one, names)) if _related(
                event, run, one) and carried(evidence, event, one) else iter(())  # fmt: skip
            known[one.number] = next((each.groupdict() for each in found if each), None)
        return known[one.number]

    return match


def _related(event: AnyEvent, run: Run, one: Seen) -> bool:
    """Whether the processes of a record are those that the event names; packets show none."""
    fields = one.fields
    if one.kind == "packet":
        return True
    for role, guid, image in (("parent", "ParentProcessGuid", "ParentImage"), ("by", "ProcessGuid", "Image"),
                              ("target", "TargetProcessGUID", "TargetImage")):  # fmt: skip
        name = getattr(event, role, None)
        if not isinstance(name, str):
            continue
        if one.kind in ("win8", "win10"):
            guid = f"{'Source' if role == 'by' else 'Target'}Process{'GUID' if one.kind == 'win10' else 'Guid'}"
            image = "SourceImage" if role == "by" else "TargetImage"
        if name in run.processes:
            if fields.get(guid) != run.processes[name]:
                return False
        elif not process_of(name, fields.get(image, "")):
            return False
    pid = getattr(event, "pid", None) if one.kind == "auth" else None
    return not (isinstance(pid, str) and pid in run.pids and run.pids[pid] != fields.get("pid"))
