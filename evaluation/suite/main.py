"""The commands' work: a run with its report, and runs side by side."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from logfm.configs.base import parse
from logfm.configs.schema.suite import TaskMeta
from logfm.errors import UserError
from logfm.evaluation.suite.aggregate import Key, Score, scores
from logfm.evaluation.suite.compare import Verdict, gather, verdicts
from logfm.evaluation.suite.leaderboard import Board, leaderboard, main_units
from logfm.evaluation.suite.registry import Registry, pick
from logfm.evaluation.suite.results import FAILED, OK, Row, read
from logfm.evaluation.suite.runner import CONTAMINATION, RUN, run
from logfm.extras import require

REPORT = "report.html"


@dataclass(frozen=True, eq=False)
class Result:
    """A run, or several together: rows, scores by key and encoder, boards, and what `run.json` says."""

    rows: list[Row]
    scores: dict[Key, dict[str, Score]]
    boards: list[Board]
    verdicts: dict[str, list[Verdict]]
    """Of each task: the encoders that were asked for against all others, one Holm table a task."""
    tasks: dict[str, TaskMeta]
    document: dict[str, Any]


def evaluate(registry: Registry, suite: str, encoders: Sequence[str], out: Path, **options: Any) -> Result:
    """Run a suite (see `runner.run` for the options) and write its report beside the results.

    Raises:
        UserError: as `runner.run`.
    """
    require("jinja2", "eval")
    from logfm.evaluation.suite.report import render

    run(registry, suite, encoders, out, **options)
    result = opened([out])
    render(result, out / REPORT)
    return result


def unmeasured(result: Result) -> list[str]:
    """The encoders that were asked for of which nothing was measured, though something failed."""
    asked = [name for name, known in result.document["encoders"].items() if known["asked"]]
    measured = {row.encoder for row in result.rows if row.status == OK and row.task != CONTAMINATION}
    failed = {row.encoder for row in result.rows if row.status == FAILED}
    return [name for name in asked if name in failed - measured]


def idle(result: Result) -> str | None:
    """Why nothing at all was measured of the encoders that were asked for: the commonest reason; else None."""
    own = [row for row in result.rows if row.role == "encoder" and row.task != CONTAMINATION]
    if any(row.status == OK for row in own):
        return None
    reasons = Counter(f"{row.task} on {row.data}: {row.note}" for row in own if row.status != OK)
    return reasons.most_common(1)[0][0] if reasons else "no task takes these encoders"


def opened(folders: Sequence[Path], metric: str | None = None, tasks: Iterable[str] = ()) -> Result:
    """The results of one or more runs, with verdicts on each task's main score, or on `metric`.

    Raises:
        UserError: no results in a folder, an unknown task, or a metric that no task has.
    """
    rows = gather(folders) if len(folders) > 1 else read(folders[0])
    documents = [_document(folder) for folder in folders]
    metas = {
        name: parse(TaskMeta, meta, folder / RUN)
        for folder, document in zip(folders, documents, strict=True)
        for name, meta in document["tasks"].items()
    }
    for task in tasks:
        pick(metas, task, "task of these results")
    metas = {name: meta for name, meta in metas.items() if not tasks or name in set(tasks)}
    if metric is not None:
        pick({name: name for meta in metas.values() for name in meta.metrics}, metric, "metric")
    found = scores(rows)
    focus = {row.encoder for row in rows if row.role == "encoder" and row.status == OK}
    merged = {"data": {name: spec for one in documents for name, spec in one["data"].items()}}
    apart = {name for name, spec in merged["data"].items() if spec.get("apart")}
    return Result(
        rows,
        found,
        leaderboard(found, metas, apart),
        _verdicts(found, metas, metric, focus),
        metas,
        documents[0] | merged,
    )


def compare_folders(folders: Sequence[Path], metric: str | None = None, tasks: Iterable[str] = ()) -> Result:
    """Several runs side by side; all pairs of encoders of which one was asked for are compared.

    Raises:
        UserError: as `opened`.
    """
    return opened(folders, metric, tuple(tasks))


def _verdicts(
    found: dict[Key, dict[str, Score]], metas: dict[str, TaskMeta], metric: str | None, focus: set[str]
) -> dict[str, list[Verdict]]:
    tables = {}
    for name, meta in metas.items():
        units = (
            main_units(found, meta)
            if metric is None
            else {key: column for key, column in found.items() if (key.task, key.metric) == (name, metric)}
        )
        if units:
            tables[name] = verdicts(units, focus)
    return tables


def _document(folder: Path) -> dict[str, Any]:
    path = (folder if folder.is_dir() else folder.parent) / RUN
    try:
        document = orjson.loads(path.read_bytes())
        return {"tasks": {}, "data": {}, "suite": {}, "encoders": {}, "versions": {}} | document
    except (OSError, orjson.JSONDecodeError, TypeError) as error:
        raise UserError("no run.json beside the results, or a damaged one", path, "Run the suite again.") from error
