"""FLOPs of a training step by formula: the matrix products of the model as the paper has it, whoever computes them.

Counted are two for each multiply-add: the projections, the feed-forward layers, content-to-content,
content-to-position and position-to-content scores, the values, the projected position tables (once a batch), the mask
decoder, and the head and vocabulary at masked positions. A position-table row that several distances share counts once
for each query and key, and only rows that an event's length reaches count. Not counted: norms, softmax, activations,
lookups, padding, and whatever an implementation computes twice (activation checkpointing, blockwise attention). The
backward pass has two products for each of the forward pass. So a share of a device's peak by this count is a model
FLOP utilisation (Chowdhery et al., PaLM, 2022, appendix B).
Shape legend: B events, T tokens, M masked positions, D width, S position buckets a direction.
"""

import numpy as np

from logfm.configs.schema.pretrain import ModelConfig

BACKWARD = 2
"""Products of the backward pass for each one of the forward pass: by the input, and by the weight."""


def train_flops(model: ModelConfig, vocab_size: int, lengths: np.ndarray, masked: int) -> float:
    """FLOPs of one forward and backward pass over a batch.

    `lengths` (int, (B,)) are its events' tokens, [CLS] and [SEP] included; `masked` is the number of positions that
    are predicted, taken as spread evenly over the tokens.
    """
    lengths_B = np.asarray(lengths, dtype=np.float64)
    tokens = float(lengths_B.sum())
    if not tokens:
        return 0.0
    both_ways = encoder_flops(model, lengths_B) + head_flops(model, vocab_size, masked)
    flops = (1 + BACKWARD) * (both_ways + decoder_flops(model, lengths_B, masked))
    if model.decoder_layers:
        # The sinusoids are no weights: their gradient is not needed.
        flops -= 2.0 * tokens * model.hidden_size**2
    return flops


def encoder_flops(model: ModelConfig, lengths: np.ndarray) -> float:
    """FLOPs of the encoder's forward pass over a batch of events of these lengths (int or float, (B,))."""
    lengths_B = np.asarray(lengths, dtype=np.float64)
    width, tokens = model.hidden_size, float(lengths_B.sum())
    linear = 2.0 * tokens * width * (4 * width + 2 * model.intermediate_size)
    content = 4.0 * width * float((lengths_B**2).sum())
    relative = 4.0 * width * float((lengths_B * reached_rows(model, lengths_B)).sum())
    tables = 4.0 * 2 * model.position_buckets * width**2
    return model.layers * (linear + content + relative + tables)


def decoder_flops(model: ModelConfig, lengths: np.ndarray, masked: int) -> float:
    """FLOPs of the mask decoder's forward pass: keys and values of all tokens, the rest at masked positions only."""
    if not model.decoder_layers:
        return 0.0
    lengths_B = np.asarray(lengths, dtype=np.float64)
    width, tokens = model.hidden_size, float(lengths_B.sum())
    keys = 4.0 * tokens * width**2
    at_masked = 2.0 * masked * width * (2 * width + 2 * model.intermediate_size)
    attention = 4.0 * width * masked / max(tokens, 1.0) * float((lengths_B**2).sum())
    return 2.0 * tokens * width**2 + model.decoder_layers * (keys + at_masked + attention)


def head_flops(model: ModelConfig, vocab_size: int, masked: int) -> float:
    """FLOPs of the forward pass from hidden states to scores over the vocabulary, at masked positions only."""
    return 2.0 * masked * model.hidden_size * (model.hidden_size + vocab_size)


def reached_rows(model: ModelConfig, lengths: np.ndarray) -> np.ndarray:
    """Rows of the position table that distances within an event reach; float64 (B,), at most 2S."""
    farthest_B = np.maximum(np.asarray(lengths, dtype=np.float64) - 1, 0)
    middle = model.position_buckets // 2
    # Exact up to the middle, then logarithmic, as in the released DeBERTa-v2.
    ratio_B = np.log(np.maximum(farthest_B, middle) / middle) / np.log((model.max_relative_positions - 1) / middle)
    bucket_B = np.where(farthest_B <= middle, farthest_B, middle + np.ceil(ratio_B * (middle - 1)))
    return np.minimum(2 * bucket_B + 1, 2.0 * model.position_buckets)
