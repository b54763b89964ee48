"""From a configuration to cases: data sets read, cut into chunks, labelled, written for the model."""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from logfm.configs.schema.cases import CasesConfig, CaseSource, ChunkConfig, EventsSource, SimulatedSource
from logfm.corpus.events import SCHEMA
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Answer, Case, Grammar
from logfm.finetune.decoder.attack import Attack, Labels, load_attack
from logfm.finetune.decoder.chunking import Chunk, chunks, drawn, seed_of
from logfm.finetune.decoder.fields import FieldsSpec, load_fields
from logfm.finetune.decoder.groups import Counts, Group
from logfm.finetune.decoder.labelling import Answering, answer, answering, grammar_of
from logfm.finetune.decoder.limiting import limited
from logfm.finetune.decoder.reading import read_source, stripped
from logfm.finetune.decoder.writing import CountTokens, write

_SENTENCE = 4_000
_CHARACTERS = 2.5
"""Of a token, at least, where nobody counts tokens: logs are dense."""


@dataclass(frozen=True)
class CaseSet:
    """All cases of a configuration."""

    grammar: Grammar
    """With every label that occurs; a model is constrained to that of its training cases (`grammar_of`)."""
    cases: tuple[Case, ...]
    counts: Mapping[str, int]
    """What was left out, by reason; and what was cut."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """The part of a split that a data set itself puts a group in."""
    seed: int = 0
    validation: float = 0.15
    """Share of the groups outside of test that are for validation."""
    given_split: bool = False
    """Whether `parts` says what is test."""


@dataclass(frozen=True)
class Maker:
    """What turns a chunk into a case."""

    config: CasesConfig
    specs: Sequence[FieldsSpec]
    answering: Answering
    count_tokens: CountTokens
    seed: int


def cases(config: CasesConfig, seed: int = 0, count_tokens: CountTokens | None = None) -> CaseSet:
    """Read, cut, label and write all data sets of a configuration; the same seed gives the same cases.

    `count_tokens` is the model's: a text keeps within `config.writing.tokens` of it. Without it 2.5 characters count as
    a token.

    Raises:
        UserError: data that can't be read, an unknown technique where those are refused, or no case at all.
    """
    _check_columns(config)
    counts = Counts()
    maker = maker_of(config, seed, count_tokens)
    parts: dict[str, str] = {}
    found: dict[str, Case] = {}
    for source in config.sources:
        hide = hidden(config.writing.hide, source.hide)
        for group in read_source(source, counts):
            if group.part is not None:
                parts[_group_name(group)] = group.part
            for case in _cases_of(group, source, maker, hide, counts):
                if found.setdefault(case.case_id, case) is not case:
                    counts["cases that are there twice"] += 1
    counts.update(maker.answering.labels.counts)
    kept = limited(list(found.values()), config.limits, seed, counts)
    if not kept:
        raise UserError("the data gives no case", config.task, f"Left out: {_told(counts)}.")
    counts["cases that were cut to fit"] = sum(case.left_out > 0 for case in kept)
    counts["characters that were cut"] = sum(case.left_out for case in kept)
    return CaseSet(
        grammar_of(kept, config.task),
        tuple(kept),
        {name: count for name, count in sorted(counts.items()) if count},
        parts,
        seed,
        config.validation,
        config.given_split,
    )


def hidden(*patterns: Sequence[str]) -> re.Pattern[str] | None:
    """What gives a label away, as one expression; case doesn't count."""
    found = [pattern for some in patterns for pattern in some]
    return re.compile("|".join(found), re.IGNORECASE) if found else None


def maker_of(config: CasesConfig, seed: int, count_tokens: CountTokens | None) -> Maker:
    """What cases are made with; see `cases`.

    Raises:
        UserError: a field selection, threat classes or an ATT&CK release that can't be read.
    """
    labels = Labels(load_attack(config.attack), config.attack)
    return Maker(config, _specs(config), answering(config, labels), count_tokens or _rough, seed)


def attack_of(config: CasesConfig) -> Attack:
    """The ATT&CK release of a configuration, for parents and tactics.

    Raises:
        UserError: as `load_attack`.
    """
    return load_attack(config.attack)


def _specs(config: CasesConfig) -> Sequence[FieldsSpec]:
    """How events are written; a report's sentence has no fields."""
    return [FieldsSpec(shape="line", line=_SENTENCE)] if config.task == "text" else load_fields(config.writing.fields)


def _check_columns(config: CasesConfig) -> None:
    named = [*config.chunk.by]
    for source in config.sources:
        named += source.by if isinstance(source, SimulatedSource) else ()
        named += source.group if isinstance(source, EventsSource) else ()
    for name in named:
        if name not in SCHEMA.names:
            raise UserError("no such column of an event", name, f"Choose of {', '.join(SCHEMA.names)}.")


def _rough(text: str) -> int:
    return -int(-len(text) // _CHARACTERS)


def _group_name(group: Group) -> str:
    return f"{group.source}:{group.name}"


def _cases_of(
    group: Group, source: CaseSource, maker: Maker, hide: re.Pattern[str] | None, counts: Counts
) -> Iterator[Case]:
    task = maker.config.task
    normal = task == "chunks" or (task == "triage" and maker.config.benign)
    found = chunks(group, chunk_config(maker.config), counts)
    if not normal:
        counts["normal chunks, which the task doesn't ask for"] += sum(not one.suspicious for one in found)
    for chunk in drawn(found, group, source, normal, maker.seed, counts):
        made = answer(chunk.events, maker.answering, counts)
        if made is None:
            continue
        case = made_case(group, chunk, made, getattr(source, "drop", ()), maker, hide)
        if case is None:
            counts["cases whose fields say nothing"] += 1
        else:
            yield case


def chunk_config(config: CasesConfig) -> ChunkConfig:
    """How events become cases: triage and text look at one at a time."""
    return ChunkConfig(events=1, by=config.chunk.by) if config.task in ("triage", "text") else config.chunk


def made_case(
    group: Group, chunk: Chunk, made: Answer, drop: Collection[str], maker: Maker, hide: re.Pattern[str] | None
) -> Case | None:
    """A chunk as a case with that answer; None where nothing of it is written.

    Fields in `drop` are taken out, what matches `hide` becomes X.
    """
    ids = tuple(one.event.event_id for one in chunk.events)
    case_id = hashlib.blake2b("\0".join(ids).encode(), digest_size=12).hexdigest()
    events = [stripped(one.event, drop) for one in chunk.events]
    config = maker.config.writing
    if maker.config.task == "text":  # nobody's hosts and users stand in a published report
        config = config.model_copy(update={"identity": "kept"})
    written = write(events, maker.specs, config, hide, maker.count_tokens, seed_of(str(maker.seed), case_id))
    if not written.text.strip():
        return None
    return Case(
        case_id,
        _group_name(group),
        group.source,
        written.text,
        _head(chunk, maker.config),
        ids,
        made,
        group.labelled_by,
        written.left_out,
    )


def _head(chunk: Chunk, config: CasesConfig) -> dict[str, str]:
    if config.task == "text":
        return {}
    if config.task == "triage":
        product = chunk.events[0].product
        return {"product": product} if product else {}
    # The session's id would tell which session it is, and with it the label.
    return {"session": "S1", "chunk": str(chunk.number), "events": str(len(chunk.events))}


def _told(counts: Counts) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common(3)) or "nothing"
