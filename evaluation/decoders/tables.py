"""Results as rows: figures with intervals, differences to rivals with their tests, Markdown and layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logfm.evaluation.decoders.comparing import Judge, McNemar, mcnemar
from logfm.evaluation.decoders.guesses import Fold, Guess
from logfm.evaluation.decoders.running import Results
from logfm.evaluation.stats import Difference, Estimate, holm
from logfm.finetune.decoder.answers import NONE, Case, Grammar, Slot
from logfm.finetune.decoder.navigator import error_layer, prediction_layer
from logfm.finetune.decoder.parsing import is_technique_set
from logfm.finetune.decoder.scoring import ceiling, confusions, right_answers, sets_seen

COLUMNS = {
    "one": ("accuracy", "precision", "recall", "f1", "mcc", "attack_f1", "alert_f1", "alert_mcc", "pr_auc",
            "parent/exact", "invalid", "wrong", "majority"),
    "set": ("exact", "overlap", "jaccard", "micro_f1", "macro_f1", "parent/jaccard", "parent/micro_f1",
            "tactic/jaccard", "tactic/micro_f1", "invalid"),
    "text": ("rouge_l",),
}  # fmt: skip
"""What a table shows of a slot, if the figure is there."""

CEILINGS = {"one": ("accuracy",), "set": ("exact", "overlap", "jaccard", "micro_f1"), "text": ()}
"""What nobody who learns from train can be better at than who knows the truth and has the labels of train alone. Means
over labels and coarser levels have no such bound: a sub-technique that train lacks may be met by its sibling."""

TESTED = {
    "one": ("accuracy", "f1", "attack_f1", "mcc", "alert_f1", "alert_mcc"),
    "set": ("exact", "jaccard", "micro_f1"),
    "text": (),
}
"""What two contestants are compared on."""


@dataclass(frozen=True, eq=False)
class Row:
    """One contestant, read in one way."""

    contestant: str
    mode: str
    folds: int
    cases: int
    groups: int
    figures: Mapping[str, Estimate]
    seconds: float


@dataclass(frozen=True)
class Versus:
    """One contestant against another on a figure; `p` is adjusted by Holm over the figures against this rival."""

    ours: str
    theirs: str
    figure: str
    difference: Difference
    p: float
    mcnemar: McNemar | None
    """Of the slot, letter for letter right or not."""


def pooled(results: Results, name: str, mode: str, folds: Sequence[Fold]) -> list[Guess]:
    """A contestant's guesses over folds, one after another."""
    return [guess for fold in folds for guess in results.cells[name, fold.name].guesses[mode]]


def cases_of(folds: Sequence[Fold]) -> list[Case]:
    """The test cases of folds, one after another."""
    return [case for fold in folds for case in fold.test]


def judge_of(folds: Sequence[Fold], tactics: Mapping[str, Sequence[str]], resamples: int = 1000) -> Judge:
    """A judge of all test cases of folds; a slot's labels are those of all the folds."""
    return Judge.of(cases_of(folds), merged([fold.grammar for fold in folds]), tactics, resamples)


def merged(grammars: Sequence[Grammar]) -> Grammar:
    """The slots of the first with the labels of all, in the order of their first occurrence."""
    slots = []
    for place, slot in enumerate(grammars[0].slots):
        labels = dict.fromkeys(label for grammar in grammars for label in grammar.slots[place].labels)
        slots.append(Slot(slot.name, slot.kind, tuple(labels)))
    return Grammar(tuple(slots))


def table(results: Results, tactics: Mapping[str, Sequence[str]], resamples: int = 1000) -> list[Row]:
    """A row for every contestant and way of reading, over the folds that it has done."""
    rows: list[Row] = []
    judges: dict[tuple[str, ...], Judge] = {}
    for name in dict.fromkeys(contestant for contestant, _ in results.cells):
        folds = results.folds_of([name])
        judge = judges.setdefault(tuple(fold.name for fold in folds), judge_of(folds, tactics, resamples))
        cells = [results.cells[name, fold.name] for fold in folds]
        for mode in cells[0].guesses:
            figures = judge.figures(pooled(results, name, mode, folds))
            groups = judge.draws.shape[1]
            seconds = sum(cell.seconds for cell in cells)
            rows.append(Row(name, mode, len(folds), len(judge.cases), groups, figures, seconds))
    return rows


def ceiling_row(folds: Sequence[Fold], resamples: int = 1000) -> Row:
    """The truth as far as its labels occur in their fold's train: who learns from it can't be better."""
    guesses = []
    for fold in folds:
        known = {slot.name: {label for case in fold.train for label in case.answer[slot.name]} for slot in
                 fold.grammar.slots}  # fmt: skip
        for case in fold.test:
            answer = {}
            for slot in fold.grammar.slots:
                met = tuple(label for label in case.answer[slot.name] if label in known[slot.name])
                # Where one label has to be given, any other is as wrong.
                answer[slot.name] = met or ((min(known[slot.name]),) if slot.kind == "one" else ())
            guesses.append(Guess(case.case_id, answer))
    judge = judge_of(folds, {}, resamples)
    wanted = {f"{slot.name}/{name}" for slot in judge.grammar.slots for name in CEILINGS[slot.kind]}
    figures = {name: one for name, one in judge.figures(guesses).items() if name in wanted}
    return Row("ceiling", "", len(folds), len(judge.cases), judge.draws.shape[1], figures, 0.0)


def versus(
    results: Results,
    ours: tuple[str, str],
    rivals: Sequence[tuple[str, str]],
    tactics: Mapping[str, Sequence[str]],
    resamples: int = 1000,
) -> list[Versus]:
    """One contestant (its name and way of reading) against others, each on the folds that both have done."""
    found: list[Versus] = []
    for rival in rivals:
        folds = results.folds_of([ours[0], rival[0]])
        if not folds:
            continue
        judge = judge_of(folds, tactics, resamples)
        mine, other = (pooled(results, *one, folds) for one in (ours, rival))
        figures, others = judge.figures(mine), judge.figures(other)
        for slot in judge.grammar.slots:
            test = _mcnemar(judge, slot, mine, other) if slot.kind != "text" else None
            for name in TESTED[slot.kind]:
                figure = f"{slot.name}/{name}"
                if figure in figures and figure in others:
                    one = judge.difference(figures[figure], others[figure])
                    found.append(Versus(label(*ours), label(*rival), figure, one, one.p, test))
    return [one for rival in dict.fromkeys(one.theirs for one in found) for one in _adjusted(found, rival)]


def _adjusted(found: Sequence[Versus], rival: str) -> list[Versus]:
    chosen = [one for one in found if one.theirs == rival]
    return [replace(one, p=p) for one, p in zip(chosen, holm([one.p for one in chosen]), strict=True)]


def _mcnemar(judge: Judge, slot: Slot, mine: Sequence[Guess], other: Sequence[Guess]) -> McNemar:
    first, second = (right_answers(judge.cases, [one.answer for one in guesses], slot) for guesses in (mine, other))
    return mcnemar(first, second)


def label(name: str, mode: str) -> str:
    """What tables call a contestant that is read in one way."""
    return f"{name}, {mode}" if mode else name


def ceilings(folds: Sequence[Fold]) -> dict[str, dict[str, float]]:
    """For each slot but texts the share of test cases whose labels their fold's train has (`ceiling`: exact match
    can't be higher), and whose labels it has together in one case (`seen`)."""
    sizes = [len(fold.test) for fold in folds]
    return {
        slot.name: {
            name: sum(share(fold.train, fold.test, slot.name) * size for fold, size in zip(folds, sizes, strict=True))
            / sum(sizes)
            for name, share in (("ceiling", ceiling), ("seen", sets_seen))
        }
        for slot in folds[0].grammar.slots
        if slot.kind != "text"
    }


def confusion_tables(folds: Sequence[Fold], guesses: Sequence[Guess]) -> dict[str, dict[str, dict[str, int]]]:
    """For each slot with one label: {true: {given: cases}}."""
    cases = cases_of(folds)
    return {
        slot.name: confusions(
            [case.answer[slot.name][0] for case in cases],
            [None if one.answer is None else one.answer[slot.name][0] for one in guesses],
        )
        for slot in folds[0].grammar.slots
        if slot.kind == "one"
    }


def layers(folds: Sequence[Fold], guesses: Sequence[Guess], name: str, attack: str) -> dict[str, dict[str, Any]]:
    """ATT&CK Navigator layers of predictions and of errors, for each slot of techniques."""
    cases = cases_of(folds)
    found: dict[str, dict[str, Any]] = {}
    for slot in folds[0].grammar.slots:
        if slot.kind == "text" or not is_technique_set(slot.labels):
            continue
        truth = [set(case.answer[slot.name]) - {NONE} for case in cases]
        given = [set() if one.answer is None else set(one.answer[slot.name]) - {NONE} for one in guesses]
        found[f"{slot.name}_predictions"] = prediction_layer(f"{name}: predictions", given, attack)
        found[f"{slot.name}_errors"] = error_layer(f"{name}: errors", truth, given, attack)
    return found


def markdown(rows: Sequence[Row], grammar: Grammar) -> str:
    """A table a slot; a figure stands with its interval."""
    parts = []
    for slot in grammar.slots:
        columns = [name for name in COLUMNS[slot.kind] if any(f"{slot.name}/{name}" in row.figures for row in rows)]
        lines = [f"| {slot.name} | folds | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
        for row in rows:
            cells = (_cell(row.figures.get(f"{slot.name}/{name}")) for name in columns)
            lines.append(f"| {label(row.contestant, row.mode)} | {row.folds} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def learning_markdown(results: Results) -> str:
    """For contestants that tell it what they are worth on training cases and on validation, and their first and last
    loss; empty where none does. Low on both is underfitted."""
    lines = ["| learnt | slot | worth on train | on validation | losses, first and last tenth of the steps |",
             "|---|---|---|---|---|"]  # fmt: skip
    for (name, fold), cell in results.cells.items():
        told = cell.figures
        losses = " → ".join(f"{one:.3f}" for one in told.get("training", {}).get("losses", ())) or "–"
        for slot, train in told.get("train", {}).items():
            validation = told.get("validation", {}).get(slot)
            shown = "–" if validation is None else f"{validation:.3f}"
            lines.append(f"| {name}, {fold} | {slot} | {train:.3f} | {shown} | {losses} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def versus_markdown(found: Sequence[Versus]) -> str:
    """Differences with their tests."""
    lines = ["| ours | rival | figure | difference | p (groups, Holm) | McNemar: only ours / only theirs right | p |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in found:
        test = one.mcnemar
        counts = f"{test.ours_only} / {test.theirs_only} | {test.p:.2g}" if test else "– | –"
        difference = f"{one.difference.value:+.3f} [{one.difference.low:+.3f}, {one.difference.high:+.3f}]"
        lines.append(f"| {one.ours} | {one.theirs} | {one.figure} | {difference} | {one.p:.2g} | {counts} |")
    return "\n".join(lines)


def document(rows: Sequence[Row], found: Sequence[Versus]) -> dict[str, Any]:
    """Both tables as JSON."""
    return {
        "rows": [
            {"contestant": row.contestant, "mode": row.mode, "folds": row.folds, "cases": row.cases,
             "groups": row.groups, "seconds": round(row.seconds, 1),
             "figures": {name: _triple(one) for name, one in row.figures.items()}}
            for row in rows
        ],
        "versus": [
            {"ours": one.ours, "theirs": one.theirs, "figure": one.figure, "difference": _json(one.difference.value),
             "low": _json(one.difference.low), "high": _json(one.difference.high), "p": _json(one.p),
             "mcnemar": None if one.mcnemar is None else
             {"ours_only": one.mcnemar.ours_only, "theirs_only": one.mcnemar.theirs_only, "p": one.mcnemar.p}}
            for one in found
        ],
    }  # fmt: skip


def _cell(one: Estimate | None) -> str:
    if one is None or one.value != one.value:
        return "–"
    return f"{one.value:.3f} [{one.low:.2f}, {one.high:.2f}]" if one.low == one.low else f"{one.value:.3f}"


def _triple(one: Estimate) -> list[float | None]:
    return [_json(one.value), _json(one.low), _json(one.high)]


def _json(value: float) -> float | None:
    return round(float(value), 4) if value == value else None
