"""Unsupervised detection on embeddings: a PyOD detector scores events, and each finding says what it resembles.

PyOD's convention holds everywhere: the higher a score, the more abnormal. Thresholds come from a baseline or a
contamination rate, never from labels.
"""

import heapq
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from logfm.configs.schema.embeddings import DetectConfig
from logfm.embeddings import embed
from logfm.embeddings.detectors import make_detector
from logfm.embeddings.embed import KEYS, Input
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.explain import TokenSurprise, explain
from logfm.embeddings.segments import normalised
from logfm.errors import UserError

_CHUNK = 16_384


@dataclass(frozen=True)
class Scores:
    """The outcome of a detector."""

    scores: np.ndarray
    """float64 (events,), higher is more abnormal."""
    threshold: float
    """The score that the share `contamination` of the fitted events exceeds."""
    fitted: np.ndarray
    """float64 (baseline events,): the scores of the events it was fitted on; `scores` itself without a baseline."""


@dataclass(frozen=True)
class Normal:
    """The nearest event that lies below the threshold; `score` is the cosine to it."""

    score: float
    event_id: str
    text: str
    file: str
    offset: int


@dataclass(frozen=True)
class Finding:
    """One abnormal text: its first event, and how many events of the input have the same text."""

    score: float
    above_threshold: bool
    count: int
    event_id: str
    text: str
    source: str
    file: str
    offset: int
    timestamp: datetime | None
    host: str | None
    nearest_normal: Normal | None
    surprising: list[TokenSurprise]
    """The most surprising tokens, for encoders trained by logfm."""


@dataclass(frozen=True)
class Detection:
    """All findings of one run, the most abnormal first."""

    events: int
    above_threshold: int
    threshold: float
    findings: list[Finding]


def detect(vectors: np.ndarray, config: DetectConfig | None = None, baseline: np.ndarray | None = None) -> Scores:
    """Score vectors (float32 (events, dim)) with a PyOD detector, by default Isolation Forest (Liu et al., 2008).

    The detector is fitted on `baseline`, else on the vectors themselves. Give every event, duplicates included:
    how often a text occurs is what makes it normal.

    Raises:
        UserError: too few events, or an unknown or unusable detector.
    """
    config = config or DetectConfig()
    fitted = vectors if baseline is None else baseline
    if len(fitted) < 2:
        raise UserError("a detector needs at least two events to be fitted on", f"found {len(fitted)}")
    # Some detectors print their progress, and stdout is for results.
    with redirect_stdout(sys.stderr):
        detector = make_detector(config.method, fitted.shape[1], config)
        own, scores = _score(detector, config.method, fitted, vectors if baseline is not None else None)
    if scores.shape != (len(vectors),) or not np.isfinite(scores).all():
        raise UserError(f"the detector {config.method} gave scores that are no finite numbers", fix="Take another.")
    return Scores(scores, float(detector.threshold_), own)


def _score(detector: Any, name: str, fitted: np.ndarray, others: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Fit; the scores of what it was fitted on, and of the others (the same where there are none)."""
    try:
        detector.fit(fitted)
        own = np.asarray(detector.decision_scores_, dtype=np.float64)
        return own, own if others is None else np.asarray(detector.decision_function(others), dtype=np.float64)
    except (TypeError, ValueError, AttributeError, ImportError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the detector {name} cannot score these vectors", fix=reason) from error


def find(
    inputs: Sequence[Input],
    encoder: LogEncoder,
    config: DetectConfig | None = None,
    baseline: Sequence[Input] | None = None,
) -> Detection:
    """Detect over any input: the top texts with event, score, nearest normal event and surprising tokens.

    The vectors of input and baseline are held in memory.

    Raises:
        UserError: no events, or as `detect`.
    """
    config = config or DetectConfig()
    embed.fit(encoder, baseline or inputs, config.fit_texts)
    events, vectors = _read(inputs, encoder)
    normal_events, normal_vectors = (events, vectors) if baseline is None else _read(baseline, encoder)
    scored = detect(vectors, config, None if baseline is None else normal_vectors)
    top, counts = _top(scored.scores, events["text"], config.top)
    nearest = _nearest(normalised(vectors[top]), normal_vectors, scored.fitted <= scored.threshold)
    findings = []
    for row, normal in zip(top, nearest, strict=True):
        record = events.slice(row, 1).to_pylist()[0]
        score = float(scored.scores[row])
        findings.append(
            Finding(
                score=score,
                above_threshold=score > scored.threshold,
                count=counts[record["text"]],
                nearest_normal=None if normal is None else _normal(normal_events, *normal),
                surprising=_surprising(encoder, record["text"], config.tokens),
                **{name: record[name] for name in _EVENT},
            )
        )
    above = int((scored.scores > scored.threshold).sum())
    return Detection(len(vectors), above, scored.threshold, findings)


_EVENT = ("event_id", "text", "source", "file", "offset", "timestamp", "host")


def _read(inputs: Sequence[Input], encoder: LogEncoder) -> tuple[pa.Table, np.ndarray]:
    batches = list(embed.vectors(inputs, encoder))
    if not batches:
        raise UserError("the input holds no events", ", ".join(map(str, inputs)))
    vectors = np.concatenate([embed.matrix(batch) for batch in batches])
    return pa.Table.from_batches(batches).select(list(KEYS)), vectors


def _top(scores: np.ndarray, texts: pa.ChunkedArray, top: int) -> tuple[list[int], dict[str, int]]:
    """Rows of the `top` different texts, the most abnormal first, and how often every text occurs.

    Detectors that look at neighbours can give equal texts unequal scores: the highest counts.
    """
    best: dict[str, tuple[float, int]] = {}
    counts: dict[str, int] = {}
    for row, text in enumerate(texts.to_pylist()):
        counts[text] = counts.get(text, 0) + 1
        score = float(scores[row])
        if text not in best or score > best[text][0]:
            best[text] = (score, row)
    ranked = heapq.nsmallest(top, best.values(), key=lambda pair: (-pair[0], pair[1]))
    return [row for _, row in ranked], counts


def _nearest(queries: np.ndarray, vectors: np.ndarray, allowed: np.ndarray) -> list[tuple[float, int] | None]:
    """Cosine and row of the nearest allowed vector of each query; None where none is allowed."""
    rows = np.flatnonzero(allowed)
    if not len(rows):
        return [None] * len(queries)
    best = np.full(len(queries), -np.inf)
    found = np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        cosines = queries @ normalised(vectors[part]).T
        nearest = cosines.argmax(axis=1)
        score = cosines[np.arange(len(queries)), nearest]
        better = score > best
        best[better], found[better] = score[better], part[nearest[better]]
    return [(float(score), int(row)) for score, row in zip(best, found, strict=True)]


def _normal(events: pa.Table, score: float, row: int) -> Normal:
    record: dict[str, Any] = events.slice(row, 1).to_pylist()[0]
    return Normal(score=score, **{name: record[name] for name in ("event_id", "text", "file", "offset")})


def _surprising(encoder: LogEncoder, text: str, count: int) -> list[TokenSurprise]:
    if not count or not encoder.explains:
        return []
    judged = [token for token in explain(encoder, text).tokens if token.nats is not None]
    return sorted(judged, key=lambda token: -(token.nats or 0.0))[:count]
