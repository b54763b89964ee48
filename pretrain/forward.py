"""The encoder's forward on packed events: no padding in the products, no event attends to another.

It runs the modules of a Hugging Face `DebertaV2ForMaskedLM`, whose own forward (padded, with N×N index matrices) is
the oracle in the tests. Modules are called, never their weights read, so that ZeRO-3 can gather them in time.
Shape legend: T tokens, D width, H heads, d head width, M masked positions, V vocabulary.
"""

import torch
from transformers import DebertaV2ForMaskedLM
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Layer

from logfm.pretrain.attention import Attention, Buckets, Name, attention_named
from logfm.pretrain.decoder import MaskDecoder
from logfm.pretrain.packing import Group, Packed


def hidden_states(model: DebertaV2ForMaskedLM, packed: Packed, attention: Name = "auto") -> torch.Tensor:
    """Last hidden states of all tokens; float (T, D), in packed order."""
    encoder, config = model.deberta.encoder, model.config
    words_TD = model.deberta.embeddings.word_embeddings(packed.ids_T)
    x_TD = model.deberta.embeddings.LayerNorm(words_TD)
    # The parameter is taken through its module's call, which is what triggers ZeRO-3.
    rows = torch.arange(2 * config.position_buckets, device=x_TD.device)
    positions_SD = encoder.LayerNorm(encoder.rel_embeddings(rows))
    buckets = Buckets(config.position_buckets, config.max_relative_positions)
    attend = attention_named(attention)
    for layer in encoder.layer:
        x_TD = _layer(layer, x_TD, positions_SD, packed.groups, buckets, attend)
    return x_TD


def _layer(
    layer: DebertaV2Layer,
    x_TD: torch.Tensor,
    positions_SD: torch.Tensor,
    groups: tuple[Group, ...],
    buckets: Buckets,
    attend: Attention,
) -> torch.Tensor:
    attention = layer.attention.self
    heads = attention.num_attention_heads
    projections = (attention.query_proj, attention.key_proj, attention.value_proj)
    qkv_TD = [projection(x_TD) for projection in projections]
    pos_q, pos_k = (_table(projection(positions_SD), heads) for projection in projections[:2])
    parts = [_group(qkv_TD, group, heads, pos_q, pos_k, buckets, attend) for group in groups]
    context_TD = parts[0] if len(parts) == 1 else torch.cat(parts)
    attended_TD = layer.attention.output(context_TD, x_TD)
    return layer.output(layer.intermediate(attended_TD), attended_TD)


def _group(
    qkv_TD: list[torch.Tensor],
    group: Group,
    heads: int,
    pos_q: torch.Tensor,
    pos_k: torch.Tensor,
    buckets: Buckets,
    attend: Attention,
) -> torch.Tensor:
    """Attention within the events of one group; float (tokens of the group, D)."""
    grids = []
    for flat_TD in qkv_TD:
        part = flat_TD[group.start : group.stop]
        if group.gather_bL is not None:
            part = part.index_select(0, group.gather_bL)
        grids.append(part.view(group.events, group.length, heads, -1).transpose(1, 2))
    q_bHLd, k_bHLd, v_bHLd = grids
    out_bHLd = attend(q_bHLd, k_bHLd, v_bHLd, pos_q, pos_k, buckets, group.mask_b11L)
    out_nD = out_bHLd.transpose(1, 2).reshape(group.events * group.length, -1)
    return out_nD if group.scatter_n is None else out_nD.index_select(0, group.scatter_n)


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
