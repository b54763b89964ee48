"""Disentangled attention (He et al., DeBERTa, 2021): content-to-content, content-to-position, position-to-content.

Shape legend: b events, H heads, L tokens, d head width, S position buckets a direction, R = 2L-1 distances.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position


def distance_index(length: int, buckets: int, max_distance: int, device: torch.device) -> torch.Tensor:
    """Row of the relative-position table for the distances L-1, ..., -(L-1) (query minus key); int64 (R,)."""
    distance_R = torch.arange(length - 1, -length, -1, device=device)
    bucket_R = make_log_bucket_position(distance_R, buckets, max_distance).long()
    return (bucket_R + buckets).clamp(0, 2 * buckets - 1)


def shift(scores_bHLR: torch.Tensor) -> torch.Tensor:
    """Select column (j - i + L-1) of row i: scores by distance become scores by key, without a gather.

    In memory, row i of the result starts one element earlier within its row than row i-1 does, so a view with rows
    one element shorter lines them up. (b, H, L, 2L-1) -> (b, H, L, L).
    """
    b, heads, length, width = scores_bHLR.shape
    if length == 1:
        return scores_bHLR
    flat = scores_bHLR.reshape(b, heads, length * width)
    rows = flat[..., length - 1 : length - 1 + length * (width - 1)].unflatten(-1, (length, width - 1))
    return rows[..., :length]


def unshift(scores_bHLL: torch.Tensor) -> torch.Tensor:
    """The transpose of `shift`: scores by key become scores by distance, zero elsewhere. (b, H, L, 2L-1)."""
    b, heads, length, _ = scores_bHLL.shape
    if length == 1:
        return scores_bHLL
    flat = scores_bHLL.new_zeros(b, heads, length * (2 * length - 1))
    rows = flat[..., length - 1 : length - 1 + length * (2 * length - 2)].unflatten(-1, (length, 2 * length - 2))
    rows[..., :length] = scores_bHLL
    return flat.unflatten(-1, (length, 2 * length - 1))


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
        by_key = grad_p.sub_(inner).mul_(probabilities).mul_(_scale(q))
        c2p, p2c = unshift(by_key), unshift(by_key.transpose(-1, -2))
        grad_q = by_key @ k + c2p @ pos_k
        grad_k = by_key.transpose(-1, -2) @ q + p2c @ pos_q
        grad_pos_k = (c2p.transpose(-1, -2) @ q).sum(0)
        grad_pos_q = (p2c.transpose(-1, -2) @ k).sum(0)
        return grad_q, grad_k, grad_v, grad_pos_q, grad_pos_k, None


def _scale(q: torch.Tensor) -> float:
    """1/sqrt(3d), three being the number of score kinds, as in DeBERTa."""
    return float((3 * q.shape[-1]) ** -0.5)


def _scores(
    q: torch.Tensor, k: torch.Tensor, pos_q: torch.Tensor, pos_k: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Scaled scores (b, H, L, L) from tables (H, R, d) by distance."""
    scaled = q * _scale(q)
    scores = scaled @ k.transpose(-1, -2)
    scores += shift(scaled @ pos_k.transpose(-1, -2))
    scores += shift(k @ (pos_q * _scale(q)).transpose(-1, -2)).transpose(-1, -2)
    if mask is not None:
        scores += mask
    return scores


def disentangled_attention(
    q_bHLd: torch.Tensor,
    k_bHLd: torch.Tensor,
    v_bHLd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    index_R: torch.Tensor,
    mask_b11L: torch.Tensor | None,
) -> torch.Tensor:
    """Attention with relative positions in both directions; float (b, H, L, d).

    `pos_q`, `pos_k` are the projected tables (2S rows); `index_R` comes from `distance_index`.
    """
    by_query, by_key = pos_k_HSd[:, index_R], pos_q_HSd[:, index_R.flip(0)]
    if torch.is_grad_enabled():
        return _Attention.apply(q_bHLd, k_bHLd, v_bHLd, by_key, by_query, mask_b11L)  # type: ignore[no-untyped-call]
    scale = _scale(q_bHLd)
    bias = shift(q_bHLd @ by_query.transpose(-1, -2))
    bias = (bias + shift(k_bHLd @ by_key.transpose(-1, -2)).transpose(-1, -2)) * scale
    if mask_b11L is not None:
        bias = bias + mask_b11L.to(bias.dtype)
    return scaled_dot_product_attention(q_bHLd, k_bHLd, v_bHLd, attn_mask=bias, scale=scale)
