"""The oracle: disentangled attention written down as the paper has it, with gathers, in O(L²) memory per head."""

import torch

from logfm.pretrain.attention.positions import Buckets, scale_of


def eager_attention(
    q_bHLd: torch.Tensor,
    k_bHLd: torch.Tensor,
    v_bHLd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    mask_b11L: torch.Tensor | None,
) -> torch.Tensor:
    """Attention of He et al. (2021), equation 4: A_ij = q_i·k_j + q_i·kr[δ(i,j)] + k_j·qr[δ(i,j)]; float (b, H, L, d).

    As in the released DeBERTa-v2 the last term looks its bucket up by the same distance i - j.
    """
    length = q_bHLd.shape[2]
    rows = buckets.rows(length - 1, 1 - length, q_bHLd.device)
    place = torch.arange(length, device=q_bHLd.device)
    row_LL = rows[length - 1 - (place[:, None] - place[None, :])]
    batch, heads = q_bHLd.shape[:2]
    c2p = (q_bHLd @ pos_k_HSd.transpose(-1, -2)).gather(-1, row_LL.expand(batch, heads, length, length))
    p2c = (k_bHLd @ pos_q_HSd.transpose(-1, -2)).gather(-1, row_LL.T.expand(batch, heads, length, length))
    scores = (q_bHLd @ k_bHLd.transpose(-1, -2) + c2p + p2c.transpose(-1, -2)) * scale_of(q_bHLd)
    if mask_b11L is not None:
        scores = scores + mask_b11L
    return torch.softmax(scores, dim=-1) @ v_bHLd
