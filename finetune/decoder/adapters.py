"""Low-rank adapters: laid beside a base's matrices, saved without it, opened only over the same one, merged into it."""

import warnings
from pathlib import Path
from typing import Any

import peft
import torch

from logfm.configs.schema.decoder import LoraConfig
from logfm.errors import UserError
from logfm.finetune.decoder.models import Base

_PATTERN = "layers"
# peft asks transformers for an attribute under its old name.
_OLD_NAME = ".*is_gradient_checkpointing"


def adapt(base: Base, config: LoraConfig, seed: int) -> Any:
    """The base with fresh adapters (peft's model); they are float32 and change nothing until they are trained.

    Raises:
        UserError: the base has no layers under a name that is known, or fewer than are to be adapted.
    """
    layers = decoder_of(base.model).layers
    if config.layers is not None and config.layers > len(layers):
        raise UserError(f"lora.layers: {config.layers}, and {base.name} has {len(layers)}")
    attention, others = _matrices(layers[0])
    adapters = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # type: ignore[arg-type]
        lora_dropout=config.dropout,
        target_modules=sorted(attention if config.matrices == "attention" else attention | others),
        layers_to_transform=list(range(len(layers) - (config.layers or len(layers)), len(layers))),
        layers_pattern=_PATTERN,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", _OLD_NAME, FutureWarning)
        torch.manual_seed(seed)
        return peft.get_peft_model(base.model, adapters)


def decoder_of(model: Any) -> Any:
    """The stack of layers under a language model's output.

    Raises:
        UserError: it is built in another way than Llama, Qwen2, Phi-3 and their like.
    """
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not hasattr(decoder, "layers") or not hasattr(decoder, "norm"):
        raise UserError(f"models of the kind {type(model).__name__} are not supported")
    return decoder


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapters in peft's format."""
    model.save_pretrained(folder, safe_serialization=True)


def open_adapter(base: Base, folder: Path, base_hash: str) -> Base:
    """The base with adapters merged into its weights, ready to answer.

    Raises:
        UserError: no adapter there, or one that was trained over another base.
    """
    if base.hash != base_hash:
        raise UserError(
            f"this adapter belongs to another base than {base.name} (its hash begins with {base_hash[:12]}, that of "
            f"the base with {base.hash[:12]})",
            folder,
            "Give the base that it was trained over.",
        )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _OLD_NAME, FutureWarning)
            model = peft.PeftModel.from_pretrained(base.model, folder)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"no adapter can be read ({' '.join(str(error).split())[:200]})", folder) from error
    # Four-bit weights would be rounded again: there the adapters stay beside them.
    quantised = getattr(base.model, "is_quantized", False)
    merged = model if quantised else model.merge_and_unload()
    return Base(merged.eval().requires_grad_(False), base.tokenizer, base.name, base.hash)


def _matrices(layer: Any) -> tuple[set[str], set[str]]:
    """Names of a layer's linear maps: those of attention, and the others."""
    attention: set[str] = set()
    others: set[str] = set()
    for path, module in layer.named_modules():
        if isinstance(module, torch.nn.Linear):
            (attention if "attn" in path or "attention" in path else others).add(path.rsplit(".", 1)[-1])
    return attention, others
