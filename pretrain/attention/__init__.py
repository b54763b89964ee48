"""Disentangled attention (He et al., DeBERTa, 2021): content-to-content, content-to-position, position-to-content.

One interface, several implementations: `eager` is the oracle that the others are held to, `cpu` the fast path.
All take q, k, v (b, H, L, d), the projected tables of queries and keys (H, S, d), how distances become their rows,
and a mask (b, 1, 1, L) of 0 and -inf or None; and give (b, H, L, d).
"""

from typing import Literal, Protocol

import torch

from logfm.pretrain.attention.cpu import cpu_attention
from logfm.pretrain.attention.eager import eager_attention
from logfm.pretrain.attention.positions import Buckets

__all__ = ["Attention", "Buckets", "Name", "attention_named"]

Name = Literal["auto", "eager", "cpu"]


class Attention(Protocol):
    """What every implementation is."""

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


def attention_named(name: Name) -> Attention:
    """An implementation by its name; `auto` takes the fastest that runs here."""
    return eager_attention if name == "eager" else cpu_attention
