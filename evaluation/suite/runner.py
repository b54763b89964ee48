"""The matrix of tasks, data sets, encoders and seeds: measured once, kept by content, and taken up where it stopped."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from logfm.artifacts import digest, versions, write_atomic
from logfm.configs.schema.suite import DataSpec, SuiteSpec
from logfm.console import progress, say
from logfm.errors import UserError
from logfm.evaluation.suite.cells import Cell, cell, measure, stored, subset
from logfm.evaluation.suite.contamination import Flags, seen
from logfm.evaluation.suite.contestants import AnyContestant, one_line, open_contestants
from logfm.evaluation.suite.registry import RESERVED, Registry, pick
from logfm.evaluation.suite.results import FAILED, NO_DATA, NOT_APPLICABLE, OK, Row, write
from logfm.evaluation.suite.task import UNSEEN, Data

RUN = "run.json"
CONTAMINATION = "contamination"
LEFT_OUT = "left out: "
"""In the note of a data set's contamination: how many events were read and not used, by reason."""
_CELLS, _CACHE = "cells", "cache"
ENGINES = ("local", "ray")
Job = tuple[Cell, AnyContestant, Data]
Execute = Callable[[list[Job]], Iterator[list[Row]]]


@dataclass(frozen=True)
class Plan:
    """One run: what it measures, with whom, from where and whereto."""

    registry: Registry
    suite: SuiteSpec
    contestants: list[AnyContestant]
    out: Path
    data: Path | None
    tasks: tuple[str, ...]
    seeds: int | None
    """Asked for; None for what the suite says."""

    @property
    def cells(self) -> Path:
        """Where measured cells lie."""
        return self.out / _CELLS


def run(
    registry: Registry,
    suite: str,
    encoders: Sequence[str],
    out: Path,
    *,
    data: Path | None = None,
    seeds: int | None = None,
    tasks: Sequence[str] = (),
    engine: str = "local",
    workers: int | None = None,
) -> list[Row]:
    """Run a suite over encoders (URIs, or NAME=URI) and its baselines; rows go to `out`, with a CSV and `run.json`.

    Cells that were measured before, by the content of task, data and encoder, are taken from `out`. What fails is a
    row with its reason.

    Raises:
        UserError: an unknown suite, task or encoder, no data folder where all data needs one, or an `out` that
            another process is writing.
    """
    if engine not in ENGINES:
        raise UserError("unknown engine", engine, f"There are: {', '.join(ENGINES)}.")
    if data is not None and not data.is_dir():
        raise UserError("no such data folder", data, "Give --data DIR, or set LOGFM_DATA.")
    if not encoders:
        raise UserError("no encoder to evaluate", fix="Give --encoder URI.")
    chosen = registry.suite(suite)
    for task in tasks:
        pick(chosen.tasks, task, f"task of the suite {chosen.name}")
    with _locked(out):
        contestants = open_contestants(encoders, out / _CACHE, chosen.baselines)
        names = tuple(tasks) or tuple(chosen.tasks)
        plan = Plan(registry, chosen, contestants, out, data, names, seeds)
        started = datetime.now(UTC)
        if engine == "ray":
            from logfm.evaluation.suite.on_ray import executor

            rows = _measured(plan, executor(plan, workers))
        else:
            rows = _measured(plan, _locally(plan))
        write(rows, out)
        write_atomic(out / RUN, orjson.dumps(_document(plan, started), option=orjson.OPT_INDENT_2))
    return rows


def _measured(plan: Plan, execute: Execute) -> list[Row]:
    specs = {spec.name: spec for task in plan.tasks for spec in plan.registry.runs_on(task, plan.suite)}
    if not specs:
        raise UserError("no data set for these tasks", ", ".join(plan.tasks), "See: logfm eval list")
    if plan.data is None and not any(spec.path.startswith("simulated:") for spec in specs.values()):
        raise UserError("no data folder", plan.suite.name, "Give --data DIR, or set LOGFM_DATA.")
    rows: list[Row] = []
    order = plan.registry.names(plan.suite)
    names = [task for spec in specs.values() for task in _of(plan, spec)]
    total = sum(_seeds(plan, task) for task in names for one in plan.contestants if _takes_part(plan, task, one))
    with progress("evaluating", total=total) as advance:
        for spec in sorted(specs.values(), key=lambda one: order.index(one.name)):
            start = time.monotonic()
            found = list(_on_data(plan, spec, execute, advance))
            failed = sum(row.status == FAILED for row in found)
            measured = f"{spec.name}: {sum(row.status == OK for row in found)} measurements"
            note = next((row.note for row in found if row.task == CONTAMINATION), "")
            measured += f", {LEFT_OUT}{note.partition(LEFT_OUT)[2]}" if LEFT_OUT in note else ""
            say(f"{measured}{f', {failed} failed' if failed else ''} ({time.monotonic() - start:.1f} s)")
            rows += found
    return rows


def _on_data(plan: Plan, spec: DataSpec, execute: Execute, advance: Callable[[int], None]) -> Iterator[Row]:
    base = Row(
        plan.suite.name, "", spec.name, "", "", run=plan.out.resolve().name, data_role=spec.role, direction="neither"
    )
    names = _of(plan, spec)
    try:
        data = plan.registry.load(spec, plan.data, spec.most_rows if plan.suite.capped else None)
    except UserError as error:
        note = one_line(error) if plan.data is None else one_line(error).replace(f"{plan.data}/", "DATA/")
        yield from (replace(base, task=name, status=NO_DATA, note=note) for name in names)
        return
    except Exception as error:  # noqa: BLE001 - a broken data set is a result; the others go on
        yield from (replace(base, task=name, status=FAILED, note=one_line(error)) for name in names)
        return
    flags = [seen(one, data.texts) for one in plan.contestants]
    for one, flag in zip(plan.contestants, flags, strict=True):
        yield _share(replace(base, encoder=one.name, role=one.role), one, data, flag)
    jobs = []
    for condition, part in _parts(data, flags):
        for one in plan.contestants:
            jobs += _jobs(plan, names, one, part, replace(base, role=one.role), condition)
    kept = [stored(one, plan.cells) for one, _, _ in jobs]
    measured = execute([job for job, rows in zip(jobs, kept, strict=True) if rows is None])
    for rows in kept:
        yield from next(measured) if rows is None else rows
        advance(1)


def _of(plan: Plan, spec: DataSpec) -> list[str]:
    return [name for name in plan.tasks if name in spec.tasks]


def _seeds(plan: Plan, task: str) -> int:
    """What was asked for; else what the suite says of the task, else of all."""
    return plan.seeds or int(str(plan.suite.tasks[task].get("seeds", plan.suite.seeds)))


def _takes_part(plan: Plan, task: str, contestant: AnyContestant) -> bool:
    baselines = plan.suite.tasks[task].get("baselines")
    return contestant.role == "encoder" or not isinstance(baselines, list) or contestant.baseline in baselines


def _parts(data: Data, flags: Sequence[Flags | None]) -> list[tuple[str, Data]]:
    """The data set, and its events of templates that no contestant was trained on: the same ones for all of them."""
    any_seen = np.zeros(len(data.texts), dtype=bool)
    for flag in flags:
        if flag is not None:
            any_seen |= flag
    if not any_seen.any():
        return [("", data)]
    parts = [("", replace(data, seen=any_seen))]
    return parts if any_seen.all() else [*parts, (UNSEEN, subset(data, ~any_seen))]


def _jobs(
    plan: Plan, names: Sequence[str], contestant: AnyContestant, data: Data, base: Row, condition: str
) -> list[Job]:
    jobs = []
    for name in names:
        meta = plan.registry.tasks[name].META
        if (condition and not meta.by_event) or not _takes_part(plan, name, contestant):
            continue
        given = {key: value for key, value in plan.suite.tasks[name].items() if key not in RESERVED}
        options: dict[str, Any] = {**(meta.caps if plan.suite.capped else {}), **given}
        code = plan.registry.codes.get(name, "")
        if data.seen is not None and not meta.by_event:
            # Such a task tells the unseen part of its sequences apart, and that depends on who takes part.
            code += digest({"seen": np.packbits(data.seen).tobytes().hex()})
        for seed in range(_seeds(plan, name)):
            jobs.append((cell(meta, code, contestant, data.hash, seed, options, base, condition), contestant, data))
    return jobs


def _share(base: Row, contestant: AnyContestant, data: Data, flags: Flags | None) -> Row:
    """How much of a data set an encoder was trained on, as a row of its own."""
    row = replace(
        base, task=CONTAMINATION, metric="seen", encoder_hash=contestant.hash, data_hash=data.hash, split="all",
        count=len(data.texts),
    )  # fmt: skip
    left_out = [LEFT_OUT + reasons] if (reasons := _left_out(data)) else []
    if flags is None:
        unknown = "contamination unknown: no index of what it was trained on"
        return replace(row, status=NOT_APPLICABLE, note="; ".join((unknown, *left_out)))
    return replace(row, value=float(flags.mean()) if len(flags) else float("nan"), note="; ".join(left_out))


def _left_out(data: Data) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in data.left_out.items())


def _locally(plan: Plan) -> Execute:
    def execute(jobs: list[Job]) -> Iterator[list[Row]]:
        for one, contestant, data in jobs:
            yield measure(one, plan.registry.tasks[one.task], contestant, data, plan.cells)

    return execute


def _document(plan: Plan, started: datetime) -> dict[str, Any]:
    """What the report shows beside the rows."""
    used = {spec.name: spec for task in plan.tasks for spec in plan.registry.runs_on(task, plan.suite)}
    return {
        "suite": plan.suite.dump(),
        "seeds": {name: _seeds(plan, name) for name in plan.tasks},
        "tasks": {name: plan.registry.tasks[name].META.dump() for name in plan.tasks},
        "data": {name: spec.dump() for name, spec in used.items()},
        "encoders": {one.name: {"hash": one.hash, "asked": one.role == "encoder"} for one in plan.contestants},
        "versions": versions(),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot write here ({error.strerror})", out, "Choose another --out.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another process is writing this folder", out) from None
        yield
    finally:
        os.close(handle)
