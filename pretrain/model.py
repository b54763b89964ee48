"""The model: Hugging Face's DeBERTa-v2 with its working masked-LM head, sized by our configuration.

Its modules hold the weights and name them; `logfm.pretrain.forward` runs them on packed events. So a saved folder
is a plain Hugging Face model.
"""

import torch
from transformers import DebertaV2Config, DebertaV2ForMaskedLM

from logfm.configs.schema.pretrain import ModelConfig


def hf_config(model: ModelConfig, vocab_size: int, pad_id: int) -> DebertaV2Config:
    """The Hugging Face configuration of our sizes; bucket counts are frozen in it, or positions would be remapped."""
    return DebertaV2Config(
        vocab_size=vocab_size,
        hidden_size=model.hidden_size,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        intermediate_size=model.intermediate_size,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=model.max_tokens,
        type_vocab_size=0,
        relative_attention=True,
        max_relative_positions=model.max_relative_positions,
        position_buckets=model.position_buckets,
        position_biased_input=False,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        pad_token_id=pad_id,
        legacy=False,
        architectures=["DebertaV2ForMaskedLM"],
    )


def build(model: ModelConfig, vocab_size: int, pad_id: int, seed: int) -> DebertaV2ForMaskedLM:
    """A model with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DebertaV2ForMaskedLM(hf_config(model, vocab_size, pad_id))


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Parameters in all, and without the word embeddings."""
    total = sum(parameter.numel() for parameter in model.parameters())
    words = sum(p.numel() for name, p in model.named_parameters() if name.endswith("word_embeddings.weight"))
    return {"total": total, "without_embeddings": total - words}
