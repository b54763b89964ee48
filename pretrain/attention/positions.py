"""Relative positions of disentangled attention: buckets of distances, and scores by distance lined up by key.

Shape legend: n queries, m keys, W = n+m-1 distances between them, S position buckets a direction.
"""

from typing import NamedTuple

import torch
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


class Buckets(NamedTuple):
    """How distances become rows of the position table: `buckets` a direction, logarithmic up to `max_distance`."""

    buckets: int
    max_distance: int

    def rows(self, first: int, last: int, device: torch.device) -> torch.Tensor:
        """Table rows of the distances (query minus key) first, first-1, ..., last; int64 (first-last+1,)."""
        distance_W = torch.arange(first, last - 1, -1, device=device)
        row_W = make_log_bucket_position(distance_W, self.buckets, self.max_distance).long()
        return (row_W + self.buckets).clamp(0, 2 * self.buckets - 1)


def distance_index(length: int, buckets: int, max_distance: int, device: torch.device) -> torch.Tensor:
    """Row of the relative-position table for the distances L-1, ..., -(L-1) (query minus key); int64 (2L-1,)."""
    return Buckets(buckets, max_distance).rows(length - 1, 1 - length, device)


def shift(scores_nW: torch.Tensor) -> torch.Tensor:
    """Select column (j - i + n-1) of row i: scores by distance become scores by key, without a gather.

    In memory, row i of the result starts one element earlier within its row than row i-1 does, so a view with rows
    one element shorter lines them up. (..., n, n+m-1) -> (..., n, m).
    """
    n, width = scores_nW.shape[-2:]
    if n == 1:
        return scores_nW
    rows = scores_nW.flatten(-2)[..., n - 1 : n - 1 + n * (width - 1)].unflatten(-1, (n, width - 1))
    return rows[..., : width - n + 1]


def unshift(scores_nm: torch.Tensor) -> torch.Tensor:
    """The transpose of `shift`: scores by key become scores by distance, zero elsewhere. (..., n, n+m-1)."""
    n, m = scores_nm.shape[-2:]
    if n == 1:
        return scores_nm
    width = n + m - 1
    flat = scores_nm.new_zeros(*scores_nm.shape[:-2], n * width)
    rows = flat[..., n - 1 : n - 1 + n * (width - 1)].unflatten(-1, (n, width - 1))
    rows[..., :m] = scores_nm
    return flat.unflatten(-1, (n, width))


def scale_of(q: torch.Tensor) -> float:
    """1/sqrt(3d), three being the number of score kinds, as in DeBERTa."""
    return float((3 * q.shape[-1]) ** -0.5)
