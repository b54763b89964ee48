"""Unsupervised detection: a head scores events, and each finding says what it resembles.

PyOD's convention holds everywhere: the higher a score, the more abnormal. Thresholds come from a baseline or a
contamination rate, never from labels.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from logfm.configs.schema.embeddings import DetectConfig
from logfm.embeddings import embed
from logfm.embeddings.detectors import CONAD, LANOBERT, LOGBERT, NEAREST, OF_EVENTS, known_method, make_detector
from logfm.embeddings.embed import Input
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.explain import TokenSurprise, explain
from logfm.embeddings.heads.nearest import Baseline
from logfm.embeddings.heads.scores import Scores, against
from logfm.embeddings.held import first_of_equal, read_all
from logfm.embeddings.segments import normalised
from logfm.errors import UserError

_CHUNK = 16_384
# sys.stdout belongs to the whole process: of two threads that change it at once, one would put the other's back.
_STDOUT = threading.Lock()


@dataclass(frozen=True)
class Normal:
    """The nearest event of another text that lies below the threshold; `score` is the cosine to it."""

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
    """Score vectors (float32 (events, dim)) with a head that needs no more than vectors.

    `config.method` is nearest (by default where there is a baseline), conad, or a detector of PyOD, by default
    Isolation Forest (Liu et al., 2008), which is fitted on `baseline`, else on the vectors themselves. CONAD judges
    both in one graph. Give every event, duplicates included: how often a text occurs is what makes it normal.

    Raises:
        UserError: too few events, or an unknown or unusable detector.
    """
    config = config or DetectConfig()
    if config.method == CONAD:
        from logfm.embeddings.heads.conad import conad

        _need_two(vectors if baseline is None else baseline)
        together = vectors if baseline is None else np.concatenate((vectors, baseline))
        scores = conad(together, config.conad, config.seed)
        own = None if baseline is None else scores[len(vectors) :]
        return against(scores[: len(vectors)], own, config.contamination)
    if baseline is not None:
        return fitted(baseline, config)(vectors)
    if config.method == NEAREST:
        raise _no_baseline()
    return _detector(vectors, "iforest" if config.method is None else config.method, config)(None)


def fitted(baseline: np.ndarray, config: DetectConfig | None = None) -> Callable[[np.ndarray], Scores]:
    """A head fitted once on normal vectors, float32 (events, dim), that scores any number of others like `detect`.

    Raises:
        UserError: as `detect`; and conad, which judges all events in one graph.
    """
    config = config or DetectConfig()
    if config.method == CONAD:
        raise UserError("conad judges all events in one graph", fix="Use detect, with the baseline each time.")
    if config.method in (None, NEAREST):
        _need_two(baseline)
        return Baseline.of(baseline, config.contamination, config.seed).score
    return _detector(baseline, config.method, config)


def _detector(baseline: np.ndarray, name: str, config: DetectConfig) -> Callable[[np.ndarray | None], Scores]:
    """A detector of PyOD, fitted; it scores other vectors, or with None those that it was fitted on."""
    _need_two(baseline)
    with _refusal(name):
        detector = make_detector(name, baseline.shape[1], config)
        detector.fit(baseline)
    own = np.asarray(detector.decision_scores_, dtype=np.float64)

    def score(vectors: np.ndarray | None) -> Scores:
        scores = own
        if vectors is not None:
            with _refusal(name):
                scores = np.asarray(detector.decision_function(vectors), dtype=np.float64)
        if scores.shape != (len(baseline if vectors is None else vectors),) or not np.isfinite(scores).all():
            raise UserError(f"the detector {name} gave scores that are no finite numbers", fix="Take another.")
        return Scores(scores, float(detector.threshold_), own)

    return score


@contextmanager
def _refusal(name: str) -> Iterator[None]:
    """What a detector raises, as one line. Some print their progress, and stdout is for results: threads take turns."""
    try:
        with _STDOUT, redirect_stdout(sys.stderr):
            yield
    except (TypeError, ValueError, AttributeError, ImportError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the detector {name} cannot score these vectors", fix=reason) from error


def _need_two(vectors: np.ndarray) -> None:
    if len(vectors) < 2:
        raise UserError("a detector needs at least two events to be fitted on", f"found {len(vectors)}")


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
    if config.method is not None:
        known_method(config.method)
    if config.method == NEAREST and not baseline:
        raise _no_baseline()
    if config.method == LANOBERT:
        _ = encoder.pretrained  # another encoder is refused before anything is read
    embed.fit(encoder, baseline or inputs, config.fit_texts)
    known: embed.Known = {}
    events, vectors = read_all(inputs, encoder, known)
    normal_events, normal_vectors = (events, vectors) if not baseline else read_all(baseline, encoder, known)
    if config.method in OF_EVENTS:
        scored = _score_events(events, normal_events if baseline else None, encoder, config)
    else:
        scored = detect(vectors, config, normal_vectors if baseline else None)
    top, counts = first_of_equal(scored.scores, events["text"].to_pylist(), config.top)
    numbers = {events["text"][row].as_py(): number for number, row in enumerate(top)}
    same = np.array([numbers.get(text, -1) for text in normal_events["text"].to_pylist()])
    nearest = _nearest(normalised(vectors[top]), normal_vectors, ~(scored.fitted > scored.threshold), same)
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


def _score_events(events: pa.Table, baseline: pa.Table | None, encoder: LogEncoder, config: DetectConfig) -> Scores:
    """The heads that read texts and their order."""
    if config.method == LOGBERT:
        from logfm.embeddings.heads.logbert import logbert

        return logbert(events, baseline, config.logbert, config.contamination, config.seed)
    from logfm.embeddings.heads.lanobert import surprise

    both = events["text"].to_pylist() + ([] if baseline is None else baseline["text"].to_pylist())
    scores = surprise(both, encoder, config.lanobert.top)
    own = None if baseline is None else scores[events.num_rows :]
    return against(scores[: events.num_rows], own, config.contamination)


def _no_baseline() -> UserError:
    return UserError("the method nearest tells what is new against a baseline", fix="Give --baseline.")


_EVENT = ("event_id", "text", "source", "file", "offset", "timestamp", "host")


def _nearest(
    queries: np.ndarray, vectors: np.ndarray, allowed: np.ndarray, same: np.ndarray
) -> list[tuple[float, int] | None]:
    """Cosine and row of the nearest allowed vector of each query; None where none is allowed. `same` is the query whose
    own text a row has, which is no answer to it, or -1."""
    rows = np.flatnonzero(allowed)
    best = np.full(len(queries), -np.inf)
    found = np.zeros(len(queries), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        cosines = queries @ normalised(vectors[part]).T
        own = np.flatnonzero(same[part] >= 0)
        cosines[same[part[own]], own] = -np.inf
        nearest = cosines.argmax(axis=1)
        score = cosines[np.arange(len(queries)), nearest]
        better = score > best
        best[better], found[better] = score[better], part[nearest[better]]
    return [(float(score), int(row)) if score > -np.inf else None for score, row in zip(best, found, strict=True)]


def _normal(events: pa.Table, score: float, row: int) -> Normal:
    record: dict[str, Any] = events.slice(row, 1).to_pylist()[0]
    return Normal(score=score, **{name: record[name] for name in ("event_id", "text", "file", "offset")})


def _surprising(encoder: LogEncoder, text: str, count: int) -> list[TokenSurprise]:
    if not count or not encoder.explains:
        return []
    judged = [token for token in explain(encoder, text).tokens if token.nats is not None]
    return sorted(judged, key=lambda token: -(token.nats or 0.0))[:count]
