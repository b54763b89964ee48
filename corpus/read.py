"""From inputs to events: open, recognise, read; every fault becomes a reject and the run goes on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from logfm.configs.schema.corpus import CorpusConfig
from logfm.corpus.discover import Input, discover, opened, shown_path
from logfm.corpus.events import Event, Reject
from logfm.corpus.leaf import Leaf, open_leaf, shown
from logfm.corpus.readers.registry import Format, recognise
from logfm.corpus.readers.text import format_name
from logfm.corpus.streams import BrokenInput, ChunkStream, file_chunks
from logfm.corpus.times import Clock
from logfm.corpus.unpack import Budget, Member, members


@dataclass(frozen=True, slots=True)
class Part:
    """One file inside the inputs: what it is, why, and its records, to be read before the next part."""

    file: str
    name: str
    format: str | None
    why: str
    records: Iterator[Event | Reject]


Edit = Callable[[Event], Event | Reject]


class Labels(Protocol):
    """What is known of the files beforehand, such as a public data set's layout (`corpus.catalog.Labeller`)."""

    @property
    def name(self) -> str:
        """The data set."""

    def skip(self, file: str) -> str | None:
        """Why a file is no log; None if it is one."""

    def open(self, leaf: Leaf) -> tuple[Format | None, Edit | None]:
        """The format where the content does not tell it, and what is to be done to each event."""


def read_events(inputs: Sequence[str | Path], config: CorpusConfig | None = None) -> Iterator[Event | Reject]:
    """Read files, folders, globs or `-` (stdin) in a deterministic order.

    Raises:
        UserError: a path does not exist, or nothing was found.
    """
    config = config or CorpusConfig()
    found, rejects = discover(inputs)
    yield from rejects
    for one in found:
        for part in read_input(one, config):
            yield from part.records


def read_input(
    one: Input, config: CorpusConfig, only: range | None = None, labels: Labels | None = None
) -> Iterator[Part]:
    """The parts of one input; `only` limits a zip to some of its members. A part that `labels` skips has no records.

    Raises:
        UserError: a label file cannot be read.
    """
    file = shown_path(one.path) if one.label is None else one.label
    try:
        disk = opened(one.path)
    except OSError as error:
        yield _fault(file, one.name, f"cannot be read ({error.strerror or error})")
        return
    with disk:
        top = Member(file, one.name, one.modified, ChunkStream(file_chunks(disk)))
        for found in members(top, Budget(one.size, config), disk, only):
            if isinstance(found, Reject):
                yield Part(found.file, one.name, None, found.reason, iter((found,)))
            else:
                yield _part(found, one, config, labels)


def _part(member: Member, one: Input, config: CorpusConfig, labels: Labels | None) -> Part:
    if labels is not None and (why := labels.skip(member.file)):
        return Part(member.file, member.name, None, why, iter(()))
    clock = Clock(ZoneInfo(config.timezone) if config.timezone != "UTC" else UTC, member.modified, config.year)
    try:
        leaf = open_leaf(member.file, member.name, one.source, clock, member.stream, config.max_record_bytes)
    except BrokenInput as error:
        return _fault(member.file, member.name, error.reason)
    form, edit = labels.open(leaf) if labels is not None and leaf.head else (None, None)
    if form is not None and labels is not None:
        why = f"the layout of the data set {labels.name}"
    else:
        form, why = recognise(leaf)
    if form is None:
        return _fault(member.file, member.name, why, leaf.head)
    name = format_name(leaf) if form.name == "lines" else form.name
    return Part(member.file, member.name, name, why, _records(leaf, form, edit))


def _records(leaf: Leaf, form: Format, edit: Edit | None) -> Iterator[Event | Reject]:
    count = 0
    try:
        for event in form.read(leaf):
            count += 1
            if leaf.rejects:
                yield from _drain(leaf)
            yield event if edit is None else edit(event)
    except BrokenInput as error:
        place = leaf.stream.position if error.offset is None else error.offset
        leaf.reject(place, error.reason, error.excerpt)
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, RecursionError) as error:
        leaf.reject(leaf.stream.position, f"the {form.name} reader failed ({type(error).__name__})")
    if not count and not leaf.rejects:
        leaf.reject(0, "no event in the file")
    yield from _drain(leaf)


def _drain(leaf: Leaf) -> Iterator[Reject]:
    rejects, leaf.rejects = leaf.rejects, []
    yield from rejects


def _fault(file: str, name: str, reason: str, head: bytes = b"") -> Part:
    return Part(file, name, None, reason, iter((Reject(file, 0, reason, shown(head[:64])),)))
