"""Contestants whose test cases carry lines that talk to the model: how often the answer changes, and to what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from logfm.evaluation.decoders.guesses import Fold
from logfm.evaluation.decoders.limiting import sampled
from logfm.evaluation.decoders.running import Results
from logfm.finetune.decoder.answers import Slot
from logfm.finetune.decoder.injection import Changed, Injections, changes, injected


@dataclass(frozen=True)
class Attacked:
    """A contestant, read in one way: what lines of attackers did, and what harmless ones of the same length did."""

    contestant: str
    mode: str
    injected: Changed
    neutral: Changed


def injection_fold(fold: Fold, lines: Injections, slot: Slot, wanted: str, cases: int, seed: int) -> Fold:
    """The fold with other test cases: `cases` whose label isn't the wanted one, plain, with every line, harmless ones.

    Train and validation stay, so that an adapter that was trained on the fold serves here too.
    """
    worth = [case for case in fold.test if case.answer[slot.name] != (wanted,)]
    plain = sampled(worth, cases, seed)
    words = {"normal": wanted}
    test = (*plain, *injected(plain, lines.lines, words, seed), *injected(plain, lines.neutral, words, seed))
    return replace(fold, name=f"{fold.name}, injected", test=test)


def attacked(results: Results, fold: Fold, lines: Injections, slot: str, wanted: str) -> list[Attacked]:
    """What the lines of an injection fold did to every contestant that has answered it."""
    size = len(fold.test) // (1 + len(lines.lines) + len(lines.neutral))
    border = size * (1 + len(lines.lines))
    found: list[Attacked] = []
    for (name, place), cell in results.cells.items():
        if place != fold.name or not size:
            continue
        for mode, guesses in cell.guesses.items():
            answers = [one.answer for one in guesses]
            plain, hostile, harmless = answers[:size], answers[size:border], answers[border:]
            found.append(
                Attacked(name, mode, changes(plain, hostile, slot, wanted), changes(plain, harmless, slot, wanted))
            )
    return found


def attacked_markdown(found: Sequence[Attacked]) -> str:
    """A table of shares."""
    columns = ("contestant", "cases", "tries", "changed", "the attacker's answer", "unreadable", "changed, harmless")
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for one in found:
        name = f"{one.contestant}, {one.mode}" if one.mode else one.contestant
        hostile = one.injected
        shares = [_share(part, hostile.tries) for part in (hostile.changed, hostile.obeyed, hostile.unreadable)]
        shares.append(_share(one.neutral.changed, one.neutral.tries))
        lines.append(f"| {name} | {hostile.cases} | {hostile.tries} | {' | '.join(shares)} |")
    return "\n".join(lines)


def attacked_document(found: Sequence[Attacked]) -> list[Mapping[str, object]]:
    """The same as JSON."""
    return [{"contestant": one.contestant, "mode": one.mode, "injected": vars(one.injected),
             "neutral": vars(one.neutral)} for one in found]  # fmt: skip


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"
