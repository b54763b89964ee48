"""LogPatternDetection (SecEncoder, 5.2): Isolation Forest over columns, over embeddings, and over both together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from logfm.configs.schema.embeddings import PatternsConfig
from logfm.embeddings import embed
from logfm.embeddings.columns import Columns, columns_of, free_texts, label_codes, rarest
from logfm.embeddings.embed import KEYS, Input
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.held import first_of_equal
from logfm.errors import UserError
from logfm.extras import require

_LEAST_VARIANCE = 0.002
_EVENT = ("event_id", "text", "source", "file", "offset", "timestamp", "host")


@dataclass(frozen=True)
class Rare:
    """A value of an event, and how many events have it."""

    column: str
    value: str
    count: int


@dataclass(frozen=True)
class Outlier:
    """One event that fits no pattern; the higher the score the less. `count` events have the same text."""

    score: float
    count: int
    event: dict[str, Any]
    """event_id, text, source, file, offset, timestamp, host."""
    rare: list[Rare]
    """Its rarest structured values."""


@dataclass(frozen=True)
class Patterns:
    """What each way of looking finds; `labels` and `hybrid` are empty where there are no structured columns."""

    events: int
    structured: list[str]
    free_text: list[str]
    labels: list[Outlier]
    embeddings: list[Outlier]
    hybrid: list[Outlier]


def patterns(inputs: Sequence[Input], encoder: LogEncoder, config: PatternsConfig | None = None) -> Patterns:
    """The events that fit the patterns of their input worst, found in three ways, each with an Isolation Forest.

    `labels`: label encoding of the structured columns; `embeddings`: the vector of the whole event; `hybrid`: label
    encoding for structured columns beside the vector of the free-text ones (`columns.columns_of`). Events are
    held in memory.

    Raises:
        UserError: no events, a file of vectors, or no such column.
    """
    config = config or PatternsConfig()
    if embed.is_vectors(inputs):
        raise UserError("a file of vectors has no columns", inputs[0], "Give the events themselves.")
    embed.fit(encoder, inputs, config.fit_texts)
    records = [one for batch in embed.events(inputs, [*KEYS, "fields"]) for one in batch.to_pylist()]
    if len(records) < 2:
        raise UserError("patterns need at least two events", ", ".join(map(str, inputs)))
    columns = columns_of(records, config.text_columns)
    texts = [record["text"] for record in records]
    found = {"embeddings": isolation(encoder.encode(texts), config)}
    if columns.structured:
        codes = label_codes(columns.structured)
        found["labels"] = isolation(codes, config)
        vectors = principal(encoder.encode(free_texts(columns.free)), config)
        found["hybrid"] = isolation(np.concatenate((codes, vectors), axis=1), config)
    outliers = {name: _outliers(scores, records, texts, columns, config.top) for name, scores in found.items()}
    return Patterns(
        events=len(records),
        structured=list(columns.structured),
        free_text=list(columns.free),
        labels=outliers.get("labels", []),
        embeddings=outliers["embeddings"],
        hybrid=outliers.get("hybrid", []),
    )


def isolation(features: np.ndarray, config: PatternsConfig) -> np.ndarray:
    """Scores of an Isolation Forest (Liu et al., 2008), float64 (events,), higher is more abnormal."""
    require("sklearn", "embed")
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=config.trees, random_state=config.seed)
    return -forest.fit(features).score_samples(features)


def principal(vectors: np.ndarray, config: PatternsConfig) -> np.ndarray:
    """The main directions of the vectors, float32 (events, at most `components`); trees look at each alike, so those
    with next to no variance are left out."""
    from sklearn.decomposition import PCA

    count = min(config.components, *vectors.shape)
    centred = vectors - vectors.mean(axis=0)
    if not np.abs(centred).max() > 1e-6:
        return np.zeros((len(vectors), 1), dtype=np.float32)
    reduction = PCA(count, random_state=config.seed, svd_solver="full")
    found = reduction.fit_transform(centred)
    return found[:, reduction.explained_variance_ratio_ >= _LEAST_VARIANCE].astype(np.float32)


def _outliers(
    scores: np.ndarray, records: list[dict[str, Any]], texts: list[str], columns: Columns, top: int
) -> list[Outlier]:
    rows, counts = first_of_equal(scores, texts, top)
    return [
        Outlier(
            score=float(scores[row]),
            count=counts[texts[row]],
            event={name: records[row][name] for name in _EVENT},
            rare=[Rare(*one) for one in rarest(columns.structured, row)],
        )
        for row in rows
    ]
