"""Events and vectors of an input, all in memory at once."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from logfm.embeddings import embed
from logfm.embeddings.embed import KEYS, Input, Known
from logfm.embeddings.encoder import LogEncoder
from logfm.errors import UserError


def read_all(inputs: Sequence[Input], encoder: LogEncoder, known: Known | None = None) -> tuple[pa.Table, np.ndarray]:
    """The events (columns KEYS) and their vectors, float32 (events, dim); equal texts have equal vectors.

    `known` is shared by inputs that are compared with each other.

    Raises:
        UserError: no events.
    """
    batches = list(embed.vectors(inputs, encoder, known={} if known is None else known))
    if not batches:
        raise UserError("the input holds no events", ", ".join(map(str, inputs)))
    vectors = np.concatenate([embed.matrix(batch) for batch in batches])
    return pa.Table.from_batches(batches).select(list(KEYS)), vectors


def first_of_equal(scores: np.ndarray, texts: list[str], top: int) -> tuple[list[int], dict[str, int]]:
    """Rows of the `top` different texts, the most abnormal first, and how often every text occurs.

    Detectors that look at neighbours can give equal texts unequal scores: the highest counts.
    """
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    rows: list[int] = []
    taken: set[str] = set()
    for row in np.argsort(-scores, kind="stable"):
        if len(rows) == top:
            break
        if texts[row] not in taken:
            taken.add(texts[row])
            rows.append(int(row))
    return rows, counts
