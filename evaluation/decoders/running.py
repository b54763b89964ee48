"""Contestants on folds, a cell each: kept when it is done, so that a run that was stopped goes on where it was."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from logfm.artifacts import digest
from logfm.console import say
from logfm.errors import UserError
from logfm.evaluation.decoders.guesses import Cell, Contestant, Fold, read_cell, write_cell
from logfm.finetune.decoder.answers import Case


@dataclass(frozen=True, eq=False)
class Results:
    """The folds, and the cells that are done, by contestant and fold."""

    folds: Sequence[Fold]
    cells: dict[tuple[str, str], Cell]
    left_out: Sequence[str] = ()
    """Cells that time did not allow, or that failed, with the reason."""

    def folds_of(self, names: Iterable[str]) -> list[Fold]:
        """The folds that all of these contestants have done."""
        wanted = list(names)
        return [fold for fold in self.folds if all((name, fold.name) in self.cells for name in wanted)]


def run(
    contestants: Sequence[Contestant],
    folds: Sequence[Fold],
    folder: Path,
    seed: int = 0,
    minutes: float | None = None,
) -> Results:
    """Measure every contestant on every fold, fold by fold; cells of `folder` that were measured before are read.

    With `minutes` no cell is begun after that time. A contestant that is refused (a package that is missing, a fold
    that has nothing for it) is left out, and said.
    """
    cells: dict[tuple[str, str], Cell] = {}
    left_out: list[str] = []
    end = None if minutes is None else time.monotonic() + 60 * minutes
    for fold in folds:
        content = fold_hash(fold)
        for one in contestants:
            path = folder / f"{cell_key(one, content, seed)}.jsonl"
            cell = read_cell(path)
            if cell is None and end is not None and time.monotonic() > end:
                left_out.append(f"{one.name}, {fold.name}: no time")
                continue
            try:
                cell = cell or measure(one, fold, seed, path)
            except UserError as error:
                left_out.append(f"{one.name}, {fold.name}: {error}")
                say(f"left out: {left_out[-1]}")
                continue
            cells[one.name, fold.name] = replace(cell, contestant=one.name, fold=fold.name)
    return Results(folds, cells, left_out)


def part(results: Results, wanted: Callable[[Case], bool], name: str) -> Results:
    """The same results on those of the validation and test cases that are wanted, in folds with `name` behind theirs.

    Nobody answers again, and folds without such a test case are left out. Validation is for who joins.
    """
    folds: list[Fold] = []
    cells: dict[tuple[str, str], Cell] = {}
    for fold in results.folds:
        kept = [wanted(case) for case in fold.test]
        if not any(kept):
            continue
        cut = replace(
            fold,
            name=f"{fold.name}, {name}",
            validation=tuple(filter(wanted, fold.validation)),
            test=tuple(compress(fold.test, kept)),
            told={},
        )
        folds.append(cut)
        for (contestant, place), cell in results.cells.items():
            if place == fold.name:
                guesses = {mode: list(compress(found, kept)) for mode, found in cell.guesses.items()}
                cells[contestant, cut.name] = replace(cell, fold=cut.name, guesses=guesses)
    return Results(folds, cells)


def measure(one: Contestant, fold: Fold, seed: int, path: Path) -> Cell:
    """Measure a cell and keep it."""
    start = time.monotonic()
    fold = replace(fold, told={})
    guesses = one.guess(fold, seed)
    wanted = [case.case_id for case in fold.test]
    for mode, found in guesses.items():
        if [guess.case_id for guess in found] != wanted:
            raise ValueError(f"{one.name} answered other cases ({mode or 'its answers'})")
    cell = Cell(one.name, fold.name, guesses, round(time.monotonic() - start, 2), fold.told)
    write_cell(path, cell)
    say(f"{one.name}, {fold.name}: {cell.seconds:.0f} s, {dict(cell.figures)}")
    return cell


def cell_key(one: Contestant, content: str, seed: int) -> str:
    """The identity of a measurement; two seeds give two cells."""
    return digest({"contestant": dict(one.identity), "fold": content, "seed": seed})[:40]


def fold_hash(fold: Fold) -> str:
    """The identity of a split: what the model reads and the labels, part by part, and the grammar."""
    parts = [[_case(case) for case in part] for part in (fold.train, fold.validation, fold.test)]
    slots = [[slot.name, slot.kind, list(slot.labels)] for slot in fold.grammar.slots]
    return digest({"parts": parts, "grammar": slots})


def _case(case: Case) -> list[object]:
    return [
        case.case_id,
        case.group,
        case.text,
        dict(case.head),
        {name: list(one) for name, one in case.answer.items()},
    ]
