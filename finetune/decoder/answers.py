"""What a decoder head may answer: named slots with their labels, written one a line."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Answer = Mapping[str, tuple[str, ...]]
"""For each slot its labels: one for "one" and "text", any number for "set", in the grammar's order."""

LabelledBy = Literal["event", "capture", "sigma", "rule", "sentence"]
"""Where a label comes from: the event's own, the whole capture's, Sigma rules (that told which of a capture's chunks
are suspicious), the rule that a test belongs to, or a report's annotator."""

NONE = "none"
"""How an empty set is written."""

BENIGN = "benign"
"""The threat class of what is no alert, unless a table of threat classes calls it otherwise."""


@dataclass(frozen=True)
class Slot:
    """One line of an answer."""

    name: str
    kind: Literal["one", "set", "text"]
    labels: tuple[str, ...] = ()
    """What may stand there; a text is free."""
    empty: bool = False
    """Whether a set may have no label: only where a training case's has none."""
    most: int | None = None
    """Labels of a set at most: as many as the largest of training has."""


@dataclass(frozen=True)
class Grammar:
    """The lines of an answer, in order."""

    slots: tuple[Slot, ...]

    def write(self, answer: Answer) -> str:
        """An answer as the model is to write it: `name: label` or `name: label, label`, one slot a line."""
        return "\n".join(f"{slot.name}: {', '.join(answer[slot.name]) or NONE}" for slot in self.slots)


@dataclass(frozen=True)
class Case:
    """One thing to classify, as the model reads it."""

    case_id: str
    """Unique; made of the ids of its events."""

    group: str
    """Archive, file, rule or session: what a split keeps together, and what intervals are clustered by."""

    source: str
    """Product or data set."""

    text: str
    """The events as they are written for the model: fields selected, identifying values masked or varied."""

    head: Mapping[str, str]
    """What stands above the events: session, chunk number, events."""

    event_ids: tuple[str, ...]
    answer: Answer
    labelled_by: LabelledBy = "event"
    """Sigma is judged as a detector where its rules are not the label."""

    left_out: int = 0
    """Characters of the events' selected fields that didn't fit."""


def head_line(case: Case) -> str:
    """What stands above the events, in one line; empty where nothing does."""
    return ", ".join(f"{name}: {value}" for name, value in case.head.items())


def whole_text(case: Case) -> str:
    """All that is written of a case: its head line, where there is one, above its text."""
    return "\n".join(filter(None, [head_line(case), case.text]))
