"""What a pretraining run will take: parameters, tokens, FLOPs, memory, hours and cost. Needs no torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import ValidationError

from logfm.artifacts import MANIFEST, read_manifest
from logfm.configs.schema.plan import DeviceConfig
from logfm.configs.schema.pretrain import ModelConfig, PretrainConfig, TrainConfig
from logfm.errors import UserError
from logfm.pretrain.flops import decoder_flops, encoder_flops, head_flops, train_flops
from logfm.pretrain.memory import How, Parameters, Shape, count, equal_lengths, process_bytes
from logfm.pretrain.shipped import encoder_folder
from logfm.pretrain.zero_memory import STAGES, Offload, zero_bytes

FORMULA = (
    "3 x 2 x products of the forward pass: layers (4 D^2 + 2 D I) T + (2 n + 2 r) D for each token of an event of n "
    "tokens that reaches r position rows, 4 S D^2 a layer and batch for position tables, decoder and head at masked "
    "positions (D^2 + D V) M"
)
TOKENS_PER_PARAMETER = 20
"""Compute-optimal training tokens a parameter (Hoffmann et al., Chinchilla, 2022, table 3, rounded)."""
VOCABULARY = 29_952
"""Vocabulary where there is no tokenizer yet: SecEncoder's."""
UTILISATION = 0.35
"""Share of a device's peak that training is taken to reach."""

_LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 48_000)
Kind = Literal["cpu", "gpu"]


class Work(NamedTuple):
    """What a run is to do: training tokens, their FLOPs, and the minutes after which it ends in any case."""

    tokens: float
    flops: float
    minutes: float | None


def plan(
    config: PretrainConfig,
    devices: Sequence[DeviceConfig],
    vocab_size: int | None = None,
    tokens: float | None = None,
    length: int | None = None,
    utilisation: float = UTILISATION,
) -> dict[str, Any]:
    """The plan of a run as one JSON-serialisable document: parameters, tokens, flops, memory, devices.

    `length` is the tokens of an event, by default the longest that the run trains on; masked is the configured share
    of all tokens, so delimiters, which are never masked, make it an upper bound. On a device that does not get through
    the planned tokens in `train.minutes` the hours end with them, unless `tokens` are given.

    Raises:
        UserError: no such encoder to start from, a length above the model's, or an unreadable tokenizer.
    """
    model = config.model if config.start is None else sizes_of_folder(encoder_folder(config.start.encoder))
    length = min(config.data.max_tokens, model.max_tokens) if length is None else length
    if not 2 < length <= model.max_tokens:
        raise UserError(f"a length of {length} tokens", "model.max_tokens", f"Give 3 to {model.max_tokens}.")
    vocab_size = _vocabulary(encoder_folder(config.tokenizer)) if vocab_size is None else vocab_size
    shape = equal_lengths(length, config.data.tokens_per_batch, config.masking.share)
    weights = count(model, vocab_size)
    trainable = _trainable(config, weights)
    planned, source = _tokens(config, shape, weights.total) if tokens is None else (tokens, "given")
    per_token = flops_per_token(model, vocab_size, shape)
    memory = _memory(config, model, vocab_size, shape)
    minutes = config.train.minutes if tokens is None else None
    return {
        "parameters": weights._asdict()
        | {
            "embeddings": weights.embeddings,
            "exported": weights.exported,
            "all": weights.total,
            "trainable": trainable,
            "vocabulary": vocab_size,
        },
        "tokens": {
            "planned": planned,
            "source": source,
            "compute_optimal": TOKENS_PER_PARAMETER * weights.total,
            "per_parameter": planned / weights.total,
            "per_trainable_parameter": planned / trainable,
            "minutes": minutes,
        },
        "flops": {
            "total": per_token * planned,
            "per_token": per_token,
            "length": length,
            "masked_share": config.masking.share,
            "formula": FORMULA,
            "by_length": _by_length(model, vocab_size, config),
        },
        "memory": memory,
        "utilisation": utilisation,
        "devices": [
            _on(device, Work(planned, per_token * planned, minutes), utilisation, config, memory)
            for device in devices
            if any(row["on"] == device.kind for row in memory)
        ],
    }


def _trainable(config: PretrainConfig, weights: Parameters) -> int:
    """Weights that the loss moves: a contrastive stage without masked prediction leaves head and decoder alone."""
    unmasked = config.contrast is not None and not config.contrast.masked_weight
    return weights.total - (weights.head + weights.decoder if unmasked else 0)


def flops_per_token(model: ModelConfig, vocab_size: int, shape: Shape) -> float:
    """FLOPs of training for each token of a batch of such a shape, forward and backward."""
    lengths = np.concatenate([np.full(grid.events, grid.tokens / grid.events) for grid in shape.groups])
    return train_flops(model, vocab_size, lengths, shape.masked) / shape.tokens


def sizes_of_folder(folder: Path) -> ModelConfig:
    """The sizes of an exported encoder, read from its files alone.

    Raises:
        UserError: not an encoder folder, or a damaged one.
    """
    try:
        found = json.loads((folder / "config.json").read_bytes())
        decoder = folder / "mask_decoder.safetensors"
        layers = _header(decoder)["__metadata__"]["layers"] if decoder.is_file() else 0
        return ModelConfig(
            hidden_size=found["hidden_size"],
            layers=found["num_hidden_layers"],
            heads=found["num_attention_heads"],
            intermediate_size=found["intermediate_size"],
            position_buckets=found["position_buckets"],
            max_relative_positions=found["max_relative_positions"],
            max_tokens=found["max_position_embeddings"],
            decoder_layers=int(layers),
        )
    except FileNotFoundError:
        raise UserError("not an encoder folder (config.json)", folder) from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise UserError(f"cannot read the encoder's sizes ({type(error).__name__})", folder) from error


def _header(path: Path) -> Any:
    """The JSON header of a safetensors file: its length in eight bytes, then itself."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        return json.loads(stream.read(min(size, 1 << 20)))


def _vocabulary(folder: Path) -> int:
    if not folder.exists():
        return VOCABULARY
    from logfm.tokenizer import LogTokenizer

    return LogTokenizer.load(folder).vocab_size


def _tokens(config: PretrainConfig, shape: Shape, parameters: int) -> tuple[float, str]:
    """Training tokens by the nearest of the configured limits that is known, else the compute-optimal ones."""
    train = config.train
    known: list[tuple[float, str]] = []
    if train.steps is not None:
        step = shape.tokens * train.accumulate * train.devices * train.nodes
        known.append((float(train.steps * step), "train.steps"))
    shards = config.out / "tokens"
    if train.epochs is not None and (shards / MANIFEST).is_file():
        once = read_manifest(shards, "tokens").metrics["train"]["tokens"]
        # A pass over the new data, and the old data that is drawn beside it.
        share = 0.0 if config.start is None or config.start.replay is None else config.start.replay_share
        known.append((train.epochs * once / max(1 - share, 1e-6), f"train.epochs over {shards}"))
    optimal = float(TOKENS_PER_PARAMETER * parameters)
    return min(known, default=(optimal, f"compute-optimal: {TOKENS_PER_PARAMETER} a parameter"))


def _by_length(model: ModelConfig, vocab_size: int, config: PretrainConfig) -> list[dict[str, float]]:
    rows = []
    for length in (one for one in _LENGTHS if one <= model.max_tokens):
        shape = equal_lengths(length, config.data.tokens_per_batch, config.masking.share)
        lengths = np.full(shape.groups[0].events, length)
        forward = encoder_flops(model, lengths)
        # What the products with weights would take without any attention.
        linear = 2.0 * shape.tokens * model.layers * model.hidden_size * (4 * model.hidden_size)
        linear += 2.0 * shape.tokens * model.layers * model.hidden_size * 2 * model.intermediate_size
        decoder, head = decoder_flops(model, lengths, shape.masked), head_flops(model, vocab_size, shape.masked)
        rows.append(
            {
                "length": length,
                "per_token": flops_per_token(model, vocab_size, shape),
                "attention_share": (forward - linear) / (forward + decoder + head),
            }
        )
    return rows


def _memory(config: PretrainConfig, model: ModelConfig, vocab_size: int, shape: Shape) -> list[dict[str, Any]]:
    kinds: tuple[Kind, ...] = get_args(Kind) if config.train.accelerator == "auto" else (config.train.accelerator,)
    return [row for kind in kinds for stage in STAGES for row in _stage(config, model, vocab_size, shape, kind, stage)]


def _stage(
    config: PretrainConfig, model: ModelConfig, vocab_size: int, shape: Shape, kind: Kind, stage: Literal[0, 1, 2, 3]
) -> list[dict[str, Any]]:
    train = config.train
    kernel = kind == "gpu" and model.hidden_size // model.heads in (32, 64, 128)
    how = How(_in_bf16(train, kind), kernel, checkpointing=train.activation_checkpointing)
    offloads: list[Offload] = ["none"]
    if kind == "gpu" and stage:
        offloads += ["optimizer", "parameters"] if stage == 3 else ["optimizer"]
    rows = []
    for offload in offloads:
        bytes_ = zero_bytes(
            model,
            vocab_size,
            shape,
            how,
            stage,
            train.devices * train.nodes,
            offload,
            train.accumulate > 1,
            kind == "cpu",
        )
        total = process_bytes(bytes_, shape) if kind == "cpu" else bytes_.total
        rows.append({"on": kind, "stage": stage, "offload": offload} | bytes_._asdict() | {"total": total})
    return rows


def _in_bf16(train: TrainConfig, kind: Kind) -> bool:
    """Whether a run multiplies bfloat16. Where that is tried when it begins: no, which takes more memory."""
    if train.precision == "auto":
        return kind == "gpu" or train.devices * train.nodes > 1
    return train.precision == "bf16-mixed"


def _on(
    device: DeviceConfig, work: Work, utilisation: float, config: PretrainConfig, memory: list[dict[str, Any]]
) -> dict[str, Any]:
    """Tokens, hours and cost on a kind of device, and the least division of memory with which the run fits; None: no
    such.
    """
    number = config.train.devices * config.train.nodes
    whole = work.flops / (device.bf16_tflops * 1e12 * utilisation * number) / 3600
    hours = whole if work.minutes is None else min(whole, work.minutes / 60)
    fitting = [row for row in memory if row["on"] == device.kind and row["total"] <= device.memory * 1e9]
    fitting.sort(key=lambda row: row["offload"] != "none")
    return device.model_dump(mode="json", exclude={"words"}) | {
        "devices": number,
        "tokens": work.tokens * hours / whole,
        "hours": hours,
        "dollars": hours * number * device.dollars_per_hour,
        "fits": {"stage": fitting[0]["stage"], "offload": fitting[0]["offload"]} if fitting else None,
    }
