"""From a checkpoint to an encoder folder that transformers and sentence-transformers open without code of ours."""

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import DebertaV2ForMaskedLM
from transformers.utils import logging as transformers_logging

from logfm.artifacts import MANIFEST, Manifest, digest, file_hash, finished, produce, read_manifest, stage_key
from logfm.configs.base import parse
from logfm.configs.schema.pretrain import ModelConfig
from logfm.corpus.contamination import join_indexes
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain import projection
from logfm.pretrain.card import CARD, TRAINING, write_card
from logfm.pretrain.decoder import FILE as DECODER_WEIGHTS
from logfm.pretrain.decoder import MaskDecoder, build_decoder
from logfm.pretrain.encoder_folder import TOKENIZER_HASH, WEIGHTS
from logfm.pretrain.model import build, count_parameters
from logfm.pretrain.onnx_files import INT8, ONNX, write_onnx
from logfm.pretrain.shipped import encoder_folder
from logfm.tokenizer import LogTokenizer

_STAGE = "encoder"
FINAL = "checkpoints/final.ckpt"
_PREFIXES = ("_forward_module.", "module.", "model.")
_DECODER = "decoder."


@dataclass(frozen=True)
class Extras:
    """What goes into an encoder folder besides the model."""

    onnx: bool = False
    """A graph for ONNX Runtime (see `write_onnx`)."""
    int8: bool = False
    """One in 8-bit integers."""
    half: bool = False
    """Weights in 16-bit floats, half the size; they are read as float32."""
    results: Path | None = None
    """The results.csv of `logfm eval run`, for the card."""
    audit: Path | None = None
    """What benchmarks/memorisation.py wrote, for the card."""
    licence: str | None = None
    """SPDX id that the weights are given under."""
    name: str | None = None
    """What `LogEncoder.load` takes, where it is not the folder; for the card."""

    def settings(self) -> dict[str, Any]:
        """What a manifest says of them: nothing where there are none."""
        graphs = ["onnx"] * self.onnx + ["int8"] * self.int8 + ["half"] * self.half
        beside = {"results": self.results, "audit": self.audit}
        found: dict[str, Any] = {name: file_hash(path) for name, path in beside.items() if path is not None}
        said = {"licence": self.licence, "name": self.name}
        return found | ({"graphs": graphs} if graphs else {}) | {key: value for key, value in said.items() if value}


def export_run(run: Path, out: Path, extras: Extras | None = None) -> Manifest:
    """Export the final weights of a finished run.

    Raises:
        UserError: not a finished run, or `out` holds something else.
    """
    manifest = read_manifest(run, "pretrain")
    measured = ("validation_", "old_validation_")
    metrics = {name: value for name, value in manifest.metrics.items() if name.startswith(measured)}
    return _export(
        run / FINAL, parse(ModelConfig, manifest.config["model"], run), manifest.config["data"]["max_tokens"],
        run / "tokenizer", out,
        inputs={"run": manifest.hash}, licences=manifest.licences, metrics=metrics, extras=extras or Extras(),
    )  # fmt: skip


def export_checkpoint(checkpoint: Path, out: Path, extras: Extras | None = None) -> Manifest:
    """Export any checkpoint (a Lightning file, or a DeepSpeed folder of any ZeRO stage) of a run.

    `checkpoint` may also be the folder of a finished run, or an encoder folder or `nano`, which is copied.

    Raises:
        UserError: no checkpoint there, or one without its run's configuration and tokenizer; results or an audit that
            cannot be read.
    """
    extras = extras or Extras()
    for path in (extras.results, extras.audit):
        if path is not None and not path.is_file():
            raise UserError("no such file", path)
    checkpoint = encoder_folder(checkpoint)
    if (checkpoint / MANIFEST).exists():
        if read_manifest(checkpoint).stage == _STAGE:
            return _copy(checkpoint, out, extras)
        return export_run(checkpoint, out, extras)
    run = checkpoint.parent.parent
    if not checkpoint.exists() or not (run / "config.json").exists():
        raise UserError("no checkpoint of a pretraining run", checkpoint, "Give RUN/checkpoints/NAME.ckpt or RUN.")
    document = json.loads((run / "config.json").read_bytes())
    config = parse(ModelConfig, document["model"], run / "config.json")
    return _export(
        checkpoint, config, document["data"]["max_tokens"], run / "tokenizer", out,
        inputs={"checkpoint": checkpoint_hash(checkpoint)}, licences=document["licences"], extras=extras,
    )  # fmt: skip


def _export(
    checkpoint: Path,
    config: ModelConfig,
    trained_tokens: int,
    tokenizer_folder: Path,
    out: Path,
    *,
    inputs: dict[str, str],
    licences: list[str] | None = None,
    metrics: dict[str, Any] | None = None,
    extras: Extras,
) -> Manifest:
    settings = {"model": config.dump(), "trained_tokens": trained_tokens, **extras.settings()}
    done = finished(out, stage_key(_STAGE, settings, 0, inputs))
    if done is not None:
        return done
    tokenizer = LogTokenizer.load(tokenizer_folder)
    model = build(config, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    decoder = build_decoder(config, seed=0)
    weights = load_weights(checkpoint)
    parts = {name: weights.pop(name) for name in list(weights) if name.startswith(_DECODER)}
    try:
        model.load_state_dict(weights, strict=True)
        if decoder is not None:
            decoder.load_state_dict({name.removeprefix(_DECODER): part for name, part in parts.items()}, strict=True)
    except RuntimeError as error:
        raise UserError("the checkpoint does not fit the run's configuration", checkpoint) from error
    with produce(out, stage=_STAGE, config=settings, inputs=inputs) as work:
        work.licences.update(licences or [])
        work.metrics.update(metrics or {})
        write_encoder(model, tokenizer, trained_tokens, work.path, decoder)
        found = projection.read(tokenizer_folder.parent, config.hidden_size)
        if found is not None:
            write_projection(found, work.path)
        # What an evaluation consults: the templates that the model has seen (value-masked hashes, no text).
        join_indexes([tokenizer_folder.parent], work.path)
        if (tokenizer_folder.parent / TRAINING).is_file():
            shutil.copyfile(tokenizer_folder.parent / TRAINING, work.path / TRAINING)
        _add(extras, work.path, metrics or {}, work.licences, count_parameters(model)["total"])
    return read_manifest(out)


def _add(extras: Extras, folder: Path, metrics: dict[str, Any], licences: Iterable[str], parameters: int) -> None:
    if extras.half:
        for name in (WEIGHTS, DECODER_WEIGHTS):
            if (folder / name).is_file():
                _halve(folder / name)
    if extras.onnx or extras.int8:
        write_onnx(folder, extras.int8, extras.onnx)
    write_card(
        folder, metrics, sorted(licences), parameters=parameters, results=extras.results, audit=extras.audit,
        licence=extras.licence, name=extras.name,
    )  # fmt: skip


def _halve(weights: Path) -> None:
    """Store weights in 16 bits. The configuration goes on to say float32, so that all who read them compute in that."""
    with safe_open(weights, framework="pt") as held:
        metadata = held.metadata()
        halves = {name: held.get_tensor(name).half() for name in held.keys()}  # noqa: SIM118
    save_file(halves, weights, metadata=metadata)
    shutil.copymode(weights.parent / "config.json", weights)  # safetensors writes for the owner alone


def _copy(encoder: Path, out: Path, extras: Extras) -> Manifest:
    """An encoder folder once more, with other graphs or none, and a card of its own."""
    manifest = read_manifest(encoder, _STAGE)
    own = {name: value for name, value in manifest.config.items() if name in ("model", "trained_tokens")}
    settings, inputs = {**own, **extras.settings()}, {"encoder": manifest.hash}
    done = finished(out, stage_key(_STAGE, settings, 0, inputs))
    if done is not None:
        return done
    with produce(out, stage=_STAGE, config=settings, inputs=inputs) as work:
        work.licences.update(manifest.licences)
        work.metrics.update(manifest.metrics)
        for name in manifest.outputs:
            if not name.startswith((ONNX, INT8, CARD)):
                (work.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(encoder / name, work.path / name)
        with safe_open(encoder / WEIGHTS, framework="np") as held:
            parameters = sum(math.prod(held.get_slice(name).get_shape()) for name in held.keys())  # noqa: SIM118
        _add(extras, work.path, dict(manifest.metrics), manifest.licences, parameters)
    return read_manifest(out)


def load_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The model's weights in float32, from a Lightning file or a sharded DeepSpeed folder.

    Raises:
        UserError: the checkpoint is damaged.
    """
    if checkpoint.is_dir():
        require("deepspeed", "train")
    try:
        state = _read_shards(checkpoint) if checkpoint.is_dir() else _read_file(checkpoint)
    except Exception as error:
        raise UserError(f"cannot read the checkpoint ({type(error).__name__})", checkpoint) from error
    return {_plain(name): tensor.float() for name, tensor in state.items()}


def _read_file(checkpoint: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    return state


def _read_shards(checkpoint: Path) -> dict[str, torch.Tensor]:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    # DeepSpeed's own reader unpickles; the folder was written by this user's training run.
    state: dict[str, torch.Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), tag="checkpoint")
    return state


def _plain(name: str) -> str:
    """A parameter's name in the Hugging Face model, without what wrappers put before it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def write_encoder(
    model: DebertaV2ForMaskedLM,
    tokenizer: LogTokenizer,
    trained_tokens: int,
    folder: Path,
    decoder: MaskDecoder | None = None,
) -> None:
    """Write weights (safetensors), configuration, tokenizer, and the mean pooling of sentence-transformers.

    A mask decoder goes into a file of its own, so that the folder stays a plain Hugging Face model.

    `trained_tokens` is the longest sequence of the training, [CLS] and [SEP] included: what the folder reads of an
    event by default. The model itself accepts more, at a cost that grows with the square of the length.
    """
    if not torch.cuda.is_available():
        # transformers imports DeepSpeed where it is installed, and that warns unless told.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    transformers_logging.disable_progress_bar()
    setattr(model.config, TOKENIZER_HASH, tokenizer.hash)
    model.eval().save_pretrained(folder, safe_serialization=True)
    # safetensors writes for the owner alone; the encoder is as public as the files beside it.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")
    if decoder is not None:
        decoder.save(folder)
    tokenizer.save(folder)
    transformer, pooling = "sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"
    documents: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": transformer},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": pooling},
        ],
        "sentence_bert_config.json": {
            "max_seq_length": trained_tokens,
            "do_lower_case": False,
        },
        "1_Pooling/config.json": {
            "word_embedding_dimension": model.config.hidden_size,
            "pooling_mode_mean_tokens": True,
        },
    }
    for name, document in documents.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_projection(found: projection.Projection, folder: Path) -> None:
    """Put a map behind the pooling of an encoder folder."""
    projection.write(found, folder)
    path = folder / "modules.json"
    modules = json.loads(path.read_bytes())
    dense = {"idx": 2, "name": "2", "path": projection.FOLDER, "type": "sentence_transformers.models.Dense"}
    path.write_text(json.dumps([*modules[:2], dense], indent=1) + "\n", encoding="utf-8")


def checkpoint_hash(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint's file, or of the files of a sharded one."""
    if checkpoint.is_file():
        return file_hash(checkpoint)
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    return digest({path.relative_to(checkpoint).as_posix(): file_hash(path) for path in files})
