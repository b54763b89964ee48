"""Copies between train and test, once values are masked: how many there are, and what is left without them.

Numbers, addresses and times differ in every line, so equal texts hide almost all copies (`corpus.templates`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from logfm.corpus.templates import template_hashes
from logfm.evaluation.anomaly.windows import Sequences


@dataclass(frozen=True, eq=False)
class Copies:
    """What of the test lies in train."""

    sequences: NDArray[np.bool_]
    """(test sequences,): an equal sequence of masked events, in the same order, is in train."""
    events: float
    """Share of test events whose masked text is in train."""


def masked(texts: Sequence[str]) -> NDArray[np.uint64]:
    """A hash of each text with its values masked, uint64 (texts,)."""
    safe = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
    return template_hashes(pa.array(safe, pa.string()))


def copies(train: Sequences, test: Sequences, hashes: NDArray[np.uint64]) -> Copies:
    """What of `test` is a copy of something in `train`; `hashes` (events of the data,) come from `masked`.

    What is alike in train counts whatever its label is.
    """
    known = {hashes[rows].tobytes() for rows in train.rows}
    found = np.array([hashes[rows].tobytes() in known for rows in test.rows], dtype=bool)
    events = test.events
    share = float(np.isin(hashes[events], hashes[train.events]).mean()) if len(events) else float("nan")
    return Copies(found, share)
