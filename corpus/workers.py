"""Tasks on several cores: worker processes that take one task after the other over a pipe."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Literal

import orjson

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.jobs import attempt, checked
from logfm.corpus.on_ray import run_on_ray
from logfm.corpus.tasks import Document

Engine = Literal["local", "ray"]
SMALL = 32 << 20  # bytes of text below which starting a process costs more than it gives


def run_tasks(
    tasks: Sequence[Document],
    folder: Path,
    config: CorpusConfig,
    workers: int | None,
    done: Callable[[float], None],
    engine: Engine = "local",
    shared: str = "",
) -> list[Document]:
    """Results of all tasks in their order; `done` is told the bytes of each finished task.

    The engine "local" takes processes on this machine, "ray" a Ray cluster (see `corpus.on_ray`). `shared` is handed
    to every task in memory, under that name: it may hold what must not be written.

    Raises:
        UserError: a task found a mistake of the user.
        LogfmError: a worker died, or the disk is full.
    """
    if engine == "ray":
        return run_on_ray(tasks, folder, config, workers, done, shared)
    wanted = min(len(tasks), workers or len(os.sched_getaffinity(0)))
    if workers is None and sum(task["bytes"] for task in tasks) < SMALL:
        wanted = 1
    if wanted > 1:
        return _in_processes(tasks, folder, config, wanted, done, shared)
    results = []
    for task in tasks:
        results.append(checked(attempt(task | {"shared": shared}, folder, config)))
        done(task["bytes"])
    return results


def _in_processes(
    tasks: Sequence[Document],
    folder: Path,
    config: CorpusConfig,
    count: int,
    done: Callable[[float], None],
    shared: str,
) -> list[Document]:
    waiting: queue.SimpleQueue[Document] = queue.SimpleQueue()
    # The largest first, so that no core is left with a long task at the end.
    for task in sorted(tasks, key=lambda task: -int(task["bytes"])):
        waiting.put(task)
    answers: queue.SimpleQueue[Document] = queue.SimpleQueue()
    processes = [_start(folder, config, shared) for _ in range(count)]
    threads = [threading.Thread(target=_feed, args=(process, waiting, answers), daemon=True) for process in processes]
    try:
        for thread in threads:
            thread.start()
        results: dict[int, Document] = {}
        while len(results) < len(tasks):
            answer = checked(answers.get())
            results[answer["task"]] = answer
            done(answer["bytes"])
    except BaseException:
        for process in processes:
            process.kill()
        raise
    finally:
        for process in processes:
            _pipe(process.stdin).close()
            process.wait()
        for thread in threads:
            thread.join()
        for process in processes:
            _pipe(process.stdout).close()
    return [results[task["task"]] for task in tasks]


def _start(folder: Path, config: CorpusConfig, shared: str) -> "subprocess.Popen[bytes]":
    """A worker; not a fork, since this process may hold threads, nor an import of the user's script."""
    # Our own package first, and nothing from the working directory.
    path = os.pathsep.join([str(Path(__file__).parents[2].absolute()), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "logfm.corpus.jobs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": path},
    )
    setup = {"folder": str(folder.absolute()), "config": config.dump(), "shared": shared}
    _pipe(process.stdin).write(orjson.dumps(setup) + b"\n")
    return process


def _feed(
    process: "subprocess.Popen[bytes]",
    waiting: "queue.SimpleQueue[Document]",
    answers: "queue.SimpleQueue[Document]",
) -> None:
    """Give a worker one task after the other."""
    requests, replies = _pipe(process.stdin), _pipe(process.stdout)
    while True:
        try:
            task = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            requests.write(orjson.dumps(task) + b"\n")
            requests.flush()
            line = replies.readline()
        except (OSError, ValueError):
            line = b""
        if not line:
            answers.put({"error": "a worker process died (out of memory?)"})
            return
        answers.put(orjson.loads(line))


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
