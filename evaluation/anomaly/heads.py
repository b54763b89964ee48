"""Heads of `logfm detect` over sequences: each scores events, or whole sequences, from what it may be fitted on.

One-class heads (nearest, logbert) are fitted on train's normal sequences, as they are used; Isolation Forest and the
other detectors of PyOD on train as it is, unlabelled, as SecEncoder does (section 4.2.3). CONAD judges one graph of
train, validation and test, and ECOD's tails are those of train and of what it judges: both see test vectors without
their labels, and may not lead. CONAD's nodes are sequences.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logfm.configs.schema.anomaly import AnomalyOptions
from logfm.configs.schema.embeddings import ConadConfig, DetectConfig, LanobertConfig, LogbertConfig
from logfm.embeddings.detectors import CONAD, LANOBERT, LOGBERT, NEAREST, known_method
from logfm.errors import UserError
from logfm.evaluation.anomaly.cases import Case
from logfm.evaluation.anomaly.duplicates import masked
from logfm.evaluation.anomaly.metrics import average_precision
from logfm.evaluation.anomaly.windows import Rows, Sequences
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import Contestant, Data
from logfm.evaluation.vectors import Matrix

RULES: dict[str, Callable[[Floats], float]] = {
    "max": lambda scores: float(scores.max()),
    "top3": lambda scores: float(np.sort(scores)[-3:].mean()),
}
"""A sequence's score from its events': the highest, or the mean of the three highest. Validation chooses."""
_TRANSDUCTIVE = frozenset({CONAD, "cof", "copod", "ecod", "lmdd", "loci", "rgraph", "rod", "sod", "sos"})
"""CONAD, and those of PyOD whose scores rank what is judged among itself, beside what they were fitted on or alone."""
_SVD = 256
_NOISE = 1e-3


@dataclass(frozen=True, eq=False)
class Judged:
    """Scores of validation and test sequences under one rule, higher is more abnormal."""

    rule: str
    validation: Floats
    test: Floats
    note: str = ""


def dense(vectors: Matrix, fit_rows: Rows) -> NDArray[np.float32]:
    """Vectors as float32 (n, dim); sparse ones are reduced to 256 dimensions by an SVD of `fit_rows` alone."""
    if not hasattr(vectors, "tocsr"):
        return np.asarray(vectors, dtype=np.float32)
    from sklearn.decomposition import TruncatedSVD

    matrix = vectors.tocsr()
    fitted = matrix[np.unique(fit_rows)]
    size = min(_SVD, fitted.shape[0] - 1, fitted.shape[1] - 1)
    if size < 1:
        return np.asarray(matrix.toarray(), dtype=np.float32)
    reduced = TruncatedSVD(size, random_state=0).fit(fitted).transform(matrix)
    return np.asarray(reduced, dtype=np.float32)


def event_vectors(contestant: Contestant, data: Data, case: Case) -> NDArray[np.float32]:
    """Vectors of all events of the data, in one call; what must be fitted is fitted on train's texts alone."""
    train = np.unique(case.train.events)
    return dense(contestant.encode(data.texts, fit_on=[data.texts[row] for row in train]), train)


def mean_vectors(sequences: Sequences, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean event vector of each sequence, float32 (sequences, dim)."""
    found = np.empty((len(sequences), vectors.shape[1]), dtype=np.float32)
    for number, rows in enumerate(sequences.rows):
        found[number] = vectors[rows].mean(axis=0)
    return found


def judge(
    name: str,
    case: Case,
    vectors: NDArray[np.float32],
    data: Data,
    contestant: Contestant | None,
    seed: int,
    options: AnomalyOptions,
) -> list[Judged]:
    """Scores of one head (`NAME`, `NAME:normal` or `NAME:all`), one entry a rule.

    Raises:
        UserError: no such head, train holds no normal sequence, or the head refuses.
    """
    method, fit_on = fitting(name)
    events = case.train if fit_on == "all" else case.normal
    if len(events) < 2:
        raise UserError("train holds fewer than two normal sequences", data.spec.name, "Take more data.")
    if method == CONAD:
        return _conad(case, vectors, seed, options)
    judged_rows = np.unique(np.concatenate((case.validation.events, case.test.events)))
    scores = np.full(len(data.texts), np.nan)
    note = "transductive: a score depends on what else is judged" if transductive(name) else ""
    if method == LOGBERT:
        scores = _logbert(case, data, events, seed, options.logbert_steps)
        note = "" if options.logbert_steps is None else f"{options.logbert_steps} steps of training"
    elif method == LANOBERT:
        scores[judged_rows], note = _lanobert(judged_rows, data, contestant, options.lanobert_texts)
    else:
        fitted = _drawn(events.events, options.fit_events, seed)
        scores[judged_rows] = _of_vectors(method, judged_rows, fitted, vectors, data.texts, seed)
    return [
        Judged(rule, _by_sequence(case.validation, scores, of), _by_sequence(case.test, scores, of), note)
        for rule, of in RULES.items()
    ]


def transductive(name: str) -> bool:
    """Whether a head's score of a sequence depends on what else is judged: it has rows of its own and may not lead."""
    return name.partition(":")[0] in _TRANSDUCTIVE


def fitting(name: str) -> tuple[str, str]:
    """Method, and what it is fitted on: "normal" or "all".

    Raises:
        UserError: no such head.
    """
    method, _, fit_on = name.partition(":")
    known_method(method)
    if fit_on not in ("", "normal", "all"):
        raise UserError("a head is fitted on normal or on all", name, f"Write {method}:normal or {method}:all.")
    return method, fit_on or ("normal" if method in (NEAREST, LOGBERT) else "all")


def _of_vectors(
    method: str, judged: Rows, fitted: Rows, vectors: NDArray[np.float32], texts: Sequence[str], seed: int
) -> Floats:
    """Scores of the rows `judged`; equal texts, whose vectors are equal, are scored once."""
    from logfm.embeddings.detect import detect

    place: dict[str, int] = {}
    of = np.array([place.setdefault(texts[row], len(place)) for row in judged])
    first = judged[np.unique(of, return_index=True)[1]]
    with warnings.catch_warnings():
        # Dimensions in which all events are alike make some detectors warn of lost precision.
        warnings.simplefilter("ignore", RuntimeWarning)
        scores = detect(vectors[first], DetectConfig(method=method, seed=seed), vectors[fitted]).scores
    if method == NEAREST:
        # Squared distances in float32 leave equal vectors up to about 5e-4 apart; noise must not rank them.
        scores = np.where(scores < _NOISE, 0.0, scores)
    return np.asarray(scores, dtype=np.float64)[of]


def _conad(case: Case, vectors: NDArray[np.float32], seed: int, options: AnomalyOptions) -> list[Judged]:
    parts = (case.train, case.validation, case.test)
    count = sum(map(len, parts))
    if options.conad_sequences is not None and count > options.conad_sequences:
        raise UserError(f"{count} sequences are more than conad may take here", fix="Raise conad_sequences.")
    from logfm.embeddings.heads.conad import conad

    scores = conad(np.concatenate([mean_vectors(part, vectors) for part in parts]), ConadConfig(), seed)
    cuts = np.cumsum([len(part) for part in parts])
    note = "transductive: the graph holds the test's vectors"
    return [Judged("mean vector", scores[cuts[0] : cuts[1]], scores[cuts[1] :], note)]


def _lanobert(rows: Rows, data: Data, contestant: Contestant | None, most: int | None) -> tuple[Floats, str]:
    if contestant is None or contestant.pretrained is None:
        raise UserError("lanobert needs an encoder trained by logfm")
    from logfm.embeddings.heads.lanobert import surprise

    texts = [data.texts[row] for row in rows]
    note = ""
    if most is not None and len(set(texts)) > most:
        first: dict[int, str] = {}
        texts = [first.setdefault(int(key), text) for key, text in zip(masked(texts), texts, strict=True)]
        note = f"one text of each of {len(first)} value-masked templates was judged"
        if len(first) > most:
            raise UserError(f"{len(first)} value-masked templates are too many", fix="Raise lanobert_texts.")
    return surprise(texts, contestant.pretrained, LanobertConfig().top), note


def _logbert(case: Case, data: Data, fitted: Sequences, seed: int, steps: int | None) -> Floats:
    from logfm.embeddings.heads.logbert import logbert

    both = Sequences(
        case.validation.rows + case.test.rows,
        case.validation.clusters + case.test.clusters,
        np.concatenate((case.validation.labels, case.test.labels)),
        [],
    )
    config = LogbertConfig() if steps is None else LogbertConfig(steps=steps)
    share = DetectConfig().contamination
    found = logbert(event_table(data, both), event_table(data, fitted), config, share, seed)
    scores = np.full(len(data.texts), np.nan)
    scores[both.events] = found.scores
    return scores


def event_table(data: Data, sequences: Sequences) -> pa.Table:
    """The events of sequences as heads that read them want: one session a sequence, no label."""
    rows = sequences.events
    session = np.repeat(np.arange(len(sequences)), [len(one) for one in sequences.rows])
    none = pa.nulls(len(rows), pa.string())
    return pa.table(
        {
            "event_id": [str(row) for row in rows],
            "text": [data.texts[row].encode("utf-8", "backslashreplace").decode() for row in rows],
            "source": [data.sources[row] if data.sources else data.spec.name for row in rows],
            "file": pa.array([data.spec.name] * len(rows)),
            "offset": pa.array(rows, pa.int64()),
            "timestamp": pa.array(_moments(data, rows), pa.timestamp("us", "UTC")),
            "host": none,
            "user": none,
            "process": none,
            "log_type": none,
            "session_id": [str(number) for number in session],
        }
    )


def _moments(data: Data, rows: Rows) -> list[Any]:
    if data.times is None:
        return [None] * len(rows)
    return [None if np.isnan(time) else datetime.fromtimestamp(time, UTC) for time in data.times[rows]]


def _by_sequence(sequences: Sequences, scores: Floats, of: Callable[[Floats], float]) -> Floats:
    return np.array([of(scores[rows]) for rows in sequences.rows], dtype=np.float64)


def _drawn(rows: Rows, most: int | None, seed: int) -> Rows:
    if most is None or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def best(judged: Sequence[Judged], labels: NDArray[np.int8]) -> Judged:
    """The rule with the highest PR-AUC on validation; the first one where validation can't tell."""
    figures = [average_precision(one.validation, labels) for one in judged]
    return judged[int(np.argmax(np.nan_to_num(figures, nan=-1.0)))]
