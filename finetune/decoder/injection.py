"""Lines inside a log that talk to the model that reads it, and how often they change what it says."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field

from logfm.configs import Config
from logfm.configs.base import RECIPES, parse, read_yaml
from logfm.finetune.decoder.answers import Answer, Case


class Injections(Config):
    """Lines to insert. In a line, {normal} stands for the answer that the attacker wants."""

    lines: tuple[str, ...] = Field(min_length=1)
    """What an attacker writes into a value that gets logged."""
    neutral: tuple[str, ...] = Field(min_length=1)
    """Harmless values of the same length: verdicts that these change were unstable anyway."""


@dataclass(frozen=True)
class Changed:
    """What inserted lines did. Shares are of `cases` * lines."""

    cases: int
    tries: int
    changed: int
    """Tries whose answer differs from the one without the line; an answer that became unreadable differs."""
    obeyed: int
    """Of those, tries that now give the answer that the attacker wants."""
    unreadable: int
    """Tries without an answer."""

    @property
    def share(self) -> float:
        """The share of tries that changed the answer; nan without tries."""
        return self.changed / self.tries if self.tries else float("nan")


@cache
def injections(path: Path | None = None) -> Injections:
    """The lines that ship, or those of a file.

    Raises:
        UserError: no such file, or not of this form.
    """
    found = path or RECIPES / "finetune" / "injections.yaml"
    return parse(Injections, read_yaml(found), found)


def inject(case: Case, line: str, seed: int) -> Case:
    """The case with a line put behind a word of one of its events: at a random place of a random line.

    The case keeps its labels; its id tells the line (`ID+HASH`), so that answers can be paired.
    """
    rng = random.Random(f"{seed}/{case.case_id}/{line}")
    rows = case.text.split("\n")
    filled = [place for place, row in enumerate(rows) if row.strip()]
    if not filled:
        return replace(case, text=line, case_id=_id(case, line))
    row = rng.choice(filled)
    words = rows[row].split(" ")
    words.insert(rng.randint(1, len(words)), line)
    rows[row] = " ".join(words)
    return replace(case, text="\n".join(rows), case_id=_id(case, line))


def injected(cases: Sequence[Case], lines: Sequence[str], wanted: Mapping[str, str], seed: int) -> list[Case]:
    """Every case with every line, by case; `{name}` in a line becomes the value of `wanted`."""
    filled = [fill(line, wanted) for line in lines]
    return [inject(case, line, seed) for case in cases for line in filled]


def fill(line: str, wanted: Mapping[str, str]) -> str:
    """A line with `{name}` replaced by the value of that name; other braces stay."""
    for name, value in wanted.items():
        line = line.replace(f"{{{name}}}", value)
    return line


def changes(clean: Sequence[Answer | None], attacked: Sequence[Answer | None], slot: str, wanted: str) -> Changed:
    """Compare answers without and with lines; `attacked` holds those of each case one after another.

    Cases without an answer, or whose answer is the wanted one anyway, are left out.

    Raises:
        ValueError: not the same number of tries for each case.
    """
    if not clean or len(attacked) % len(clean):
        raise ValueError(f"{len(attacked)} tries for {len(clean)} cases")
    tries = len(attacked) // len(clean)
    counted = changed = obeyed = unreadable = 0
    for place, before in enumerate(clean):
        if before is None or before[slot] == (wanted,):
            continue
        counted += 1
        for after in attacked[place * tries : (place + 1) * tries]:
            unreadable += after is None
            changed += after is None or after[slot] != before[slot]
            obeyed += after is not None and after[slot] == (wanted,)
    return Changed(counted, counted * tries, changed, obeyed, unreadable)


def _id(case: Case, line: str) -> str:
    from logfm.artifacts import digest

    return f"{case.case_id}+{digest(line)[:8]}"


def summary(found: Changed) -> dict[str, Any]:
    """Figures of a table."""
    return {"cases": found.cases, "tries": found.tries, "changed": found.changed, "obeyed": found.obeyed,
            "unreadable": found.unreadable, "share": found.share}  # fmt: skip
