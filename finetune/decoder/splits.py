"""Cases in training, validation and test by whole groups; and label noise."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from logfm.corpus.templates import template_hashes
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Answer, Case
from logfm.finetune.decoder.cases import CaseSet
from logfm.finetune.decoder.labelling import NORMAL, REASON, VERDICT

TEST = "test"
_BESIDE = re.compile(r"^(?:\+\d+s )?(?:HOST\d+ )?| x\d+$")


@dataclass(frozen=True)
class CaseSplit:
    """Cases that no group, no event and no positive but for its values lies in two of (test against the others).

    Where chunks begin makes no difference to that: the lines that tell a positive, which no normal case has, are not
    all in a test positive.
    """

    train: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    removed: int
    """Positives of training and validation that are a test case but for their values."""

    def __iter__(self) -> Iterator[tuple[Case, ...]]:
        """Training, validation and test."""
        return iter((self.train, self.validation, self.test))


def split(cases: CaseSet, fold: int = 0, folds: int = 5) -> CaseSplit:
    """Fold `fold` of `folds`: whole groups, each source's spread evenly over the folds.

    With the data set's own split there is one fold.

    Raises:
        UserError: no such fold, too few groups, or no split that the data set gives.
    """
    if not 0 <= fold < folds:
        raise UserError(f"no fold {fold} of {folds}")
    rng = np.random.default_rng(cases.seed)
    groups = _shuffled(cases.cases, rng)
    test = (
        _given(cases, fold)
        if cases.given_split
        else {name for place, name in enumerate(groups) if place % folds == fold}
    )
    rest = [name for name in groups if name not in test]
    count = max(1, round(len(rest) * cases.validation))
    # Every so many-th, so that each source has its share.
    validation = {rest[int(place)] for place in np.linspace(0, len(rest) - 1, count)} if len(rest) > 1 else set()
    parts = [
        [case for case in cases.cases if case.group in chosen] for chosen in (set(rest) - validation, validation, test)
    ]
    if not all(parts):
        raise UserError("too few groups for this split", f"{len(groups)} groups, {folds} folds")
    copied = _copied(cases.cases, parts[2])
    train, tune = ([case for case in part if case.case_id not in copied] for part in parts[:2])
    removed = len(parts[0]) + len(parts[1]) - len(train) - len(tune)
    found = CaseSplit(tuple(train), tuple(tune), tuple(parts[2]), removed)
    _assert_disjoint(found)
    assert not _copied((*train, *tune, *(case for case in cases.cases if not _positive(case))), found.test)
    return found


def flip(cases: Sequence[Case], share: float, seed: int) -> tuple[Case, ...]:
    """The cases with wrong labels in so large a share of them: another answer that occurs, each as likely."""
    answers = {_labels(case.answer): case.answer for case in cases}
    if share <= 0 or len(answers) < 2:
        return tuple(cases)
    rng = np.random.default_rng(seed)
    wrong = set(rng.choice(len(cases), size=round(share * len(cases)), replace=False).tolist())
    keys = sorted(answers)
    found = []
    for place, case in enumerate(cases):
        if place in wrong:
            others = [key for key in keys if key != _labels(case.answer)]
            case = replace(case, answer=answers[others[int(rng.integers(len(others)))]])
        found.append(case)
    return tuple(found)


def _labels(given: Answer) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """An answer's labels, comparable; a reason is none."""
    return tuple(sorted((name, labels) for name, labels in given.items() if name != REASON))


def _shuffled(cases: Sequence[Case], rng: np.random.Generator) -> list[str]:
    """The groups in an order drawn by seed, one source after the other."""
    by_source: dict[str, set[str]] = {}
    for case in cases:
        by_source.setdefault(case.source, set()).add(case.group)
    found = []
    for source in sorted(by_source):
        names = sorted(by_source[source])
        found += [names[place] for place in rng.permutation(len(names)).tolist()]
    return found


def _given(cases: CaseSet, fold: int) -> set[str]:
    test = {name for name, part in cases.parts.items() if part == TEST}
    if not test or fold:
        raise UserError(
            "the data gives no split of its own" if not test else f"the data's own split has no fold {fold}"
        )
    return test


def _copied(cases: Sequence[Case], test: Sequence[Case]) -> set[str]:
    """The ids of positives that a test positive is like, values aside: as a whole, or in all the lines that tell it."""
    positives = [case for case in cases if _positive(case)]
    normal = set().union(*_line_templates([case for case in cases if not _positive(case)]))
    wanted = [case for case in test if _positive(case)]
    known = set(_templates(wanted))
    holders: dict[int, set[int]] = {}
    for place, lines in enumerate(_line_templates(wanted)):
        for line in lines:
            holders.setdefault(line, set()).add(place)
    found = set()
    for case, whole, lines in zip(positives, _templates(positives), _line_templates(positives), strict=True):
        telling = [holders.get(line, set()) for line in lines - normal]
        if whole in known or (telling and set.intersection(*telling)):
            found.add(case.case_id)
    return found


def _line_templates(cases: Sequence[Case]) -> list[set[int]]:
    """The lines of each case, values aside, without when and where they were and how often."""
    lines = [[_BESIDE.sub("", line) for line in case.text.split("\n")] for case in cases]
    hashes = iter(template_hashes(pa.array([line for some in lines for line in some], pa.string())).tolist())
    return [{next(hashes) for _ in some} for some in lines]


def _templates(cases: Sequence[Case]) -> list[int]:
    found: list[int] = template_hashes(pa.array([case.text for case in cases], pa.string())).tolist()
    return found


def _positive(case: Case) -> bool:
    return case.answer.get(VERDICT) != (NORMAL,)


def _assert_disjoint(found: CaseSplit) -> None:
    parts = (found.train, found.validation, found.test)
    for what in (lambda case: {case.group}, lambda case: set(case.event_ids)):
        sets = [set().union(*map(what, part)) for part in parts]
        assert sum(map(len, sets)) == len(set().union(*sets))
