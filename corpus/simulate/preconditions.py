"""Whether behaviour holds together: a step needs earlier steps, an event needs processes that are surely there."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from logfm.corpus.simulate.pools import SYSTEM_PROCESSES, USER_PROCESSES

if TYPE_CHECKING:
    from logfm.corpus.simulate.templates import AnyEvent, Step


def check_variant(variant: Sequence["AnyEvent"], before: Mapping[str, str]) -> dict[str, str]:
    """Check that every process that an event names is there, on the event's host; `before` maps earlier ones to hosts.

    Returns the processes that the variant surely starts, by name, with their hosts.

    Raises:
        ValueError: a name of no process, of one that may be missing, or of one on another host.
    """
    there = dict(before)
    surely: dict[str, str] = {}
    for event in variant:
        host = getattr(event, "host", "")
        for name in filter(None, (getattr(event, role, None) for role in ("parent", "by", "target"))):
            if name in there and there[name] != host:
                raise ValueError(f"process {name} runs on {there[name]}, not on {host}")
            if name not in there and name not in SYSTEM_PROCESSES and name not in USER_PROCESSES:
                raise ValueError(f"process {name} may not have been started")
        if event.event == "process" and event.name and event.chance == 1 and event.repeat[0] > 0:
            there[event.name] = surely[event.name] = host
    return surely


def check_steps(steps: Sequence["Step"]) -> None:
    """Check that steps need only earlier steps, and use only processes of steps that they need.

    Raises:
        ValueError: a name that is used twice, a need that no earlier step meets, or a process that may be missing.
    """
    reached: dict[str, dict[str, str]] = {}
    for step in steps:
        if step.name in reached:
            raise ValueError(f"two steps are called {step.name}")
        before: dict[str, str] = {}
        for need in step.needs:
            if need not in reached:
                raise ValueError(f"{step.name} needs {need}, which is no earlier step")
            before |= reached[need]
        try:
            found = [check_variant(variant, before) for variant in step.variants]
        except ValueError as error:
            raise ValueError(f"{step.name}: {error}") from None
        everywhere = {name: host for name, host in found[0].items() if all(one.get(name) == host for one in found)}
        reached[step.name] = before | everywhere
