"""A trained head at work: any input in, a verdict on each of its sequences out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from logfm.artifacts import Manifest, read_manifest
from logfm.configs.base import parse
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.configs.schema.finetune import FinetuneConfig, ReadsTexts
from logfm.embeddings.embed import Input, is_vectors
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.held import read_all
from logfm.errors import UserError
from logfm.finetune.data import all_sequences, as_sequences, encode, read_table
from logfm.finetune.heads import Head
from logfm.finetune.running import ENCODER, STAGE


@dataclass(frozen=True)
class Verdict:
    """One sequence: what it is called, and where its first event lies."""

    label: str
    score: float
    """One less the probability of what is normal."""
    probability: float
    """Of `label`."""
    group: str
    events: int
    event_ids: list[str]
    file: str
    offset: int
    start: datetime | None
    end: datetime | None
    text: str
    """Of the first event."""


@dataclass(frozen=True)
class Classification:
    """All sequences of an input, the most abnormal first."""

    classes: tuple[str, ...]
    threshold: float | None
    """With two classes: a sequence whose score lies above it gets the second label."""
    cut: int
    """Sequences longer than the head reads, of which it read the beginning and the end."""
    verdicts: list[Verdict]


def open_head(folder: Path, encoder: LogEncoder | None = None) -> tuple[Head, LogEncoder, FinetuneConfig]:
    """The head of a folder that `finetune` wrote, with its encoder.

    `encoder` stands for the one that the folder names, which may have moved; it must be the same by its hash.

    Raises:
        UserError: no head, a damaged one, an encoder that is gone, or another one.
    """
    manifest = read_manifest(folder, STAGE)
    config = _config(manifest, folder)
    if encoder is None:
        uri = str(folder / ENCODER) if config.encoder == "tfidf" else str(manifest.metrics["encoder"]["name"])
        try:
            encoder = LogEncoder.load(uri, head_encoding(folder))
        except UserError as error:
            raise UserError(f"the head's encoder cannot be opened ({error})", fix="Give it with --encoder.") from error
    return Head.load(folder, encoder), encoder, config


def classify(inputs: Sequence[Input], folder: Path, encoder: LogEncoder | None = None) -> Classification:
    """Cut an input into sequences as the training was, and classify each. All is held in memory.

    Raises:
        UserError: no events, or as `open_head`.
    """
    head, encoder, config = open_head(folder, encoder)
    if is_vectors(inputs) and not isinstance(head.config, ReadsTexts):
        table, vectors = read_all(inputs, encoder)
    else:
        table, vectors = read_table(inputs), None
    cuts, times = all_sequences(table, config.data.sequence)
    if vectors is None and not isinstance(head.config, ReadsTexts):
        vectors = encode(encoder, table["text"].to_pylist())
    sequences = as_sequences(table, times, cuts, vectors)
    found = head.probabilities(sequences)
    scores = found[:, 1:].sum(axis=1)
    verdicts = []
    for row in (-scores).argsort(kind="stable"):
        events = table.take(cuts.rows[row]).to_pylist()
        best = int(found[row].argmax()) if len(head.classes) > 2 else int(scores[row] > head.threshold)
        first, last = events[0], events[-1]
        verdicts.append(
            Verdict(
                label=head.classes[best],
                score=float(scores[row]),
                probability=float(found[row, best]),
                group=cuts.groups[row],
                events=len(events),
                event_ids=[event["event_id"] for event in events],
                file=first["file"],
                offset=first["offset"],
                start=first["timestamp"],
                end=last["timestamp"],
                text=first["text"],
            )
        )
    longer = sequences.trimmed(head.config.most_events)[1]
    return Classification(head.classes, head.threshold if len(head.classes) == 2 else None, longer, verdicts)


def _config(manifest: Manifest, folder: Path) -> FinetuneConfig:
    return parse(FinetuneConfig, manifest.config | {"out": str(folder)}, folder)


def head_encoding(folder: Path) -> EncoderConfig:
    """How the encoder of a head was opened; `auto` may stand for another backend here than it did there.

    Raises:
        UserError: no head, or a damaged one.
    """
    manifest = read_manifest(folder, STAGE)
    config = _config(manifest, folder)
    backend = manifest.metrics["encoder"].get("backend", "auto")
    # What trains layers needs torch, which a backend that is named would keep out.
    if isinstance(config.head, ReadsTexts) or config.encoding.backend != "auto":
        return config.encoding
    return config.encoding.model_copy(update={"backend": backend})
