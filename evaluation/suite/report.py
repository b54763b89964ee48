"""The suite's report: one HTML file that opens offline, runs no script and loads nothing."""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from logfm.artifacts import write_atomic
from logfm.configs.schema.suite import TaskMeta
from logfm.evaluation import display
from logfm.evaluation.suite.aggregate import Key, Score
from logfm.evaluation.suite.compare import Verdict
from logfm.evaluation.suite.leaderboard import Board, main_units
from logfm.evaluation.suite.listing import outcome, p_value
from logfm.evaluation.suite.main import Result
from logfm.evaluation.suite.results import OK, Row
from logfm.evaluation.suite.runner import CONTAMINATION, LEFT_OUT
from logfm.evaluation.svg import Span, interval_chart
from logfm.extras import require

_TEMPLATES = Path(__file__).parents[1] / "templates_html"
_COLOURS = 8
_FILTERS = ("visible", "number", "duration", "score", "signed", "percent")
_LEARNT = 0.1
"""Part of a data set's events that an encoder knows by template, from which on the leaderboard says so."""
_MOST_COMPARISONS = 400
"""Rows of a table of comparisons; the rest is in the output of `logfm eval compare --json`."""


def render(result: Result, path: Path) -> None:
    """Write the report; the file appears whole or not at all.

    Whatever comes from logs, results files or names is hostile: it is shortened, its control characters are made
    visible, and everything is escaped. The content policy allows the page's own style sheet and nothing else.

    Raises:
        UserError: jinja2 is not installed.
    """
    jinja = require("jinja2", "eval")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(display, name) for name in _FILTERS} | {"figure": figure, "p": p_value}
    write_atomic(path, environment.get_template("suite.html.j2").render(view(result)).encode("utf-8", "replace"))


def figure(value: float | None) -> str:
    """A score: three digits behind the point, one where it is large, none in thousands."""
    if value is None or not math.isfinite(value) or abs(value) < 10:
        return display.score(value)
    return display.score(value, 1) if abs(value) < 1000 else display.number(value)


def view(result: Result) -> dict[str, Any]:
    """What the template shows."""
    css = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in ("quickstart.css", "suite.css"))
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    colours = _colours(result)
    measured = [row for row in result.rows if row.status == OK and row.task != CONTAMINATION]
    return {
        "css": Markup(css),
        "css_hash": f"sha256-{digest}",
        "document": result.document,
        "encoders": list(colours.items()),
        "asked": _asked(result.rows),
        "seeds": _seeds(result.document.get("seeds", 0)),
        "boards": result.boards,
        "standings": _standings(result.boards),
        "tasks": [_task(result, meta, colours) for meta in result.tasks.values() if _has(result, meta)],
        "measurements": len(measured),
        "seconds": _seconds(measured),
        "failures": _failures(result.rows),
        "contamination": _contamination(result.rows),
        "learnt": _learnt(result),
        "data": _data_sets(result),
    }


def _asked(rows: Iterable[Row]) -> list[str]:
    """The encoders that a run was asked for; rows of data that is not at hand name none."""
    return list(dict.fromkeys(row.encoder for row in rows if row.role == "encoder" and row.encoder))


def _colours(result: Result) -> dict[str, str]:
    names = dict.fromkeys(one.encoder for board in result.boards for one in board.standings)
    names |= dict.fromkeys(name for column in result.scores.values() for name in column)
    order = [name for name in dict.fromkeys([*_asked(result.rows), *names]) if name in names]
    return {name: f"c{min(number, _COLOURS - 1)}" for number, name in enumerate(order)}


def _standings(boards: Sequence[Board]) -> list[tuple[str, list[Any]]]:
    """A row an encoder, a cell a task (None where it has no score); those of the best mean rank first."""
    found = {(board.name, one.encoder): one for board in boards for one in board.standings}
    names = dict.fromkeys(name for _, name in found)
    rows = [(name, [found.get((board.name, name)) for board in boards]) for name in names]

    def place(row: tuple[str, list[Any]]) -> tuple[bool, float]:
        ranks = [one.rank for one in row[1] if one is not None and one.rank is not None]
        # Who takes part in fewer than half of the tasks comes behind those that can be compared at large.
        return 2 * len(ranks) < len(boards), sum(ranks) / len(ranks) if ranks else float("inf")

    return sorted(rows, key=place)


def _seeds(told: Any) -> int:
    """The most seeds of a task; older runs tell one number."""
    return max(told.values(), default=0) if isinstance(told, dict) else int(told)


def _has(result: Result, meta: TaskMeta) -> bool:
    return any(key.task == meta.name for key in result.scores)


def _task(result: Result, meta: TaskMeta, colours: Mapping[str, str]) -> dict[str, Any]:
    main = main_units(result.scores, meta)
    own = {key: column for key, column in result.scores.items() if key.task == meta.name}
    encoders = [name for name in colours if any(name in column for column in own.values())]
    rest = {key: column for key, column in own.items() if key not in main}
    order = [meta.main_score, *(name for name in meta.metrics if name != meta.main_score)]
    others = [
        (metric, _table({key: column for key, column in rest.items() if key.metric == metric}, encoders))
        for metric in order
        if any(key.metric == metric for key in rest)
    ]
    verdicts = result.verdicts.get(meta.name, [])
    return {
        "meta": meta,
        "board": next((board for board in result.boards if board.task == meta.name), None),
        "encoders": encoders,
        "main": _table(main, encoders),
        "others": others,
        "chart": _chart(main, encoders, colours, meta.main_score),
        "verdicts": [(one, outcome(one)) for one in verdicts[:_MOST_COMPARISONS]],
        "more_verdicts": max(0, len(verdicts) - _MOST_COMPARISONS),
        "summary": _summary(verdicts, _asked(result.rows)),
        "roles": {key.data: next(iter(column.values())).rows[0].data_role for key, column in own.items()},
    }


def _table(units: Mapping[Key, Mapping[str, Score]], encoders: Sequence[str]) -> list[dict[str, Any]]:
    """A row a key: its scores in the encoders' order, and which of them has the best value."""
    return [
        {
            "key": key,
            "cells": [column.get(name) for name in encoders],
            "best": _best(column),
            "notes": sorted({row.note for score in column.values() for row in score.rows if row.note}),
        }
        for key, column in units.items()
    ]


def _best(column: Mapping[str, Score]) -> float | None:
    direction = next(iter(column.values())).rows[0].direction
    values = [one.value for one in column.values() if one.value == one.value]
    if direction == "neither" or len(values) < 2:
        return None
    return min(values) if direction == "lower" else max(values)


def _chart(
    units: Mapping[Key, Mapping[str, Score]], encoders: Sequence[str], colours: Mapping[str, str], metric: str
) -> Markup:
    groups = []
    for key, column in units.items():
        spans = [
            Span(one.value, one.estimate.low, one.estimate.high, colours[name],
                 f"{display.visible(name, 80)}: {figure(one.value)} on {key.data}")
            for name in encoders if (one := column.get(name)) is not None
        ]  # fmt: skip
        label = ", ".join(part for part in (key.data, key.condition) if part)
        groups.append((display.visible(label, 34), spans))
    return interval_chart(groups, metric)


def _summary(verdicts: Sequence[Verdict], asked: Iterable[str]) -> list[tuple[str, str, int, int, int, int]]:
    """For each encoder that was asked for and each other: won, tied, lost, not tested."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for encoder in dict.fromkeys(asked):
        for one in verdicts:
            if encoder in (one.first, one.second):
                other = one.second if one.first == encoder else one.first
                kind = "tie" if one.tie else "won" if one.winner == encoder else "lost" if one.winner else "untested"
                counts.setdefault((encoder, other), Counter())[kind] += 1
    return [
        (encoder, other, found["won"], found["tie"], found["lost"], found["untested"])
        for (encoder, other), found in sorted(counts.items())
    ]


def _failures(rows: Iterable[Row]) -> list[tuple[str, str, str, str, str, int]]:
    """What was not measured: task, data, encoder, status, reason, and how many seeds."""
    found = Counter(
        (row.task, row.data, row.encoder or "all", row.status, row.note)
        for row in rows
        if row.status != OK and row.task != CONTAMINATION
    )
    return [(*reason, count) for reason, count in sorted(found.items(), key=lambda item: (item[0][3], item[0]))]


def _contamination(rows: Iterable[Row]) -> dict[str, Any] | None:
    """Of each data set the share that each encoder was trained on, by template; None where nothing is known."""
    own = [row for row in rows if row.task == CONTAMINATION]
    encoders = list(dict.fromkeys(row.encoder for row in own))
    cells = {(row.data, row.encoder): row for row in own}
    names = list(dict.fromkeys(row.data for row in own))
    if not own:
        return None
    return {
        "encoders": encoders,
        "rows": [(name, max(cells[one].count for one in cells if one[0] == name),
                  [cells.get((name, encoder)) for encoder in encoders]) for name in names],
    }  # fmt: skip


def _learnt(result: Result) -> list[tuple[str, list[tuple[str, float]]]]:
    """Encoders with the board's data sets of which they were trained on a good part, the largest part first."""
    counted = {name for board in result.boards for name in board.data_sets}
    found: dict[str, dict[str, float]] = {}
    for row in result.rows:
        if row.task == CONTAMINATION and row.status == OK and row.data in counted and row.value >= _LEARNT:
            found.setdefault(row.encoder, {})[row.data] = row.value
    return [(name, sorted(shares.items(), key=lambda one: -one[1])) for name, shares in found.items()]


def _data_sets(result: Result) -> list[tuple[dict[str, Any], int, str]]:
    """Specifications, with the number of events that were read (0 where it was not) and what was left out."""
    read = {row.data: (row.count, row.note.partition(LEFT_OUT)[2]) for row in result.rows if row.task == CONTAMINATION}
    return [(spec, *read.get(name, (0, ""))) for name, spec in result.document["data"].items()]


def _seconds(rows: Sequence[Row]) -> float:
    # A cell may judge several parts of its data, each with a hash of its own.
    cells = {(row.task_hash, row.data, row.encoder, row.seed): row.seconds for row in rows}
    return sum(cells.values())
