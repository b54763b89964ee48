"""LogSubsampling (SecEncoder, 5.1): few events that stand for many, for a person or a language model's context."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from logfm.configs.schema.embeddings import SubsampleConfig
from logfm.embeddings import embed
from logfm.embeddings.embed import Input
from logfm.embeddings.encoder import LogEncoder
from logfm.embeddings.held import read_all
from logfm.errors import UserError

_EVENT = ("event_id", "text", "source", "file", "offset", "timestamp", "host")


@dataclass(frozen=True)
class Chosen:
    """One chosen event; `distance` is the Euclidean one to the nearest chosen before it, None for the first."""

    distance: float | None
    tokens: int
    event_id: str
    text: str
    source: str
    file: str
    offset: int
    timestamp: datetime | None
    host: str | None


@dataclass(frozen=True)
class Subsample:
    """The chosen events in the order of choice; `events` is how many there were."""

    events: int
    tokens: int
    chosen: list[Chosen]


def max_min(vectors: np.ndarray, count: int, costs: np.ndarray | None = None, budget: float = math.inf
            ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Rows of `vectors` (float32 (n, dim)) that differ the most, and the distance of each to the nearest before it.

    The first is the nearest to the mean of all, each next one the farthest from its nearest chosen one (the greedy
    Max-Min of SecEncoder, 5.1; Gonzalez, 1985); of equal ones the first row. With `costs` (n,), a row that no longer
    fits `budget` is passed over. Ends early where nothing is left that fits or differs. int64 (chosen,) and float32
    (chosen,), NaN for the first. O(n · chosen · dim) time, O(n) memory beside the vectors.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    lengths = np.einsum("nd,nd->n", rows, rows)
    fits = np.ones(len(rows), dtype=bool) if costs is None else costs <= budget
    # Below this, a difference of squares is rounding.
    noise = 1e-6 * float(lengths.max(initial=0.0))
    middle = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    nearest = np.full(len(rows), np.inf, dtype=np.float32)
    chosen: list[int] = []
    distances: list[float] = []
    spent = 0.0
    while len(chosen) < count and fits.any():
        if chosen:
            row = int(np.argmax(np.where(fits, nearest, -1.0)))
            if nearest[row] <= noise:
                break
            distances.append(math.sqrt(float(nearest[row])))
        else:
            row = int(np.argmin(np.where(fits, lengths - 2 * (rows @ middle), np.inf)))
            distances.append(math.nan)
        chosen.append(row)
        np.minimum(nearest, lengths - 2 * (rows @ rows[row]) + lengths[row], out=nearest)
        fits[row] = False
        if costs is not None:
            spent += float(costs[row])
            fits &= costs <= budget - spent
    return np.array(chosen, dtype=np.int64), np.array(distances, dtype=np.float32)


def subsample(
    inputs: Sequence[Input],
    encoder: LogEncoder,
    config: SubsampleConfig | None = None,
    count_tokens: Callable[[str], int] | None = None,
) -> Subsample:
    """Choose events of any input that differ the most.

    A text is never chosen twice. `count_tokens` is the language model's own count, a line end included; without it
    tokens are estimated from bytes by `config.bytes_per_token`. Vectors are held in memory.

    Raises:
        UserError: no events, or none that fits the tokens.
    """
    config = config or SubsampleConfig()
    embed.fit(encoder, inputs, config.fit_texts)
    events, vectors = read_all(inputs, encoder)
    texts = events["text"].to_pylist()
    costs = None
    if config.tokens is not None:
        count = count_tokens or (lambda text: math.ceil((len(text.encode("utf-8", "replace")) + 1)
                                                        / config.bytes_per_token))  # fmt: skip
        costs = np.array([count(text) for text in texts], dtype=np.float64)
    most = config.events or (10 if config.tokens is None else len(texts))
    rows, distances = max_min(vectors, most, costs, config.tokens or math.inf)
    if not len(rows):
        raise UserError(f"no event fits {config.tokens} tokens", fix="Allow more.")
    chosen = [
        Chosen(
            distance=None if math.isnan(distance) else float(distance),
            tokens=0 if costs is None else int(costs[row]),
            **{name: record[name] for name in _EVENT},
        )
        for row, distance, record in zip(rows, distances, events.take(rows).to_pylist(), strict=True)
    ]
    return Subsample(len(texts), sum(one.tokens for one in chosen), chosen)
