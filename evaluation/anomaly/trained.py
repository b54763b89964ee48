"""Heads that are trained on labels, over frozen vectors: a logistic regression, and those of `logfm finetune`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from logfm.errors import UserError
from logfm.evaluation.anomaly.heads import mean_vectors
from logfm.evaluation.anomaly.metrics import need_both
from logfm.evaluation.anomaly.windows import Sequences
from logfm.evaluation.stats import Floats
from logfm.evaluation.suite.task import Contestant, Data

LOGISTIC, LASTLAYER, WHOLE = "logistic", "lastlayer", "whole"
LAYERED = (LASTLAYER, WHOLE)
"""Heads that train layers of the encoder."""
HEADS = ("lstm", "gnn", "transformer", *LAYERED)


@dataclass(frozen=True)
class Limits:
    """What a suite may cap; None for a head's own."""

    epochs: int | None = None
    events: int | None = None
    """Events of a sequence that are read, of longer ones the beginning and the end; `logistic` has no own cap."""
    balanced: bool = True
    """Whether classes weigh alike, however rare one is."""
    tokens: int | None = None
    """Tokens of a sequence that `whole` reads at most."""


def logistic(
    train: NDArray[np.float32], labels: NDArray[np.int8], *judged: NDArray[np.float32], balanced: bool = True
) -> list[Floats]:
    """Scores (log-odds) of each of `judged` from a logistic regression on vectors, scaled by train's spread.

    Balanced classes weigh alike, as in the heads of `logfm finetune`.

    Raises:
        UserError: train holds one class only.
    """
    need_both(labels, "the train part")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(), LogisticRegression(max_iter=1000, class_weight="balanced" if balanced else None)
    )
    model.fit(train, labels)
    return [np.asarray(model.decision_function(one), dtype=np.float64) for one in judged]


def trained(
    kind: str,
    train: Sequences,
    validation: Sequences,
    judged: Mapping[str, Sequences],
    data: Data,
    contestant: Contestant,
    vectors: NDArray[np.float32] | None,
    seed: int,
    limits: Limits,
) -> dict[str, Floats]:
    """Scores of each of `judged` by name, float64; train fits, validation stops the training.

    `vectors` are those of all events; the heads `lastlayer` and `whole` read texts instead and need layers.

    Raises:
        UserError: no such head, one class only, or an encoder that the head cannot take.
    """
    need_both(train.labels, "the train part")
    need_both(validation.labels, "the validation part")
    if kind == LOGISTIC:
        if vectors is None:
            raise ValueError("a logistic regression needs vectors")
        # Beside a head it reads what the head reads, or a rank would tell who was given more.
        fitted, *means = (mean_vectors(part.trimmed(limits.events), vectors) for part in (train, *judged.values()))
        found = logistic(fitted, train.labels, *means, balanced=limits.balanced)
        return dict(zip(judged, found, strict=True))
    from logfm.configs.schema.finetune import TrainingConfig
    from logfm.finetune import Head

    if kind in LAYERED and contestant.layered is None:
        raise UserError(f"{kind} needs an encoder whose layers run here on torch", contestant.name)
    texts = kind in LAYERED
    weights: Literal["balanced", "none"] = "balanced" if limits.balanced else "none"
    training = TrainingConfig(class_weights=weights, epochs=limits.epochs or TrainingConfig().epochs)
    head = Head.fit(
        _config(kind, limits),
        _sequences(train, data, vectors, texts),
        train.labels.astype(np.int64),
        validation=(_sequences(validation, data, vectors, texts), validation.labels.astype(np.int64)),
        training=training,
        seed=seed,
        encoder=contestant.layered if texts else None,
    )
    return {
        name: np.asarray(head.scores(_sequences(part, data, vectors, texts)), dtype=np.float64)
        for name, part in judged.items()
    }


def most_events(kind: str, limits: Limits) -> int | None:
    """Events of a sequence that a head reads at most; None where it reads all.

    Raises:
        UserError: no such head.
    """
    return limits.events if kind == LOGISTIC else int(_config(kind, limits).most_events)


def cut_note(test: Sequences, most: int | None) -> str:
    """How many test sequences a head reads the beginning and the end of; "" where it reads all of each."""
    longer = test.longer(most)
    return f"{longer} of {len(test)} test sequences cut to {most} events" if longer else ""


def whole_note(test: Sequences, most: int | None) -> str:
    """What stands beside such a cut: detectors that read all of each sequence; "" where no head cuts any."""
    longer = test.longer(most)
    return f"reads whole sequences, {longer} of {len(test)} in the test longer than {most} events" if longer else ""


def _config(kind: str, limits: Limits) -> Any:
    from logfm.configs.schema.finetune import GnnConfig, LastLayerConfig, LstmConfig, TransformerConfig, WholeConfig

    known: dict[str, Any] = {
        "lstm": LstmConfig,
        "gnn": GnnConfig,
        "transformer": TransformerConfig,
        LASTLAYER: LastLayerConfig,
        WHOLE: WholeConfig,
    }
    if kind not in known:
        raise UserError("no such trained head", kind, f"Take one of: {', '.join((LOGISTIC, *known))}.")
    told = {"most_events": limits.events, "most_tokens": limits.tokens if kind == WHOLE else None}
    return known[kind](**{name: value for name, value in told.items() if value is not None})


def _sequences(part: Sequences, data: Data, vectors: NDArray[np.float32] | None, texts: bool) -> Any:
    from logfm.finetune import Sequences as HeadSequences

    times = None if data.times is None else [data.times[rows] for rows in part.rows]
    if texts:
        return HeadSequences(None, times, [[data.texts[row] for row in rows] for rows in part.rows])
    if vectors is None:
        raise ValueError("this head needs vectors")
    return HeadSequences([vectors[rows] for rows in part.rows], times)
