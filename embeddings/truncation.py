"""What is read of a text that is longer than the encoder accepts. Nothing is cut silently: every cut is counted."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from logfm.errors import UserError

Policy = Literal["error", "head", "head_tail", "chunk"]
Range = tuple[int, int]


class TooLong(UserError):
    """The policy is "error" and a text is too long; `what` and `text` let who knows its place tell it."""

    def __init__(self, what: str, where: object = None, fix: str | None = None, text: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.text = what, text


FIX = "Choose --truncation head, head_tail or chunk."


def pieces(length: int, limit: int, policy: Policy, text: str = "") -> list[list[Range]]:
    """The pieces to encode of a text of `length` tokens, each a list of token ranges; one piece unless chunked.

    Raises:
        TooLong: the text is too long and the policy is "error".
    """
    if length <= limit:
        return [[(0, length)]]
    if policy == "head":
        return [[(0, limit)]]
    if policy == "head_tail":
        head = (limit + 1) // 2
        return [[(0, head), (length - (limit - head), length)]]
    if policy == "chunk":
        return [[(start, min(start + limit, length))] for start in range(0, length, limit)]
    raise TooLong(f"a text has {length} tokens, the encoder reads {limit}", fix=FIX, text=text)


def pool(vectors: np.ndarray, owners: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Average the vectors (float32 (pieces, dim)) of each text's pieces by weight; float32 (count, dim)."""
    if len(owners) == count:
        return vectors
    sums = np.zeros((count, vectors.shape[1]), dtype=np.float64)
    np.add.at(sums, owners, vectors * weights[:, None])
    totals = np.bincount(owners, weights=weights, minlength=count)
    return (sums / totals[:, None]).astype(np.float32)


def batches(lengths: Sequence[int], budget: int) -> Iterator[np.ndarray]:
    """Row numbers (int64) in batches of similar length, whose padded size stays within `budget` tokens."""
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end - start + 1) * lengths[order[end]] > budget:
            yield order[start:end]
            start = end
