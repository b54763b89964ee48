"""What a worker can be asked for: each kind of task by name, in this process or over a pipe."""

import os
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson

from logfm.allocator import reuse_freed_memory
from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.tasks import Document, parts, run_task
from logfm.errors import LogfmError, UserError


def perform(task: Document, folder: Path, config: CorpusConfig, alive: Callable[[], None] = lambda: None) -> Document:
    """Do one task; its answer carries the task's number and bytes and this process' peak memory.

    `alive` is called after every batch, so that a worker whose parent is gone can stop.

    Raises:
        OSError: the disk is full or gone.
    """
    answer = _KINDS[task["kind"]](task, folder, config, alive)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"task": task["task"], "bytes": task["bytes"], "peak_memory_bytes": memory, **answer}


def attempt(task: Document, folder: Path, config: CorpusConfig, alive: Callable[[], None] = lambda: None) -> Document:
    """`perform` for a process that can only answer: what the user or the disk did wrong is an answer too."""
    try:
        return perform(task, folder, config, alive)
    except UserError as error:
        return {"mistake": str(error)}
    except OSError as error:
        return {"error": f"{error.strerror or error}"}


def checked(answer: Document) -> Document:
    """An answer that is none of a failure.

    Raises:
        UserError: the task found a mistake of the user, such as a damaged label file.
        LogfmError: the disk is full, or a worker died.
    """
    if "mistake" in answer:
        raise UserError(answer["mistake"])
    if "error" in answer:
        raise LogfmError(f"the corpus cannot be written: {answer['error']}")
    return answer


def _names(task: Document, folder: Path, config: CorpusConfig, alive: Callable[[], None]) -> Document:
    from logfm.corpus.anonymizing import names_in

    return names_in(partial(parts, task, config), alive, config.anonymize)


_KINDS: dict[str, Callable[[Document, Path, CorpusConfig, Callable[[], None]], Document]] = {
    "read": run_task,
    "names": _names,
}


def worker() -> None:
    """Serve tasks: one JSON document a line on stdin, its result on stdout; ends when the parent does."""
    reuse_freed_memory()
    setup = orjson.loads(sys.stdin.buffer.readline())
    shared = {"shared": setup["shared"]}
    config = CorpusConfig.model_validate(setup["config"])
    parent = os.getppid()

    def alive() -> None:
        if os.getppid() != parent:
            os._exit(1)

    for line in sys.stdin.buffer:
        answer = attempt(orjson.loads(line) | shared, Path(setup["folder"]), config, alive)
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    worker()
