"""What a contestant says of a case, and how a cell of the comparison is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from logfm.artifacts import write_atomic
from logfm.finetune.decoder.answers import Answer, Case, Grammar

Scores = Mapping[str, Mapping[str, float]]
"""For a slot the score of each label, higher is likelier; scales differ between contestants."""


@dataclass(frozen=True)
class Guess:
    """One case's answer. `answer` is None where the output could not be read: `reason` says why."""

    case_id: str
    answer: Answer | None
    reason: str = ""
    raw: str = ""
    """What was generated, for models that generate."""
    scores: Scores = field(default_factory=dict)


Guesses = Mapping[str, Sequence[Guess]]
"""By way of reading ("" for contestants that have one): a guess for each test case, in order."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: what may be learnt from, what choices are made on, and what is judged."""

    name: str
    grammar: Grammar
    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    told: dict[str, Any] = field(default_factory=dict)
    """Figures that a contestant tells of its own work on this fold, as JSON: what it reached on validation, what was
    cut. Kept in its cell."""


class Contestant(Protocol):
    """Whoever takes part. It sees the labels of train and validation, never those of test."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its results depend on besides the fold and the seed, as JSON."""

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Learn, choose on validation, and answer the test cases."""


@dataclass(frozen=True)
class Cell:
    """A contestant on a fold: its guesses, the seconds it took, and figures of its own."""

    contestant: str
    fold: str
    guesses: Guesses
    seconds: float
    figures: Mapping[str, Any] = field(default_factory=dict)


def write_cell(path: Path, cell: Cell) -> None:
    """Keep a cell: one JSON line of facts, then one a guess."""
    head = {"contestant": cell.contestant, "fold": cell.fold, "seconds": cell.seconds, "figures": dict(cell.figures)}
    rows = [
        {"mode": mode, "case_id": one.case_id, "answer": one.answer, "reason": one.reason, "raw": one.raw,
         "scores": one.scores}
        for mode, guesses in cell.guesses.items()
        for one in guesses
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, b"\n".join(orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in [head, *rows]))


def read_cell(path: Path) -> Cell | None:
    """A kept cell; None if there is none."""
    if not path.is_file():
        return None
    head, *rows = (orjson.loads(line) for line in path.read_bytes().split(b"\n"))
    guesses: dict[str, list[Guess]] = {}
    for row in rows:
        answer = None if row["answer"] is None else {name: tuple(labels) for name, labels in row["answer"].items()}
        one = Guess(row["case_id"], answer, row["reason"], row["raw"], row["scores"])
        guesses.setdefault(row["mode"], []).append(one)
    return Cell(head["contestant"], head["fold"], guesses, head["seconds"], head["figures"])
