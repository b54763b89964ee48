"""Memory of a training step by formula: weights, gradients, optimiser, and what the packed forward keeps for backward.

The formulas list the tensors that autograd keeps in `forward.py`, `attention/` and `decoder.py`, and that live beside
them where memory peaks: at the scores over the vocabulary, in the last layer's backward pass, or in the optimiser
step.
Shape legend: T tokens, n tokens with the padding of groups, L longest of a group of b events, M masked positions,
D width, I feed-forward width, H heads, V vocabulary, S position buckets a direction.
"""

from typing import NamedTuple

from logfm.configs.schema.pretrain import ModelConfig

# Measured on glibc, torch 2.13 and oneDNN: see `process_bytes`.
_HEAP, _CODE, _KERNELS, _KERNELS_AT_MOST = 1.18, 60_000_000, 8_000_000, 570_000_000
# Scores that the loss, and attention on a CPU, take at a time.
_SCORES = 2_000_000


class Parameters(NamedTuple):
    """Numbers of weights; the output shares the word embeddings, which count once."""

    words: int
    positions: int
    layers: int
    head: int
    decoder: int

    @property
    def total(self) -> int:
        """All weights."""
        return sum(self)

    @property
    def exported(self) -> int:
        """Those of the exported encoder, whose size the recipes are named by: the mask decoder is none of it."""
        return self.total - self.decoder

    @property
    def embeddings(self) -> int:
        """Word embeddings and the table of relative positions."""
        return self.words + self.positions


def count(model: ModelConfig, vocab_size: int) -> Parameters:
    """Weights of what `build` and `build_decoder` make, by formula; norms and biases count with their part."""
    width, wide = model.hidden_size, model.intermediate_size
    norm = 2 * width
    layer = 4 * (width * width + width) + 2 * width * wide + wide + width + 2 * norm
    decoder = width * width + norm + model.decoder_layers * layer if model.decoder_layers else 0
    return Parameters(
        words=vocab_size * width + norm,
        positions=2 * model.position_buckets * width + norm,
        layers=model.layers * layer,
        head=width * width + width + norm + vocab_size,
        decoder=decoder,
    )


class Grid(NamedTuple):
    """A group of events that attention takes at once."""

    events: int
    """b."""
    length: int
    """L."""
    tokens: int
    """Tokens without padding."""


class Shape(NamedTuple):
    """What a batch on one device is made of, as far as memory goes."""

    tokens: int
    """T, [CLS] and [SEP] included."""
    masked: int
    """M."""
    groups: tuple[Grid, ...]
    """The attention groups, as `packing.pack` makes them."""

    @property
    def padded(self) -> int:
        """Tokens with the padding of groups, n."""
        return sum(grid.events * grid.length for grid in self.groups)

    @property
    def in_grids(self) -> int:
        """Rows that are kept of what is spread to grids: a padded group is a copy, the others are views, each of which
        keeps the whole.
        """
        copied = sum(grid.events * grid.length for grid in self.groups if grid.events * grid.length != grid.tokens)
        viewed = any(grid.events * grid.length == grid.tokens for grid in self.groups)
        return copied + (self.tokens if viewed else 0)


def equal_lengths(length: int, tokens_per_batch: int, masked_share: float) -> Shape:
    """A batch of events of one length, as many as the budget has room for; a longer event makes a batch of its own."""
    events = max(1, tokens_per_batch // length)
    return Shape(events * length, round(events * length * masked_share), (Grid(events, length, events * length),))


class How(NamedTuple):
    """How a step is computed, as far as memory goes."""

    bf16: bool = True
    kernel: bool = False
    """A fused kernel keeps no attention probabilities."""
    blockwise_from: int = 4096
    """Tokens of an event from which no probabilities are kept either way (`attention.cpu.LONG`)."""
    checkpointing: bool = False
    """Layers keep their input only, and are computed again in the backward pass."""

    @property
    def size(self) -> int:
        """Bytes of a number in the products."""
        return 2 if self.bf16 else 4


class Activations(NamedTuple):
    """Bytes that live besides the weights: at the scores over the vocabulary, and in the last layer's backward pass."""

    at_scores: int
    in_backward: int

    @property
    def peak(self) -> int:
        """The larger."""
        return max(self)


def activations(model: ModelConfig, vocab_size: int, shape: Shape, how: How) -> Activations:
    """Bytes beside weights, gradients and optimiser at the two moments of a step where they peak."""
    kept = encoder_kept(model, shape, how) + decoder_kept(model, shape, how) + head_kept(model, vocab_size, shape, how)
    states = 4 * shape.tokens * model.hidden_size
    scores = how.size * shape.masked * vocab_size + 12 * min(shape.masked * vocab_size, _SCORES)
    layer = layer_kept(model, shape, how) if how.checkpointing else 0
    return Activations(kept + states + scores, kept + layer + backward_extra(model, shape, how))


def head_kept(model: ModelConfig, vocab_size: int, shape: Shape, how: How) -> int:
    """Bytes that the head and the loss keep: a few states a masked position, and the gradients that the loss makes."""
    gradients = (shape.masked + vocab_size) * model.hidden_size + vocab_size
    return (8 if how.bf16 else 12) * shape.masked * model.hidden_size + how.size * gradients


def encoder_kept(model: ModelConfig, shape: Shape, how: How) -> int:
    """Bytes that the encoder keeps for the backward pass."""
    rows = 2 * model.position_buckets * model.hidden_size
    embedded = shape.tokens * (8 + 4 * model.hidden_size) + (4 if how.bf16 else 8) * rows
    layer = 4 * shape.tokens * model.hidden_size if how.checkpointing else layer_kept(model, shape, how)
    return embedded + model.layers * layer


def layer_kept(model: ModelConfig, shape: Shape, how: How) -> int:
    """Bytes that one encoder layer keeps for the backward pass."""
    width, tokens = model.hidden_size, shape.tokens
    # bf16: the input thrice (each projection casts its own), context and attended, and two float32 inputs of norms.
    inputs = (18 if how.bf16 else 20) * tokens * width + 16 * tokens
    wide = 2 * how.size * tokens * model.intermediate_size
    tables = 2 * how.size * 2 * model.position_buckets * width if how.bf16 else 0
    return inputs + wide + tables + sum(_attention_kept(model, grid, how) for grid in shape.groups)


def _attention_kept(model: ModelConfig, grid: Grid, how: How) -> int:
    """Bytes that attention keeps for a group: queries, keys, values and the result, and what the softmax left."""
    rows = grid.events * grid.length
    grids = 4 * how.size * rows * model.hidden_size
    if how.kernel or grid.length >= how.blockwise_from:
        return grids + 4 * rows * model.heads
    tables = 2 * (2 * grid.length - 1) * (how.size * model.hidden_size + 8)
    return grids + tables + how.size * rows * model.heads * grid.length


def decoder_kept(model: ModelConfig, shape: Shape, how: How) -> int:
    """Bytes that the mask decoder keeps for the backward pass."""
    if not model.decoder_layers:
        return 0
    width, tokens, masked = model.hidden_size, shape.tokens, shape.masked
    padded = masked * shape.padded // max(tokens, 1)
    # The positions, the sum that is normalised, and in float32 its norm, which all layers share.
    context = (6 if how.bf16 else 12) * tokens * width
    keys = ((4 if how.bf16 else 0) * tokens + 2 * how.size * shape.in_grids) * width
    at_masked = (14 if how.bf16 else 20) * masked * width + 2 * how.size * masked * model.intermediate_size
    queries = 2 * how.size * padded * width
    return context + model.decoder_layers * (keys + at_masked + queries)


def backward_extra(model: ModelConfig, shape: Shape, how: How) -> int:
    """Bytes that live for a moment in one layer's backward pass."""
    width, tokens = model.hidden_size, shape.tokens
    wide = 2 * how.size * tokens * model.intermediate_size
    attention = max((_attention_extra(model, grid, how) for grid in shape.groups), default=0)
    return 8 * tokens * width + max(wide, attention)


def _attention_extra(model: ModelConfig, grid: Grid, how: How) -> int:
    """The gradients of the result, queries, keys and values of a group, and the scores of a few events at a time."""
    grids = 4 * how.size * grid.events * grid.length * model.hidden_size
    if how.kernel or grid.length >= how.blockwise_from:
        return 2 * grids
    square = model.heads * grid.length**2
    return grids + 3 * how.size * min(grid.events * square, max(square, _SCORES))


class Bytes(NamedTuple):
    """Memory of one device, and of its host where something is offloaded, at the moment that takes most."""

    weights: int
    gradients: int
    optimizer: int
    buffers: int
    """Of communication."""
    activations: int
    host: int = 0

    @property
    def total(self) -> int:
        """Bytes on the device."""
        return sum(self) - self.host


def step_bytes(model: ModelConfig, vocab_size: int, shape: Shape, how: How, accumulate: bool = False) -> Bytes:
    """Memory of a training step of one process without DeepSpeed (ZeRO stage 0, one device): AdamW on float32 weights.

    Gradients come as activations go, so they count only where they are there at the peak: in the optimiser step, or
    throughout if batches accumulate.
    """
    weights = count(model, vocab_size).total
    words = 4 * vocab_size * model.hidden_size
    casts = 2 * weights if how.bf16 else 0
    live = activations(model, vocab_size, shape, how)
    throughout = 4 * weights if accumulate else 0
    # The fused AdamW has no temporaries.
    moments = (
        Bytes(4 * weights + casts, throughout, 8 * weights, 0, live.at_scores),
        Bytes(4 * weights + casts, throughout or words, 8 * weights, 0, live.in_backward),
        Bytes(4 * weights, 4 * weights, 8 * weights, 0, 0),
    )
    return max(moments, key=lambda moment: moment.total)


def process_bytes(step: Bytes, shape: Shape) -> int:
    """Resident memory of a CPU process beyond that after its imports, from what lives in a step.

    Three shares are not the model's and were measured (`benchmarks/pretrain_memory.py`): holes that freed blocks leave
    in glibc's heap, code that is read when it first runs, and what oneDNN keeps for each shape of a product.
    """
    lengths = len({grid.length for grid in shape.groups})
    return round(_HEAP * step.total) + _CODE + min(lengths * _KERNELS, _KERNELS_AT_MOST)
