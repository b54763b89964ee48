"""Attention over a packed batch, one group of events of similar length after the other.

Shape legend: T tokens, H heads, d head width, D = H·d, S table rows, b events of a group of length L.
"""

from typing import Protocol

import torch

from logfm.pretrain.attention.positions import Buckets
from logfm.pretrain.packing import Group, Packed


class Attention(Protocol):
    """Attention within events that stand in a padded grid: what `eager` and `cpu` are."""

    def __call__(
        self,
        q_bHLd: torch.Tensor,
        k_bHLd: torch.Tensor,
        v_bHLd: torch.Tensor,
        pos_q_HSd: torch.Tensor,
        pos_k_HSd: torch.Tensor,
        buckets: Buckets,
        mask_b11L: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attention within each event; float (b, H, L, d)."""
        ...


def grouped_attention(
    attend: Attention,
    q_THd: torch.Tensor,
    k_THd: torch.Tensor,
    v_THd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    packed: Packed,
) -> torch.Tensor:
    """Attention within each event of a packed batch, by an implementation that takes grids; float (T, D)."""
    parts = []
    # Splitting at once has one gradient; a slice for each group would have one as long as the batch for each.
    sizes = [group.stop - group.start for group in packed.groups]
    splits = [flat_THd.split(sizes) for flat_THd in (q_THd, k_THd, v_THd)]
    for group, *tokens in zip(packed.groups, *splits, strict=True):
        q_bHLd, k_bHLd, v_bHLd = (_grid(part, group) for part in tokens)
        out_bHLd = attend(q_bHLd, k_bHLd, v_bHLd, pos_q_HSd, pos_k_HSd, buckets, group.mask_b11L)
        out_nD = out_bHLd.transpose(1, 2).reshape(group.events * group.length, -1)
        parts.append(out_nD if group.scatter_n is None else out_nD.index_select(0, group.scatter_n))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _grid(part: torch.Tensor, group: Group) -> torch.Tensor:
    if group.gather_bL is not None:
        part = part.index_select(0, group.gather_bL)
    return part.view(group.events, group.length, *part.shape[1:]).transpose(1, 2)
