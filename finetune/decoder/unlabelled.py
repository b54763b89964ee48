"""Cases of an input that nobody labelled, cut and written as a head's training cases were."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from logfm.configs.schema.cases import CasesConfig, SimulatedSource
from logfm.corpus.events import Event
from logfm.corpus.streaming import stream
from logfm.errors import UserError
from logfm.finetune.decoder.answers import Case
from logfm.finetune.decoder.cases import Maker, chunk_config, hidden, made_case, maker_of
from logfm.finetune.decoder.chunking import chunks
from logfm.finetune.decoder.groups import Counts, Group, Labelled
from logfm.finetune.decoder.writing import CountTokens


def unlabelled(
    inputs: Sequence[str],
    config: CasesConfig,
    seed: int = 0,
    count_tokens: CountTokens | None = None,
    product: str | None = None,
) -> tuple[Case, ...]:
    """The cases of an INPUT, with an empty answer; all its events are held in memory.

    Chunks are those of the configuration, each session of its own; a triage or text case is one event. `product` is
    what wrote all events, as a table of training cases calls it (`AWS.CloudTrail`); by default it is what the reader
    makes of each, which training may not have seen.

    Raises:
        UserError: the input can't be read, or holds no event.
    """
    maker = maker_of(config, seed, count_tokens)
    hide = hidden(config.writing.hide, *(source.hide for source in config.sources))
    found = tuple(case for group in _groups(inputs, config, product) for case in _cases(group, maker, hide))
    if not found:
        raise UserError("no event to classify", ", ".join(inputs))
    return found


def _groups(inputs: Sequence[str], config: CasesConfig, product: str | None) -> Iterator[Group]:
    """Events of one session, or of none, together; simulated sessions are one time line over their hosts."""
    without = {name for source in config.sources for name in source.without}
    line = all(isinstance(source, SimulatedSource) and not source.by for source in config.sources)
    sessions: dict[str, list[Labelled]] = {}
    for batch in stream(inputs):
        for row in batch.to_pylist():
            event = Event(**row)
            if event.source not in without:
                if product:
                    event = replace(event, source=product, log_type=product)
                one = Labelled(event, suspicious=True, product=event.log_type or event.source)
                sessions.setdefault(event.session_id or "", []).append(one)
    for name, events in sessions.items():
        yield Group(name, "", events, "event", () if line else None)


def _cases(group: Group, maker: Maker, hide: re.Pattern[str] | None) -> Iterator[Case]:
    config = chunk_config(maker.config).model_copy(update={"least": 1})
    drop = {name for source in maker.config.sources for name in getattr(source, "drop", ())}
    for chunk in chunks(group, config, Counts()):
        case = made_case(group, chunk, {}, drop, maker, hide)
        if case is not None:
            yield case
