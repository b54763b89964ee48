"""Continued pretraining: from a published encoder on to new telemetry, with added vocabulary and replay of old data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import orjson
import torch
from transformers import DebertaV2ForMaskedLM

from logfm.artifacts import Manifest, read_manifest
from logfm.configs.schema.pretrain import ModelConfig, PretrainConfig, StartConfig
from logfm.errors import UserError
from logfm.pretrain.callbacks import HISTORY
from logfm.pretrain.data import Batch
from logfm.pretrain.decoder import MaskDecoder
from logfm.pretrain.encoder import PretrainedEncoder, load_encoder
from logfm.pretrain.projection import Projection, read
from logfm.pretrain.shipped import encoder_folder
from logfm.tokenizer import LogTokenizer
from logfm.tokenizer.files import TOKENIZER

_WORDS = "deberta.embeddings.word_embeddings.weight"
_BIAS = "lm_predictions.lm_head.bias"


@dataclass(frozen=True)
class Start:
    """Where a continued run begins: what was asked, and the encoder with its manifest."""

    config: StartConfig
    encoder: PretrainedEncoder
    manifest: Manifest


def open_start(config: StartConfig, tokenizer: LogTokenizer) -> Start:
    """Open the encoder of a continued run.

    Raises:
        UserError: not an exported encoder, or `tokenizer` neither is the encoder's nor extends it.
    """
    config = config.model_copy(update={"encoder": encoder_folder(config.encoder)})
    manifest = read_manifest(config.encoder, "encoder")
    encoder = load_encoder(config.encoder)
    if not extends(tokenizer, encoder.tokenizer):
        raise UserError(
            "the tokenizer is not the encoder's and does not extend it",
            tokenizer.folder,
            f"Use {config.encoder}, or what `logfm tokenizer extend {config.encoder}` makes.",
        )
    return Start(config, encoder, manifest)


def extends(tokenizer: LogTokenizer, base: LogTokenizer) -> bool:
    """Whether a tokenizer is `base`, or `base` with merges added: every id of `base` then means what it meant."""
    if tokenizer.hash == base.hash:
        return True
    ours, theirs = _specification(tokenizer), _specification(base)
    model, first = ours.pop("model"), theirs.pop("model")
    return (
        ours == theirs
        and model["merges"][: len(first["merges"])] == first["merges"]
        and first["vocab"].items() <= model["vocab"].items()
        and np.array_equal(tokenizer.delimiter_mask[: base.vocab_size], base.delimiter_mask)
        and all(old_pieces(tokenizer, base))
    )


def old_pieces(tokenizer: LogTokenizer, base: LogTokenizer) -> list[list[int]]:
    """For each id that `tokenizer` adds to `base`, in order, the ids of `base` that its merges join; none where no
    merge makes it.
    """
    model = _specification(tokenizer)["model"]
    vocabulary: dict[str, int] = model["vocab"]
    pieces = {index: [index] for index in range(base.vocab_size)}
    for left, right in model["merges"]:
        merged, sides = vocabulary[left + right], (vocabulary[left], vocabulary[right])
        if merged not in pieces and all(side in pieces for side in sides):
            pieces[merged] = pieces[sides[0]] + pieces[sides[1]]
    return [pieces.get(index, []) for index in range(base.vocab_size, tokenizer.vocab_size)]


def with_sizes(config: PretrainConfig, encoder: PretrainedEncoder) -> PretrainConfig:
    """The configuration with the encoder's sizes.

    Raises:
        UserError: `model` asks for other sizes.
    """
    sizes = sizes_of(encoder)
    for name in sorted(sizes.keys() & config.model.model_fields_set):
        asked = getattr(config.model, name)
        if asked != sizes[name]:
            raise UserError(
                f"model.{name} is {asked}, the encoder's is {sizes[name]}",
                encoder.folder,
                "Leave the section `model` out: the sizes are the encoder's.",
            )
    if config.data.max_tokens > sizes["max_tokens"]:
        raise UserError(
            f"data.max_tokens is {config.data.max_tokens}, the encoder reads {sizes['max_tokens']}",
            encoder.folder,
            "Lower it.",
        )
    model = ModelConfig.model_validate(config.model.model_dump() | sizes)
    return config.model_copy(update={"model": model})


def sizes_of(encoder: PretrainedEncoder) -> dict[str, int]:
    """The sizes of an encoder by their names in `ModelConfig`."""
    found = encoder.model.config
    return {
        "hidden_size": found.hidden_size,
        "layers": found.num_hidden_layers,
        "heads": found.num_attention_heads,
        "intermediate_size": found.intermediate_size,
        "position_buckets": found.position_buckets,
        "max_relative_positions": found.max_relative_positions,
        "max_tokens": found.max_position_embeddings,
        "decoder_layers": 0 if encoder.decoder is None else encoder.decoder.sizes["layers"],
    }


def _specification(tokenizer: LogTokenizer) -> dict[str, Any]:
    return dict(orjson.loads((tokenizer.folder / TOKENIZER).read_bytes()))


def take_weights(
    model: DebertaV2ForMaskedLM, decoder: MaskDecoder | None, encoder: PretrainedEncoder, tokenizer: LogTokenizer
) -> None:
    """Set a model, built with the encoder's sizes and the tokenizer's vocabulary, to the encoder's weights.

    A new token starts where its text stood: its word embedding and output bias are the means of those of the old
    tokens that it joins (Hewitt, 2021, on why not at random).

    Raises:
        UserError: the encoder has other parts than ours.
    """
    weights = encoder.model.state_dict()
    joined = old_pieces(tokenizer, encoder.tokenizer)
    if joined:
        for name in (_WORDS, _BIAS):
            rows = [weights[name][pieces].mean(0) for pieces in joined]
            weights[name] = torch.cat([weights[name], torch.stack(rows)])
    try:
        model.load_state_dict(weights, strict=True)
        if decoder is not None and encoder.decoder is not None:
            decoder.load_state_dict(encoder.decoder.state_dict(), strict=True)
    except RuntimeError as error:
        raise UserError("the encoder is not built as ours are", encoder.folder) from error


def kept_map(config: PretrainConfig, start: Start | None) -> Projection | None:
    """The map behind the encoder's pooling, where it has one and the run fits none of its own.

    Raises:
        UserError: a damaged one.
    """
    if start is None or (config.contrast is not None and config.contrast.projection != "none"):
        return None
    return read(start.encoder.folder, start.encoder.dim)


class MeasureStart(lightning.Callback):
    """Measures the encoder on the held-out events before the first step, and begins the history with that."""

    def __init__(self, folder: Path, loaders: Sequence[Iterable[Batch]]) -> None:
        self._folder, self._loaders = folder, loaders

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Validate on every rank, unless the run resumes; what a run left that died before a checkpoint goes."""
        if trainer.global_step > 0:
            return
        pl_module.eval()
        with torch.no_grad():
            for number, loader in enumerate(self._loaders):
                for index, batch in enumerate(loader):
                    trainer.strategy.validation_step(batch.to(pl_module.device), index, number)
        metrics = pl_module.validation_metrics()
        pl_module.train()
        row = {"step": 0, "tokens": 0, "events": 0, "seconds": 0.0, "tokens_per_second": 0.0}
        if trainer.is_global_zero:
            (self._folder / HISTORY).write_bytes(orjson.dumps(row | metrics) + b"\n")
