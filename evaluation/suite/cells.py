"""One cell of the matrix: a task on a data set with an encoder and a seed, as rows; kept in a file of its own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import logfm
from logfm.allocator import release_memory
from logfm.artifacts import digest, versions, write_atomic
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.suite.contestants import AnyContestant, EncoderFailed, Pretrained, one_line
from logfm.evaluation.suite.results import FAILED, NOT_APPLICABLE, Row, parquet_bytes, read
from logfm.evaluation.suite.task import Data, Measurement, Task


@dataclass(frozen=True)
class Cell:
    """What is measured. `key` is the identity of the measurement; `base` what all of its rows share."""

    task: str
    seed: int
    options: Mapping[str, Any]
    condition: str
    """Added to the conditions of the task: "" or that only unseen templates count."""
    key: str
    base: Row


def cell(
    meta: TaskMeta,
    code: str,
    contestant: AnyContestant,
    data_hash: str,
    seed: int,
    options: Mapping[str, Any],
    base: Row,
    condition: str = "",
) -> Cell:
    """A cell with its key: `code` is the hash of the task's source, `base` the row to fill in."""
    identity = digest({"task": meta.name, "version": meta.version, "options": dict(options), "condition": condition})
    parts = {"task": identity, "code": code, "data": data_hash, "encoder": contestant.hash, "seed": seed}
    row = replace(
        base, task=meta.name, encoder=contestant.name, seed=seed, encoder_hash=contestant.hash, data_hash=data_hash,
        task_hash=identity, task_version=meta.version, logfm=logfm.__version__, libraries=_libraries(),
        metric=meta.main_score, direction=meta.metrics[meta.main_score], condition=condition,
    )  # fmt: skip
    return Cell(meta.name, seed, options, condition, digest(parts), row)


@cache
def _libraries() -> str:
    return "; ".join(f"{name} {release}" for name, release in versions().items() if name != "logfm")


def stored(one: Cell, folder: Path) -> list[Row] | None:
    """The rows of a cell that was measured before, under the names of this run; None if it was not."""
    path = folder / f"{one.key}.parquet"
    if not path.is_file():
        return None
    try:
        rows = read(path)
    except UserError:
        return None
    base = one.base
    return [
        replace(row, run=base.run, suite=base.suite, encoder=base.encoder, role=base.role, data_role=base.data_role)
        for row in rows
    ]


def measure(one: Cell, task: Task, contestant: AnyContestant, data: Data, folder: Path) -> list[Row]:
    """Measure a cell; its rows are kept in `folder`, but for failures, which the next run tries again."""
    meta = task.META
    if isinstance(contestant, Pretrained) and contestant.failure:
        return [replace(one.base, status=FAILED, note=f"the encoder could not be opened: {contestant.failure}")]
    if meta.pretrained and contestant.pretrained is None:
        return [replace(one.base, status=NOT_APPLICABLE, note="needs a masked language model that logfm trained")]
    start = time.monotonic()
    try:
        found = list(task.run(contestant.anew() if meta.timed else contestant, data, one.seed, one.options))
        seconds = round(time.monotonic() - start, 3)
        rows = [_row(one, meta, measurement, seconds) for measurement in found]
        if not rows:
            raise ValueError("the task measured nothing")
    except EncoderFailed as error:
        return [replace(one.base, status=FAILED, note=f"the encoder failed: {one_line(error)}")]
    except UserError as error:
        # The task says that it cannot score this data: one class only, too few items, a package that is missing.
        return [replace(one.base, status=NOT_APPLICABLE, note=one_line(error))]
    except (Exception, SystemExit) as error:  # noqa: BLE001 - tasks and encoders are anyone's; the other cells go on
        return [replace(one.base, status=FAILED, note=one_line(error))]
    finally:
        # What the texts of one cell took lies in holes that the next one's don't fit: 9 GB after an hour instead of 2.
        release_memory()
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / f"{one.key}.parquet", parquet_bytes(rows))
    return rows


def subset(data: Data, keep: NDArray[np.bool_]) -> Data:
    """The events of `data` that `keep`, bool (n,), marks."""
    rows = np.flatnonzero(keep).tolist()
    columns: dict[str, Any] = {}
    for one in fields(data):
        column = getattr(data, one.name)
        if isinstance(column, list):
            columns[one.name] = [column[row] for row in rows]
        elif isinstance(column, np.ndarray):
            columns[one.name] = column[keep]
    return replace(data, hash=digest({"data": data.hash, "keep": np.packbits(keep).tobytes().hex()}), **columns)


def _row(one: Cell, meta: TaskMeta, found: Measurement, seconds: float) -> Row:
    if found.metric not in meta.metrics:
        raise ValueError(f"the task {meta.name} yields the metric {found.metric}, which its metadata lacks")
    compared = meta.metrics[found.metric] != "neither"
    return replace(
        one.base,
        data_hash=digest({"data": one.base.data_hash, "judged": found.judged}) if found.judged else one.base.data_hash,
        metric=found.metric,
        direction=meta.metrics[found.metric],
        value=float(found.value),
        low=float(found.low),
        high=float(found.high),
        count=int(found.count),
        clusters=int(found.clusters),
        split=found.split,
        condition=", ".join(part for part in (found.condition, one.condition) if part),
        note=found.note,
        seconds=seconds,
        replicates=np.asarray(found.replicates if compared else [], dtype=np.float32),
        hits=np.asarray([] if found.hits is None else found.hits, dtype=np.bool_),
    )
