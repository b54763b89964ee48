"""The encoder's forward on packed events: no padding in the products, no event attends to another.

It runs the modules of a Hugging Face `DebertaV2ForMaskedLM`, whose own forward (padded, with N×N index matrices) is
the oracle in the tests. Modules are called and their weights not read, so that ZeRO-3 can gather them in time; those of
the tied output, which `masked_loss` needs, it gathers by its hook for parameters that are used outside their module.
Shape legend: T tokens, D width, H heads, d head width, M masked positions, V vocabulary.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import DebertaV2ForMaskedLM
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Layer

from logfm.pretrain.attention import Buckets, Name, PackedAttention, packed_attention
from logfm.pretrain.decoder import MaskDecoder
from logfm.pretrain.loss import masked_loss
from logfm.pretrain.packing import Packed


def hidden_states(
    model: DebertaV2ForMaskedLM, packed: Packed, attention: Name = "auto", recompute: bool = False
) -> torch.Tensor:
    """Last hidden states of all tokens; float (T, D), in packed order.

    With `recompute` a layer keeps its input alone, and the backward pass computes the rest again (Chen et al., 2016).
    """
    return deque(layer_states(model, packed, attention, recompute), maxlen=1)[0]


def layer_states(
    model: DebertaV2ForMaskedLM, packed: Packed, attention: Name = "auto", recompute: bool = False
) -> Iterator[torch.Tensor]:
    """The states (float (T, D)) that go into the first layer, then those that come out of each, one after another."""
    words_TD = model.deberta.embeddings.word_embeddings(packed.ids_T)
    x_TD = model.deberta.embeddings.LayerNorm(words_TD)
    yield x_TD
    positions_SD, buckets = _places(model, x_TD.device)
    attend = packed_attention(attention)
    for layer in model.deberta.encoder.layer:
        if recompute and torch.is_grad_enabled():
            x_TD = _recomputed(layer, x_TD, positions_SD, packed, buckets, attend)
        else:
            x_TD = _layer(layer, x_TD, positions_SD, packed, buckets, attend)
        yield x_TD


def one_layer(
    model: DebertaV2ForMaskedLM,
    layer: DebertaV2Layer,
    x_TD: torch.Tensor,
    packed: Packed,
    attention: Name = "auto",
) -> torch.Tensor:
    """The states (float (T, D)) that come out of a layer, the model's or a copy that is trained; the ids of `packed`
    are not looked at.
    """
    positions_SD, buckets = _places(model, x_TD.device)
    return _layer(layer, x_TD, positions_SD, packed, buckets, packed_attention(attention))


def _places(model: DebertaV2ForMaskedLM, device: torch.device) -> tuple[torch.Tensor, Buckets]:
    encoder, config = model.deberta.encoder, model.config
    # The parameter is taken through its module's call, which is what triggers ZeRO-3.
    rows = torch.arange(2 * config.position_buckets, device=device)
    positions_SD = encoder.LayerNorm(encoder.rel_embeddings(rows))
    return positions_SD, Buckets(config.position_buckets, config.max_relative_positions)


def _recomputed(layer: DebertaV2Layer, x_TD: torch.Tensor, *others: Any) -> torch.Tensor:
    # ZeRO-3 gives a module's weights back when its call ends, so the second computation must not stop half-way.
    with set_checkpoint_early_stop(False):
        return checkpoint(_layer, layer, x_TD, *others, use_reentrant=False, preserve_rng_state=False)


def _layer(
    layer: DebertaV2Layer,
    x_TD: torch.Tensor,
    positions_SD: torch.Tensor,
    packed: Packed,
    buckets: Buckets,
    attend: PackedAttention,
) -> torch.Tensor:
    attention = layer.attention.self
    heads = attention.num_attention_heads
    projections = (attention.query_proj, attention.key_proj, attention.value_proj)
    q_THd, k_THd, v_THd = (projection(x_TD).unflatten(1, (heads, -1)) for projection in projections)
    pos_q_HSd, pos_k_HSd = (_table(projection(positions_SD), heads) for projection in projections[:2])
    context_TD = attend(q_THd, k_THd, v_THd, pos_q_HSd, pos_k_HSd, buckets, packed)
    attended_TD = layer.attention.output(context_TD, x_TD)
    return layer.output(layer.intermediate(attended_TD), attended_TD)


def _table(projected_SD: torch.Tensor, heads: int) -> torch.Tensor:
    return projected_SD.view(projected_SD.shape[0], heads, -1).transpose(0, 1)


def masked_logits(model: DebertaV2ForMaskedLM, states_TD: torch.Tensor, positions_M: torch.Tensor) -> torch.Tensor:
    """Scores over the vocabulary at the given positions only; float (M, V)."""
    return model.lm_predictions(states_TD[positions_M], model.deberta.embeddings.word_embeddings)


def predictions(
    model: DebertaV2ForMaskedLM,
    decoder: MaskDecoder | None,
    states_TD: torch.Tensor,
    packed: Packed,
    positions_M: torch.Tensor,
) -> torch.Tensor:
    """Scores over the vocabulary at masked positions, through the mask decoder where there is one; float (M, V)."""
    if decoder is None:
        return masked_logits(model, states_TD, positions_M)
    return model.lm_predictions(decoder(states_TD, packed, positions_M), model.deberta.embeddings.word_embeddings)


def prediction_loss(
    model: DebertaV2ForMaskedLM,
    decoder: MaskDecoder | None,
    states_TD: torch.Tensor,
    packed: Packed,
    positions_M: torch.Tensor,
    targets_M: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The loss of `predictions`, without a gradient of their size: see `masked_loss`."""
    head = model.lm_predictions.lm_head
    states_MD = states_TD[positions_M] if decoder is None else decoder(states_TD, packed, positions_M)
    states_MD = head.LayerNorm(head.transform_act_fn(head.dense(states_MD)))
    return masked_loss(states_MD, model.deberta.embeddings.word_embeddings.weight, head.bias, targets_M)
