"""What a run of the suite found, as tables for RESULTS.md: a board a task, and every data set in a CSV file.

Usage: python -m benchmarks.eval_tables RUN [--csv FILE]
RUN is the folder of `logfm eval run`. Boards are the leaderboard's: means over data sets for results, 95 % intervals,
ranks in which what cannot be told apart shares one. The CSV file has the main score of every task on every data set, by
encoder: means over seeds with intervals, and the share of the data set's templates that the encoder was trained on.
"""

import argparse
import csv
import math
from collections.abc import Iterator
from pathlib import Path

from logfm.errors import LogfmError
from logfm.evaluation.suite.leaderboard import Board, Standing, main_units
from logfm.evaluation.suite.main import Result, opened
from logfm.evaluation.suite.results import OK
from logfm.evaluation.suite.runner import CONTAMINATION
from logfm.pretrain.card_results import table

COLUMNS = ("task", "metric", "data", "role", "condition", "encoder", "value", "low", "high", "seeds", "count", "seen")


def boards(result: Result) -> str:
    """Markdown: a row a board, a column a contestant, the best first by mean rank."""
    standings = {(board.name, one.encoder): one for board in result.boards for one in board.standings}
    names = list(dict.fromkeys(name for _, name in standings))
    asked = {row.encoder for row in result.rows if row.role == "encoder"}
    shown = sorted(names, key=lambda name: name not in asked)
    rows = [
        (_label(board), *(_cell(board, standings.get((board.name, name))) for name in shown)) for board in result.boards
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
        for key, column in main_units(result.scores, meta).items():
            for name, one in column.items():
                first = one.rows[0]
                values = (f"{value:.6g}" for value in (one.value, one.estimate.low, one.estimate.high))
                yield (key.task, key.metric, key.data, first.data_role, key.condition, name, *values, len(one.rows),
                       one.count, seen.get((key.data, name), ""))  # fmt: skip


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
    print(boards(result))
    if arguments.csv is not None:
        with arguments.csv.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows(result))


if __name__ == "__main__":
    main()
