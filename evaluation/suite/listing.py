"""What the commands print: rich tables, or one JSON document."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from logfm.configs.base import Config
from logfm.console import emit_json, markup_safe, say, stdout
from logfm.evaluation.display import score, signed
from logfm.evaluation.stats import Estimate
from logfm.evaluation.suite.compare import Verdict
from logfm.evaluation.suite.leaderboard import Board
from logfm.evaluation.suite.main import REPORT, Result
from logfm.evaluation.suite.registry import Registry, pick
from logfm.evaluation.suite.results import FAILED, NO_DATA, NOT_APPLICABLE, documents


def show_known(registry: Registry, name: str | None, as_json: bool) -> None:
    """Suites, tasks and data sets, or everything about one of them.

    Raises:
        UserError: nothing has that name.
    """
    if name is not None:
        _show_one(registry, name, as_json)
    elif as_json:
        emit_json(
            {
                "suites": [suite.dump() for suite in registry.suites.values()],
                "tasks": [task.META.dump() for task in registry.tasks.values()],
                "data": [spec.dump() for spec in registry.data.values()],
            }
        )
    else:
        _show_all(registry)


def _show_one(registry: Registry, name: str, as_json: bool) -> None:
    metas = {task: one.META for task, one in registry.tasks.items()}
    known: dict[str, Config] = {**registry.data, **metas, **registry.suites}
    found = pick(known, name, "suite, task or data set").dump()
    if as_json:
        emit_json(found)
        return
    lines = (
        (field, value if isinstance(value, str) else orjson.dumps(value).decode()) for field, value in found.items()
    )
    _print(name, ("what", "value"), lines)


def _show_all(registry: Registry) -> None:
    suites = ((suite.name, suite.title, ", ".join(suite.tasks), str(suite.seeds)) for suite in registry.suites.values())
    _print("Suites", ("name", "what for", "tasks", "seeds"), suites)
    metas = [task.META for task in registry.tasks.values()]
    tasks = ((meta.name, meta.title, meta.main_score, meta.paper, f"{meta.minutes:g}") for meta in metas)
    _print("Tasks", ("name", "question", "main score", "paper", "minutes"), tasks)
    sets = ((one.name, one.title, ", ".join(one.tasks), one.licence, one.role) for one in registry.data.values())
    _print("Data sets", ("name", "what", "tasks", "licence", "for"), sets)


def show_run(result: Result, out: Path, as_json: bool) -> None:
    """The leaderboard of a run."""
    if as_json:
        emit_json({"out": str(out), "rows": documents(result.rows), "leaderboard": [*map(_board, result.boards)]})
    else:
        _boards(result.boards)
    for status in (FAILED, NOT_APPLICABLE, NO_DATA):
        count = len({(row.task, row.data, row.encoder) for row in result.rows if row.status == status})
        if count:
            say(f"{status}: {count}, see the report")
    say(f"report: {out / REPORT}")


def show_comparison(result: Result, as_json: bool) -> None:
    """Verdicts, task by task, and the leaderboard over all runs."""
    if as_json:
        tables = {task: [*map(_verdict, verdicts)] for task, verdicts in result.verdicts.items()}
        emit_json({"comparisons": tables, "leaderboard": [*map(_board, result.boards)]})
        return
    for task, verdicts in result.verdicts.items():
        heads = ("data", "condition", "metric", "first", "second", "difference", "95 % interval", "p (Holm)", "better")
        _print(task, heads, map(_line, verdicts))
    _boards(result.boards)


def p_value(p: float | None) -> str:
    """p with three digits; nothing where there was no test."""
    return "" if p is None else "< 0.001" if p < 0.001 else score(p)


def outcome(verdict: Verdict) -> str:
    """The better encoder, a tie, or why nothing was tested."""
    return verdict.winner or ("tie" if verdict.tie else f"not compared: {verdict.note}")


def _line(one: Verdict) -> tuple[str, ...]:
    difference = one.difference
    interval = f"{signed(difference.low)} to {signed(difference.high)}" if math.isfinite(difference.low) else ""
    return (one.key.data, one.key.condition, one.key.metric, one.first, one.second, signed(difference.value), interval,
            p_value(one.p), outcome(one))  # fmt: skip


def _boards(boards: Sequence[Board]) -> None:
    lines = (
        (board.name if not number else "", board.metric, "–" if one.rank is None else str(one.rank), one.encoder,
         score(one.estimate.value), _interval(one.estimate),
         f"{one.data_sets} of {len(board.data_sets)}")
        for board in boards for number, one in enumerate(board.standings)
    )  # fmt: skip
    untested = [board for board in boards if not board.tested and len(board.standings) > 1]
    by_value = [board.name for board in untested if any(one.rank is not None for one in board.standings)]
    without = [board.name for board in untested if board.name not in by_value]
    heads = ("task", "main score", "rank", "encoder", "mean", "95 % interval", "data sets")
    _print("Leaderboard (who can't be told apart shares a rank)", heads, lines)
    if by_value:
        say(f"not tested, so that ranks are the order of the values: {', '.join(by_value)}")
    if without:
        say(f"could not be tested, and have no ranks: {', '.join(without)}")


def _interval(estimate: Estimate) -> str:
    return f"{score(estimate.low)} to {score(estimate.high)}" if math.isfinite(estimate.low) else ""


def _print(title: str, heads: Iterable[str], lines: Iterable[Iterable[str]]) -> None:
    table = Table(title=markup_safe(title), title_justify="left")
    for head in heads:
        table.add_column(head)
    for line in lines:
        table.add_row(*(markup_safe(one) for one in line))
    stdout.print(table)


def _board(board: Board) -> dict[str, Any]:
    standings = [
        {"encoder": one.encoder, "rank": one.rank, "value": _finite(one.estimate.value),
         "low": _finite(one.estimate.low), "high": _finite(one.estimate.high), "data_sets": one.data_sets}
        for one in board.standings
    ]  # fmt: skip
    return {"task": board.task, "apart": board.apart, "metric": board.metric, "direction": board.direction,
            "role": board.role, "data": list(board.data_sets), "tested": board.tested,
            "standings": standings}  # fmt: skip


def _verdict(one: Verdict) -> dict[str, Any]:
    return {**one.key._asdict(), "first": one.first, "second": one.second, "method": one.method, "note": one.note,
            "difference": _finite(one.difference.value), "low": _finite(one.difference.low),
            "high": _finite(one.difference.high), "p": one.p, "winner": one.winner, "tie": one.tie}  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
