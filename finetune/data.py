"""From a configuration to labelled sequences in three parts, and their vectors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from logfm.configs.schema.finetune import FinetuneDataConfig, SequenceConfig
from logfm.console import progress
from logfm.embeddings.embed import KEYS, Input, events, is_vectors
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError
from logfm.finetune.cutting import Cuts, cut, group_names, times_of
from logfm.finetune.judging import Labels
from logfm.finetune.labelling import UNKNOWN, class_names, event_labels, group_labels, numbers, sequence_labels
from logfm.finetune.sequences import Rows, Sequences, Times, Vectors
from logfm.finetune.splitting import SPLITS, split

_CHUNK = 2_048


@dataclass(frozen=True, eq=False)
class Part:
    """Labelled sequences of one split, as rows of the table of events."""

    cuts: Cuts
    labels: Labels
    """int64 (sequences,), positions in the classes."""


@dataclass(frozen=True, eq=False)
class LabelledData:
    """All of a configuration's events, and the sequences of each part."""

    table: pa.Table
    times: Times
    classes: tuple[str, ...]
    parts: dict[str, Part]
    left_out: dict[str, int] = field(default_factory=dict)
    """Events or sequences that were not taken, by reason."""

    def sequences(self, name: str, vectors: Vectors | None) -> Sequences:
        """The sequences of a part; `vectors` is float32 (events of the table, dim)."""
        return as_sequences(self.table, self.times, self.parts[name].cuts, vectors)

    @property
    def train_texts(self) -> list[str]:
        """The different texts of the training sequences, in order."""
        texts = self.table["text"]
        rows = np.concatenate(self.parts["train"].cuts.rows)
        return list(dict.fromkeys(texts.take(pa.array(rows)).to_pylist()))


def read_table(inputs: Sequence[Input]) -> pa.Table:
    """The events of any input: KEYS and `label`, which is null for a file of vectors.

    Raises:
        UserError: no events.
    """
    vectors = is_vectors(inputs)
    batches = list(events(inputs, KEYS if vectors else (*KEYS, "label")))
    if not sum(batch.num_rows for batch in batches):
        raise UserError("the input holds no events", ", ".join(map(str, inputs)))
    table = pa.Table.from_batches(batches)
    if vectors:
        table = table.append_column("label", pa.nulls(table.num_rows, pa.string()))
    return table.combine_chunks()


def labelled(data: FinetuneDataConfig, seed: int) -> LabelledData:
    """Read, label, split and cut. Each of train, validation and test holds a labelled sequence.

    Raises:
        UserError: no events, labels or groups enough; one class only; a label that training lacks; the same event in
            two parts.
    """
    given = [name for name in SPLITS if getattr(data, name)]
    tables = [read_table(getattr(data, name)) for name in given]
    table = pa.concat_tables(tables).combine_chunks()
    origin = np.repeat(np.arange(len(given)), [one.num_rows for one in tables])
    names, times = group_names(table, data.sequence), times_of(table)
    if not any(name is not None for name in names):
        raise UserError("data.sequence.pattern matches no event", data.sequence.pattern)
    beside = {"train": data.labels, "validation": data.validation_labels, "test": data.test_labels}
    own = [label for name, one in zip(given, tables, strict=True) for label in event_labels(one, beside[name])]
    groups = None if data.group_labels is None else group_labels(data.group_labels)
    sources = {name: cut(names, times, data.sequence, origin == number) for number, name in enumerate(given)}
    shared = [name for name in SPLITS if name == "train" or name not in given]
    left_out: Counter[str] = Counter()
    if len(shared) > 1:
        whole = groups is not None or data.sequence.pattern is not None or "session_id" in data.sequence.group
        found = split(table, names, times, data.sequence, data.split, shared, seed, whole, origin == 0)
        sources |= found.parts
        left_out["events that fit in no part"] = found.left_out
    _refuse_overlap(table, sources)
    parts = {name: (sources[name], sequence_labels(sources[name], own, groups)) for name in SPLITS}
    classes = class_names(parts["train"][1], data.target)
    taken: dict[str, Part] = {}
    for name, (cuts, labels) in parts.items():
        taken[name], unlabelled = _known(cuts, numbers(labels, classes, data, name), name)
        left_out["sequences without a label"] += unlabelled
    return LabelledData(table, times, classes, taken, {why: count for why, count in left_out.items() if count})


def encode(encoder: LogEncoder, texts: Sequence[str], kept: Path | None = None) -> Vectors:
    """Vectors of texts, float32 (texts, dim), equal ones encoded once; with `kept`, a file, at most once ever."""
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(text, len(places)) for text in texts], dtype=np.int64)
    different = list(places)
    if kept is not None and kept.is_file():
        found: Vectors = np.load(kept, allow_pickle=False)
        if found.shape == (len(different), encoder.dim):
            return found[rows]
    found = np.empty((len(different), encoder.dim), dtype=np.float32)
    with progress("texts", len(different)) as advance:
        for start in range(0, len(different), _CHUNK):
            part = different[start : start + _CHUNK]
            found[start : start + len(part)] = encoder.encode(part)
            advance(len(part))
    if kept is not None:
        temporary = kept.with_name(f"unfinished-{kept.name}")
        np.save(temporary, found, allow_pickle=False)
        temporary.replace(kept)
    return found[rows]


def as_sequences(table: pa.Table, times: Times, cuts: Cuts, vectors: Vectors | None) -> Sequences:
    """Sequences of a table's events as heads read them."""
    texts = table["text"].to_pylist()
    return Sequences(
        None if vectors is None else [vectors[rows] for rows in cuts.rows],
        [times[rows] for rows in cuts.rows],
        [[texts[row] for row in rows.tolist()] for rows in cuts.rows],
    )


def all_sequences(table: pa.Table, config: SequenceConfig) -> tuple[Cuts, Times]:
    """The sequences of a table of events that nothing is split from.

    Raises:
        UserError: there are none.
    """
    times = times_of(table)
    cuts = cut(group_names(table, config), times, config)
    if not cuts.rows:
        raise UserError("the pattern of the head's sequences matches no event", config.pattern)
    return cuts, times


def _known(cuts: Cuts, labels: Labels, name: str) -> tuple[Part, int]:
    """The sequences that have a label, and how many have none."""
    rows: Rows = np.flatnonzero(labels != UNKNOWN)
    if not len(rows):
        raise UserError(f"the {name} data holds no labels", fix="Give data.labels or data.group_labels.")
    kept = Cuts([cuts.rows[row] for row in rows], [cuts.groups[row] for row in rows])
    return Part(kept, labels[rows]), len(labels) - len(rows)


def _refuse_overlap(table: pa.Table, sources: dict[str, Cuts]) -> None:
    """No event may be learned from and measured on, whatever the inputs are called."""
    seen: dict[tuple[str, str], str] = {}
    ids, texts = table["event_id"].to_pylist(), table["text"].to_pylist()
    for name, cuts in sources.items():
        for row in (one for rows in cuts.rows for one in rows.tolist()):
            other = seen.setdefault((ids[row], texts[row]), name)
            if other != name:
                raise UserError(f"the same event is in {other} and {name}", ids[row], "Give inputs that share none.")
