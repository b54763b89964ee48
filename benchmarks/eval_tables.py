"""What a run of the suite found, as tables for RESULTS.md: a board a task, and every data set in a CSV file.

Usage: python -m benchmarks.eval_tables RUN [--csv FILE]
RUN is the folder of `logfm eval run`. Boards are the leaderboard's: means over data sets for results, 95 % intervals,
ranks in which what cannot be told apart shares one; then those that change where the data sets are left out that an
encoder which was asked for was trained on (more than half of their events). The CSV file has the main score of every
task on every data set, by encoder: means over seeds with intervals, and the share of the data set's templates that the
encoder was trained on. Of the task `leaky` it has that of both splits, head by head.
"""

import argparse
import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from logfm.configs.schema.suite import TaskMeta
from logfm.errors import LogfmError
from logfm.evaluation.suite.aggregate import Key, Score
from logfm.evaluation.suite.leaderboard import Board, Standing, leaderboard, main_units
from logfm.evaluation.suite.main import Result, opened
from logfm.evaluation.suite.results import OK
from logfm.evaluation.suite.runner import CONTAMINATION
from logfm.pretrain.card_results import table

SEEN = 0.5
COLUMNS = ("task", "metric", "data", "role", "condition", "encoder", "value", "low", "high", "seeds", "count", "seen")
WHOLE = frozenset({"leaky"})
"""Tasks that are about what conditions do to a score: the file has every condition, not the leading one alone."""


def unknown(result: Result) -> tuple[list[Board], list[str]]:
    """The boards that change without the data sets that an asked encoder was trained on, and these."""
    asked = {row.encoder for row in result.rows if row.role == "encoder"}
    known = {
        row.data for row in result.rows
        if row.task == CONTAMINATION and row.status == OK and row.encoder in asked and row.value > SEEN
    }  # fmt: skip
    apart = {name for name, spec in result.document["data"].items() if spec.get("apart")}
    left = {key: column for key, column in result.scores.items() if key.data not in known}
    whole = {board.name: board for board in result.boards}
    found = leaderboard(left, result.tasks, apart)
    return [one for one in found if len(one.data_sets) < len(whole[one.name].data_sets)], sorted(known)


def boards(result: Result, shown_boards: Sequence[Board]) -> str:
    """Markdown: a row a board, a column a contestant, the best first by mean rank."""
    standings = {(board.name, one.encoder): one for board in shown_boards for one in board.standings}
    names = list(dict.fromkeys(name for _, name in standings))
    asked = {row.encoder for row in result.rows if row.role == "encoder"}
    shown = sorted(names, key=lambda name: name not in asked)
    rows = [
        (_label(board), *(_cell(board, standings.get((board.name, name))) for name in shown)) for board in shown_boards
    ]
    return table(("task (metric; data sets)", *shown), rows)


def _label(board: Board) -> str:
    better = "lower is better, " if board.direction == "lower" else ""
    mark = "*" if board.role == "choices" else ""
    return f"{board.name}{mark} ({board.metric}; {better}{len(board.data_sets)})"


def _cell(board: Board, one: Standing | None) -> str:
    if one is None:
        return ""
    rank = "" if one.rank is None else f" ({one.rank})"
    return f"{_number(one.estimate.value)}{rank}" + (
        "" if one.data_sets == len(board.data_sets) else f" of {one.data_sets}"
    )


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"


def rows(result: Result) -> Iterator[tuple[str | int, ...]]:
    """Of every main score: where it was measured, its value and interval."""
    seen = {
        (row.data, row.encoder): f"{row.value:.4f}"
        for row in result.rows
        if row.task == CONTAMINATION and row.status == OK
    }
    for meta in result.tasks.values():
        for key, column in _units(result, meta).items():
            for name, one in column.items():
                first = one.rows[0]
                values = (f"{value:.6g}" for value in (one.value, one.estimate.low, one.estimate.high))
                yield (key.task, key.metric, key.data, first.data_role, key.condition, name, *values, len(one.rows),
                       one.count, seen.get((key.data, name), ""))  # fmt: skip


def _units(result: Result, meta: TaskMeta) -> dict[Key, dict[str, Score]]:
    if meta.name not in WHOLE:
        return main_units(result.scores, meta)
    main = (meta.name, meta.main_score)
    return {key: column for key, column in result.scores.items() if (key.task, key.metric) == main}


def main() -> None:
    """Print the boards and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    try:
        result = opened([arguments.run])
    except LogfmError as error:
        raise SystemExit(str(error)) from error
    print(boards(result, result.boards))
    fewer, known = unknown(result)
    if fewer:
        print(f"\nWithout {', '.join(known)}:\n\n{boards(result, fewer)}")
    if arguments.csv is not None:
        with arguments.csv.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows(result))


if __name__ == "__main__":
    main()
