"""Disentangled attention (He et al., DeBERTa, 2021): content-to-content, content-to-position, position-to-content.

One interface, several implementations: all take q, k, v (T, H, d) of a packed batch, the projected tables of queries
and keys (H, S, d), and how distances become their rows, and give (T, H·d). `eager` is the oracle that the others are
held to; `cpu`, without gathers, also serves a GPU where no kernel does; `triton` is one kernel for the whole batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch

from logfm.pretrain.attention.cpu import cpu_attention
from logfm.pretrain.attention.eager import eager_attention
from logfm.pretrain.attention.grouped import Attention, grouped_attention
from logfm.pretrain.attention.positions import Buckets
from logfm.pretrain.attention.triton import supported, triton_attention
from logfm.pretrain.packing import Packed

__all__ = ["Attention", "Buckets", "Name", "PackedAttention", "attention_named", "packed_attention"]

Name = Literal["auto", "eager", "cpu", "triton"]
_Tensor = torch.Tensor
PackedAttention = Callable[[_Tensor, _Tensor, _Tensor, _Tensor, _Tensor, Buckets, Packed], _Tensor]


def attention_named(name: Literal["auto", "eager", "cpu"]) -> Attention:
    """An implementation that takes events in a padded grid, by its name; `auto` takes the fast one."""
    return eager_attention if name == "eager" else cpu_attention


def packed_attention(name: Name) -> PackedAttention:
    """An implementation that takes a packed batch, by its name; `auto` takes the fastest that runs where q is."""
    if name == "auto":
        return _auto
    if name == "triton":
        return triton_attention
    return partial(grouped_attention, attention_named(name))


def _auto(
    q_THd: _Tensor,
    k_THd: _Tensor,
    v_THd: _Tensor,
    pos_q_HSd: _Tensor,
    pos_k_HSd: _Tensor,
    buckets: Buckets,
    packed: Packed,
) -> _Tensor:
    attend = triton_attention if supported(q_THd, packed) else partial(grouped_attention, cpu_attention)
    return attend(q_THd, k_THd, v_THd, pos_q_HSd, pos_k_HSd, buckets, packed)
