"""Sigma rules as a detector: learnt from nothing. Scored only where the labels did not come from Sigma."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from logfm.errors import UserError
from logfm.evaluation.decoders.contestants import Majority, with_reasons
from logfm.evaluation.decoders.deciding import decide
from logfm.evaluation.decoders.guesses import Fold, Guess, Guesses
from logfm.finetune.decoder.answers import Case, Slot
from logfm.finetune.decoder.parsing import is_technique_set

LEVELS = ("informational", "low", "medium", "high", "critical")


@dataclass(frozen=True)
class Fired:
    """What the rules say of an event: the highest level as a number from 1 (informational) to 5, and techniques."""

    level: int
    techniques: frozenset[str]


Hits = Mapping[str, Fired]
"""By event id; events on which nothing fired are not in it."""


def hits(batches: Iterable[pa.RecordBatch], rules: Path, wanted: Collection[str]) -> dict[str, Fired]:
    """Run rules over the events whose ids are wanted; `batches` hold what `logfm.corpus.rules.NEEDED` names.

    Raises:
        UserError: no rules there, or the extra `rules` is missing.
    """
    from logfm.corpus.rules import fired, load_rules

    ids = pa.array(sorted(wanted), pa.string())
    chosen = (batch.filter(pc.is_in(batch.column("event_id"), value_set=ids)) for batch in batches)
    found: dict[str, Fired] = {}
    for batch in fired(chosen, load_rules(rules)):
        for row in batch.to_pylist():
            before = found.get(row["event_id"], Fired(0, frozenset()))
            level = LEVELS.index(row["level"]) + 1 if row["level"] in LEVELS else 1
            found[row["event_id"]] = Fired(max(before.level, level), before.techniques | set(row["techniques"]))
    return found


@dataclass(frozen=True, eq=False)
class SigmaDetector:
    """A chunk is suspicious from some level on, which validation chooses; its techniques are those of the rules."""

    run: Callable[[Sequence[Case]], Hits]
    """Hits on the events of cases; asked for once a fold."""
    about: Mapping[str, Any] = field(default_factory=dict)
    name: str = "Sigma"

    @property
    def identity(self) -> Mapping[str, Any]:
        """The rules."""
        return {"kind": "sigma", "version": 1, **self.about}

    def guess(self, fold: Fold, seed: int) -> Guesses:
        """Answers from the rules; a slot that rules say nothing of has the most frequent answer of train.

        Raises:
            UserError: no rule fired on anything.
        """
        known = self.run((*fold.validation, *fold.test))
        if not known:
            raise UserError("no rule fired on an event of these cases")
        parts = [[_of(case, known) for case in cases] for cases in (fold.validation, fold.test)]
        common = Majority().guess(fold, seed)[""]
        answers = [dict(guess.answer or {}) for guess in common]
        scores: list[dict[str, dict[str, float]]] = [{} for _ in fold.test]
        for slot in fold.grammar.slots:
            if is_technique_set(slot.labels) and slot.kind == "set":
                for answer, one in zip(answers, parts[1], strict=True):
                    answer[slot.name] = named(slot, one.techniques)
            elif slot.kind == "one" and "suspicious" in slot.labels and len(slot.labels) == 2:
                levels = [np.array([_margins(slot, one) for one in part]).reshape(-1, 2) for part in parts]
                decision = decide(slot, levels[0], [case.answer[slot.name] for case in fold.validation])
                for place, labels in enumerate(decision.labels(levels[1])):
                    answers[place][slot.name] = labels
                    scores[place][slot.name] = dict(zip(slot.labels, levels[1][place].tolist(), strict=True))
        complete = zip((case.case_id for case in fold.test), with_reasons(fold, answers), scores, strict=True)
        return {"": [Guess(case_id, answer, scores=one) for case_id, answer, one in complete]}


def by_sigma(case: Case) -> bool:
    """Whether a case's labels come from Sigma's rules, which says nothing of rules that are judged by them."""
    return case.labelled_by == "sigma" or case.source == "sigma"


def named(slot: Slot, techniques: Iterable[str]) -> tuple[str, ...]:
    """The rules' techniques as labels of a slot: their parents where only these are labels, others left out."""
    found = {one if one in slot.labels else one.partition(".")[0] for one in techniques}
    return tuple(label for label in slot.labels if label in found)


def _of(case: Case, known: Hits) -> Fired:
    found = [known[one] for one in case.event_ids if one in known]
    techniques = frozenset().union(*(one.techniques for one in found))
    return Fired(max((one.level for one in found), default=0), techniques)


def _margins(slot: Slot, one: Fired) -> list[float]:
    return [float(one.level) if label == "suspicious" else 0.0 for label in slot.labels]
