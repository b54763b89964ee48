"""Disentangled attention for the CPU: relative scores by shifting, a backward pass that keeps one L×L tensor.

Shape legend: b events, H heads, L tokens, d head width, S position buckets a direction, R = 2L-1 distances.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

from logfm.pretrain.attention.blockwise import blockwise_attention
from logfm.pretrain.attention.positions import Buckets, scale_of, shift, unshift

LONG = 4096  # tokens from which scores are made block by block


class _Attention(torch.autograd.Function):
    """Disentangled attention with a backward pass of its own, which keeps the probabilities and nothing else of
    size L×L: autograd would keep six such tensors, and training is bound by memory traffic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        pos_q: torch.Tensor,
        pos_k: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        scores = _scores(q, k, pos_q, pos_k, mask)
        probabilities = torch.softmax(scores, dim=-1, dtype=scores.dtype)
        ctx.save_for_backward(q, k, v, pos_q, pos_k, probabilities)
        return probabilities @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, pos_q, pos_k, probabilities = ctx.saved_tensors
        grad_v = probabilities.transpose(-1, -2) @ grad
        grad_p = grad @ v.transpose(-1, -2)
        inner = (grad_p * probabilities).sum(-1, keepdim=True)
        by_key = grad_p.sub_(inner).mul_(probabilities).mul_(scale_of(q))
        c2p, p2c = unshift(by_key), unshift(by_key.transpose(-1, -2))
        grad_q = by_key @ k + c2p @ pos_k
        grad_k = by_key.transpose(-1, -2) @ q + p2c @ pos_q
        grad_pos_k = (c2p.transpose(-1, -2) @ q).sum(0)
        grad_pos_q = (p2c.transpose(-1, -2) @ k).sum(0)
        return grad_q, grad_k, grad_v, grad_pos_q, grad_pos_k, None


def _scores(
    q: torch.Tensor, k: torch.Tensor, pos_q: torch.Tensor, pos_k: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Scaled scores (b, H, L, L) from tables (H, R, d) by distance."""
    scaled = q * scale_of(q)
    scores = scaled @ k.transpose(-1, -2)
    scores += shift(scaled @ pos_k.transpose(-1, -2))
    scores += shift(k @ (pos_q * scale_of(q)).transpose(-1, -2)).transpose(-1, -2)
    if mask is not None:
        scores += mask
    return scores


def cpu_attention(
    q_bHLd: torch.Tensor,
    k_bHLd: torch.Tensor,
    v_bHLd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    mask_b11L: torch.Tensor | None,
) -> torch.Tensor:
    """The same as `eager_attention` up to rounding, without gathers; float (b, H, L, d).

    From LONG tokens on, memory is linear in the length.
    """
    length = q_bHLd.shape[2]
    if length >= LONG:
        return blockwise_attention(q_bHLd, k_bHLd, v_bHLd, pos_q_HSd, pos_k_HSd, buckets, mask_b11L)
    index_R = buckets.rows(length - 1, 1 - length, q_bHLd.device)
    by_query, by_key = pos_k_HSd[:, index_R], pos_q_HSd[:, index_R.flip(0)]
    if torch.is_grad_enabled():
        return _Attention.apply(q_bHLd, k_bHLd, v_bHLd, by_key, by_query, mask_b11L)  # type: ignore[no-untyped-call]
    scale = scale_of(q_bHLd)
    bias = shift(q_bHLd @ by_query.transpose(-1, -2))
    bias = (bias + shift(k_bHLd @ by_key.transpose(-1, -2)).transpose(-1, -2)) * scale
    if mask_b11L is not None:
        bias = bias + mask_b11L.to(bias.dtype)
    return scaled_dot_product_attention(q_bHLd, k_bHLd, v_bHLd, attn_mask=bias, scale=scale)
