"""Causal attention of right-padded cases that follow on one prefix, for training.

Two batched products instead of torch's fused kernel: on one core in bfloat16, forward and backward of SmolLM2's layers
are 35 % faster with 384 tokens and 28 % with 200. No mask is made: a text looks at nothing behind it.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import transformers

from logfm.errors import UserError

_NAME = "logfm_causal"
# Scores grow with the square of the length: beyond this the fused kernel is taken.
_LONGEST = 2_048


def causal_attention(
    module: torch.nn.Module,
    query_BHLD: torch.Tensor,
    key_BGKD: torch.Tensor,
    value_BGKD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of H query heads, H/G of which share a key head; the L queries are the last of K places. Returns
    (B, L, H, D).
    """
    b, h, length, d = query_BHLD.shape
    groups, places = key_BGKD.shape[1:3]
    ahead_LK = torch.ones(length, places, dtype=torch.bool, device=query_BHLD.device).triu_(1 + places - length)
    if places > _LONGEST:
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query_BHLD, key_BGKD, value_BGKD, attn_mask=~ahead_LK, scale=scaling, enable_gqa=groups < h,
            dropout_p=dropout if module.training else 0.0,
        )  # fmt: skip
        return mixed.transpose(1, 2), None
    folded = (query_BHLD * scaling).reshape(b * groups, h // groups * length, d)
    scores = torch.bmm(folded, key_BGKD.reshape(b * groups, places, d).transpose(1, 2)).view(b, h, length, places)
    barred = torch.zeros(length, places, dtype=scores.dtype, device=scores.device)
    barred.masked_fill_(ahead_LK, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores + barred, -1)
    weights = torch.nn.functional.dropout(weights, dropout, module.training)
    mixed = torch.bmm(weights.view(b * groups, h // groups * length, places), value_BGKD.reshape(b * groups, places, d))
    return mixed.view(b, h, length, d).transpose(1, 2), None


@contextlib.contextmanager
def causal(model: Any, longest: int) -> Iterator[None]:
    """Let a model attend this way, to texts of at most `longest` tokens.

    Raises:
        UserError: it looks back less far than that.
    """
    config = model.config
    window = getattr(config, "sliding_window", None)
    if window is not None and window < longest:
        raise UserError(f"the base looks back {window} tokens only", fix=f"Lower prompt.context from {longest}.")
    transformers.AttentionInterface.register(_NAME, causal_attention)
    before, config._attn_implementation = config._attn_implementation, _NAME
    try:
        yield
    finally:
        config._attn_implementation = before
