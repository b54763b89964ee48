"""Tasks on Ray: the same tasks that local processes do, spread over a cluster by Ray Data."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.jobs import attempt, checked
from logfm.corpus.tasks import Document
from logfm.errors import LogfmError
from logfm.extras import require


def run_on_ray(
    tasks: Sequence[Document],
    folder: Path,
    config: CorpusConfig,
    workers: int | None,
    done: Callable[[float], None],
    shared: str,
) -> list[Document]:
    """Results of all tasks in their order, done by a Ray cluster (RAY_ADDRESS), else by one started here.

    Inputs and `folder` must lie where every node sees them under the same path. `workers` tasks run at once (as many
    as there are CPUs by default). `shared` is handed to every task under that name.

    Raises:
        UserError: Ray is not installed, or a task found a mistake of the user.
        LogfmError: a task failed, or the disk is full.
    """
    ray = connect(workers)
    data = require("ray.data", "ray")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    settings = orjson.dumps(config.dump()).decode()
    items = [{"task": orjson.dumps(task).decode()} for task in tasks]
    shown = str(folder.absolute())
    results: dict[int, Document] = {}
    answers = data.from_items(items, override_num_blocks=len(items)).map(
        _perform, fn_args=(shown, settings, shared), num_cpus=1, concurrency=workers
    )
    try:
        for row in answers.iter_rows():
            answer = checked(orjson.loads(row["answer"]))
            results[answer["task"]] = answer
            done(answer["bytes"])
    except ray.exceptions.RayError as error:
        raise LogfmError(f"a task on Ray failed: {str(error).splitlines()[-1]}") from error
    return [results[task["task"]] for task in tasks]


def connect(workers: int | None = None) -> Any:
    """The module `ray`, connected to the cluster of RAY_ADDRESS, or to one of `workers` CPUs that is started here.

    Raises:
        UserError: Ray is not installed.
    """
    ray = require("ray", "ray")
    if not ray.is_initialized():
        options = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, configure_logging=False, **options)
    return ray


def _perform(row: dict[str, str], folder: str, settings: str, shared: str) -> dict[str, str]:
    config = CorpusConfig.model_validate(orjson.loads(settings))
    answer = attempt(orjson.loads(row["task"]) | {"shared": shared}, Path(folder), config)
    return {"answer": orjson.dumps(answer).decode()}
