"""What a quickstart report shows: plain figures and log text, filled in by the quickstart, drawn by `report`.

Log text goes in untouched, control characters and all; the drawing shortens and escapes it.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from logfm.evaluation.comparison import Comparison


class Part(BaseModel):
    """Base of the report's parts: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SourceRead(Part):
    """What was read from one source."""

    name: str
    events: int
    """Events, repeats included."""
    bytes: int
    """Bytes read, decompressed."""
    duplicates: int = 0
    """Events whose text occurred before; they are left out of pretraining only."""
    rejects: dict[str, int] = Field(default_factory=dict)
    """Pieces of input that became no event, counted by reason."""
    first: datetime | None = None
    """The earliest time stamp, UTC."""
    last: datetime | None = None
    """The latest time stamp, UTC."""


class StageRun(Part):
    """One stage of the run; the headline takes the training time from the stage named `pretrain`."""

    name: str
    seconds: float
    peak_memory_bytes: int
    """Largest resident memory of the process up to the stage's end."""
    reused: bool = False
    """Whether an earlier run had finished it."""


class Token(Part):
    """A token as it stands in the line."""

    text: str
    delimiter: bool = False


class TokenizerPart(Part):
    """The tokenizer and how it cuts real lines."""

    vocabulary: int
    """Tokens in the vocabulary."""
    bytes_per_token: float
    """Mean bytes of event text a token covers."""
    lines: tuple[tuple[Token, ...], ...]
    """Sample lines, a few."""


class CurvePoint(Part):
    """A point of a loss curve."""

    step: int
    """Optimizer steps done."""
    loss: float
    """Mean cross-entropy of the masked tokens, nats."""


class LanguageModelScores(Part):
    """Masked language modelling on one split."""

    loss: float
    """Mean cross-entropy of the masked tokens, nats."""
    perplexity: float
    masked_accuracy: float
    """Share of masked tokens that were restored exactly, 0 to 1."""
    bits_per_byte: float
    """Bits a byte of masked text; independent of the vocabulary."""


class TrainingPart(Part):
    """The encoder and its pretraining."""

    parameters: int
    steps: int
    """Optimizer steps."""
    tokens: int
    """Tokens trained on."""
    train_curve: tuple[CurvePoint, ...]
    validation_curve: tuple[CurvePoint, ...] = ()
    train: LanguageModelScores | None = None
    validation: LanguageModelScores | None = None
    split: str = ""
    """How validation was set apart, in words."""


class Hit(Part):
    """A search hit."""

    score: float
    """Cosine."""
    text: str
    source: str
    file: str
    offset: int
    """Byte in the decompressed file."""


class SearchDemo(Part):
    """A query and its best hits, best first."""

    query: str
    hits: tuple[Hit, ...]


class ScoredToken(Part):
    """A token with the encoder's surprise at it."""

    text: str
    nats: float | None = None
    """Negative log likelihood when the token is masked; None where it was not scored."""


class Anomaly(Part):
    """An event that stands out."""

    score: float
    """Higher is more abnormal."""
    tokens: tuple[ScoredToken, ...]
    source: str
    file: str
    offset: int
    """Byte in the decompressed file."""
    timestamp: datetime | None = None
    attack: bool = False
    """Whether it is labelled as part of an attack."""


class MapPoint(Part):
    """An event on the map."""

    x: float
    y: float
    source: str
    text: str
    anomaly: bool = False
    attack: bool = False


class MapPart(Part):
    """Embeddings in two dimensions."""

    points: tuple[MapPoint, ...]
    explained: tuple[float, float]
    """Share of the variance along each axis, 0 to 1."""


class AttackPart(Part):
    """Where the labelled events of a known attack rank among all anomalies."""

    name: str
    ranks: tuple[int, ...]
    """Rank of each labelled event, 1 is the most abnormal."""
    events: int
    """Events that were ranked."""
    average_precision: float
    """Of the ranking against the labels, 0 to 1; a random order gives about len(ranks) / events."""


class Scored(Part):
    """A figure with its interval."""

    value: float
    low: float
    high: float


class EncoderRow(Part):
    """An encoder's row in the comparison."""

    name: str
    metrics: dict[str, Scored]
    """By name: pmean, nmean, diff, pair_auc, mrr, map, macro_map, recall@k."""
    seconds: float
    """Seconds to encode the lines."""


class VerdictRow(Part):
    """One encoder against a rival on one metric."""

    encoder: str
    rival: str
    metric: str
    difference: Scored
    """Encoder less rival."""
    p: float
    """Adjusted for the number of comparisons (Holm)."""
    winner: str | None
    """None for a tie."""


class ComparisonPart(Part):
    """Log similarity and log search, side by side."""

    rows: tuple[EncoderRow, ...]
    verdicts: tuple[VerdictRow, ...]
    lines: int
    repeated: int
    """Lines dropped because their text occurred before."""
    sampled_out: int
    templates: int
    queries: int
    references: int
    unanswerable: int
    """Lines of the querying half without another line of their template in the other."""
    pairs: int
    """Positive pairs, and as many negative ones."""
    confidence: float
    """Level of the intervals, 0 to 1."""
    note: str = ""
    """Which lines these are, and whether the encoder saw them in pretraining."""


class QuickstartReport(Part):
    """Everything the quickstart has to show."""

    created: datetime
    command: str
    """The command line that made this."""
    seed: int
    simulated: bool = False
    """Whether the telemetry is logfm's own simulation."""
    seconds: float
    """Of the whole run."""
    peak_memory_bytes: int
    sources: tuple[SourceRead, ...]
    stages: tuple[StageRun, ...]
    tokenizer: TokenizerPart
    training: TrainingPart
    searches: tuple[SearchDemo, ...] = ()
    detector: str = "isolation forest"
    """What scored the anomalies."""
    anomalies: tuple[Anomaly, ...] = ()
    """Most abnormal first."""
    map: MapPart | None = None
    comparison: ComparisonPart | None = None
    comparison_note: str = ""
    """Why there is no comparison, where there is none."""
    attack: AttackPart | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    licences: tuple[str, ...] = ()


def comparison_part(comparison: Comparison, note: str = "") -> ComparisonPart:
    """The comparison as the report shows it; `note` says which lines were evaluated."""
    return ComparisonPart(
        rows=tuple(
            EncoderRow(
                name=score.name,
                metrics={
                    name: Scored(value=metric.value, low=metric.low, high=metric.high)
                    for name, metric in score.metrics.items()
                },
                seconds=score.seconds,
            )
            for score in comparison.scores
        ),
        verdicts=tuple(
            VerdictRow(
                encoder=verdict.encoder,
                rival=verdict.rival,
                metric=verdict.metric,
                difference=Scored(
                    value=verdict.difference.value, low=verdict.difference.low, high=verdict.difference.high
                ),
                p=verdict.p,
                winner=verdict.winner,
            )
            for verdict in comparison.verdicts
        ),
        lines=comparison.lines,
        repeated=comparison.repeated,
        sampled_out=comparison.sampled_out,
        templates=comparison.templates,
        queries=comparison.queries,
        references=comparison.references,
        unanswerable=sum(comparison.left_out.values()),
        pairs=comparison.pairs,
        confidence=comparison.confidence,
        note=note,
    )


def attack_part(name: str, scores: Sequence[float], attack: Sequence[bool]) -> AttackPart | None:
    """Rank the events of an attack by anomaly score (higher is more abnormal); None where no event is labelled.

    Average precision counts events of equal score as one step, as scikit-learn does; equal scores share their worst
    rank, so that a detector gains nothing from ties.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    labelled = np.asarray(attack, dtype=bool)
    if not labelled.any():
        return None
    marked = np.asarray(scores, dtype=np.float64)[labelled]
    ranks = np.sort(len(ordered) - np.searchsorted(ordered, marked, side="left"))
    levels, counts = np.unique(ranks, return_counts=True)
    precision = float((np.cumsum(counts) / levels * counts).sum() / len(ranks))
    return AttackPart(name=name, ranks=tuple(ranks.tolist()), events=len(ordered), average_precision=precision)
