"""Cells on Ray: each is a task of the cluster; a worker keeps the encoders that it has opened."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from logfm.corpus.on_ray import connect
from logfm.errors import LogfmError
from logfm.evaluation.suite.cells import Cell, measure
from logfm.evaluation.suite.contestants import AnyContestant, Pretrained, one_line
from logfm.evaluation.suite.registry import registry
from logfm.evaluation.suite.results import FAILED, Row
from logfm.evaluation.suite.runner import Execute, Job, Plan
from logfm.evaluation.suite.task import Data, Task

_opened: dict[str, AnyContestant] = {}


def executor(plan: Plan, workers: int | None) -> Execute:
    """What runs cells on the cluster of RAY_ADDRESS, or on one of `workers` CPUs that is started here.

    Cells of tasks that measure time run when all others of the call are done, one at a time: what ran beside them
    would be measured, too. The output folder and encoder folders must lie where every node sees them under the same
    path. A worker that dies is a failed cell.

    Raises:
        UserError: Ray is not installed.
    """
    ray = connect(workers)
    gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
    folder = str(plan.cells.absolute())

    def execute(jobs: list[Job]) -> Iterator[list[Row]]:
        data = {id(one): ray.put(one) for _, _, one in jobs}

        def submitted(job: Job) -> Any:
            return _submit(ray, job[0], job[1], data[id(job[2])], folder, gpus)

        timed = [plan.registry.tasks[one.task].META.timed for one, _, _ in jobs]
        answers = [None if alone else submitted(job) for job, alone in zip(jobs, timed, strict=True)]
        beside = [answer for answer in answers if answer is not None]
        for job, answer in zip(jobs, answers, strict=True):
            one = job[0]
            if answer is None and beside:
                ray.wait(beside, num_returns=len(beside))
            try:
                yield ray.get(submitted(job) if answer is None else answer)
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None) or error
                yield [replace(one.base, status=FAILED, note=f"a worker of Ray failed: {one_line(cause)}")]

    return execute


def _submit(ray: Any, one: Cell, contestant: AnyContestant, data: Any, folder: str, gpus: int) -> Any:
    needed = gpus if isinstance(contestant, Pretrained) else 0
    work = ray.remote(num_cpus=1, num_gpus=needed, max_retries=1)(_work)
    return work.remote(one, contestant.portable(), one.base.encoder_hash, data, folder)


def _work(one: Cell, contestant: AnyContestant, expected: str, data: Data, folder: str) -> list[Row]:
    known = _opened.setdefault(expected, contestant)
    if known.hash != expected:
        raise LogfmError(f"a worker of Ray has another encoder under the name {contestant.name}")
    return measure(one, _tasks()[one.task], known, data, Path(folder))


@cache
def _tasks() -> dict[str, Task]:
    return dict(registry().tasks)
