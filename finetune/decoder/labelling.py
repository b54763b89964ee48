"""What the answer to a case is: verdict, techniques with their reason, or threat, technique and severity."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from logfm.configs import find
from logfm.configs.base import Config, parse, read_yaml
from logfm.configs.schema.cases import CasesConfig, Task
from logfm.finetune.decoder.answers import BENIGN, NONE, Answer, Case, Grammar, Slot
from logfm.finetune.decoder.attack import Attack, Labels
from logfm.finetune.decoder.groups import Counts, Labelled
from logfm.finetune.decoder.selecting import shorten

NORMAL, SUSPICIOUS = "normal", "suspicious"
VERDICT, TECHNIQUES, REASON = "verdict", "techniques", "reason"
THREAT, TECHNIQUE, SEVERITY = "threat", "technique", "severity"
_SLOTS: dict[Task, tuple[Slot, ...]] = {
    "chunks": (Slot(VERDICT, "one"),),
    "techniques": (Slot(TECHNIQUES, "set"), Slot(REASON, "text")),
    "text": (Slot(TECHNIQUES, "set"),),
    "triage": (Slot(THREAT, "one"), Slot(TECHNIQUE, "one"), Slot(SEVERITY, "one")),
}
_LONGEST_REASON = 80


class ThreatMap(Config):
    """Which tactic is which threat class, and what severities are called."""

    threats: dict[str, str]
    """Short name of a tactic -> threat class."""

    tactics: dict[str, str] = Field(default_factory=dict)
    """Id of a tactic -> its short name."""

    severities: dict[str, str]
    """A data set's word, in lower case -> severity."""

    benign: str = BENIGN
    """The threat class of what is no alert."""


@dataclass(frozen=True)
class Answering:
    """What answers are made with."""

    task: Task
    labels: Labels
    threats: ThreatMap
    benign: bool

    @property
    def attack(self) -> Attack:
        """The ATT&CK release."""
        return self.labels.attack


def answering(config: CasesConfig, labels: Labels) -> Answering:
    """What answers are made with, the threat classes read from their file.

    Raises:
        UserError: no such file, or one that maps no threats.
    """
    path = find(config.threats)
    return Answering(config.task, labels, parse(ThreatMap, read_yaml(path), path), config.benign)


def answer(events: Sequence[Labelled], made: Answering, counts: Counts) -> Answer | None:
    """The answer to a case of these events; None, and counted, where the data set doesn't say enough."""
    suspicious = [one for one in events if one.suspicious]
    if made.task == "chunks":
        return {VERDICT: (SUSPICIOUS if suspicious else NORMAL,)}
    if made.task == "triage":
        return _triage(events[0], made, counts)
    if not suspicious:
        return None
    techniques = tuple(sorted(made.labels.resolve(dict.fromkeys(one for it in suspicious for one in it.techniques))))
    if not techniques:
        counts["cases without a technique"] += 1
        return None
    if made.task == "text":
        return {TECHNIQUES: techniques}
    return {TECHNIQUES: techniques, REASON: (_reason(suspicious, techniques, made.attack),)}


def grammar_of(cases: Iterable[Case], task: Task) -> Grammar:
    """The lines of an answer with the labels that some cases have, sorted: give it training cases to decode with.

    A set may be empty where a case's is, and as large as the largest.
    """
    found: dict[str, set[str]] = {}
    sizes: dict[str, set[int]] = {}
    for case in cases:
        for name, labels in case.answer.items():
            found.setdefault(name, set()).update(labels)
            sizes.setdefault(name, set()).add(len(labels))
    fixed = {VERDICT: (NORMAL, SUSPICIOUS)}

    def filled(slot: Slot) -> Slot:
        labels = fixed.get(slot.name) or tuple(sorted(found.get(slot.name, ())))
        if slot.kind != "set":
            return slot if slot.kind == "text" else Slot(slot.name, slot.kind, labels)
        known = sizes.get(slot.name, {1})
        return Slot(slot.name, slot.kind, labels, 0 in known, max(1, *known))

    return Grammar(tuple(map(filled, _SLOTS[task])))


def _reason(events: Sequence[Labelled], techniques: Sequence[str], attack: Attack) -> str:
    """What the data set says of most of the events, else the techniques' names; one line without commas."""
    given = Counter(one.reason for one in events if one.reason)
    text = given.most_common(1)[0][0] if given else ", ".join(map(attack.name, techniques))
    return shorten(" ".join(text.split()), _LONGEST_REASON)


def _triage(one: Labelled, made: Answering, counts: Counts) -> Answer | None:
    if not one.suspicious:
        if not made.benign:
            counts["entries that are no alert"] += 1
            return None
        return {THREAT: (made.threats.benign,), TECHNIQUE: (NONE,), SEVERITY: (NONE,)}
    techniques = made.labels.resolve(one.techniques)
    severity = made.threats.severities.get(one.severity.strip().lower())
    threat = _threat(one, techniques, made)
    for name, value in (("technique", techniques), ("severity", severity), ("tactic", threat)):
        if not value:
            counts[f"alerts without a known {name}"] += 1
            return None
    return {THREAT: (str(threat),), TECHNIQUE: techniques[:1], SEVERITY: (str(severity),)}


def _threat(one: Labelled, techniques: Sequence[str], made: Answering) -> str | None:
    """The class of the first tactic that the data set names, else of its first technique's first tactic."""
    known: Mapping[str, str] = made.threats.tactics
    tactics = [known.get(name.upper(), name) for name in one.tactics]
    tactics += [name for technique in techniques for name in made.attack.tactics(technique)]
    return next((made.threats.threats[name] for name in tactics if name in made.threats.threats), None)
