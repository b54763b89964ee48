"""Disentangled attention (He et al., DeBERTa, 2021): content-to-content, content-to-position, position-to-content.

Shape legend: b events, H heads, L tokens, d head width, S position buckets a direction, R = 2L-1 distances.
"""

import torch
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

    `pos_q`, `pos_k` are the projected tables (2S rows); `index_R` comes from `distance_index`. Scores are scaled by
    1/sqrt(3d), three being the number of score kinds, as in DeBERTa.
    """
    scale = (3 * q_bHLd.shape[-1]) ** -0.5
    c2p = shift(q_bHLd @ pos_k_HSd[:, index_R].transpose(-1, -2))
    p2c = shift(k_bHLd @ pos_q_HSd[:, index_R.flip(0)].transpose(-1, -2)).transpose(-1, -2)
    bias = (c2p + p2c) * scale
    if mask_b11L is not None:
        bias = bias + mask_b11L.to(bias.dtype)
    if torch.is_grad_enabled():
        # The fused kernel has no gradient for its bias.
        scores = (q_bHLd * scale) @ k_bHLd.transpose(-1, -2) + bias
        return torch.softmax(scores, dim=-1) @ v_bHLd
    return scaled_dot_product_attention(q_bHLd, k_bHLd, v_bHLd, attn_mask=bias, scale=scale)
