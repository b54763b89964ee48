"""What runs an encoder folder: `torch` (the packed forward of pretraining), `onnx` and `onnx-int8` (ONNX Runtime)."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Literal, Protocol

import numpy as np

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain.onnx_files import GRAPH_TOKENS, INT8
from logfm.tokenizer import LogTokenizer

Pooling = Literal["mean", "first", "max"]
_OPENERS = {"torch": "torch_backend", "onnx": "onnx_backend", "onnx-int8": "onnx_backend"}


class Runner(Protocol):
    """An encoder's model, whatever computes it; safe to use from several threads."""

    @property
    def tokenizer(self) -> LogTokenizer:
        """What makes ids of texts."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def layers(self) -> int:
        """Number of layers."""

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens that is read whole by default, [CLS] and [SEP] not counted."""

    @property
    def most_tokens(self) -> int:
        """Longest text in tokens that it can read, if asked to."""

    @property
    def hash(self) -> str:
        """Identity of weights, tokenizer, and of the arithmetic where that moves vectors."""

    def pool(self, ids: Sequence[np.ndarray], layers: Sequence[int], by: Pooling) -> np.ndarray:
        """One vector of each text's tokens, [CLS] and [SEP] included; float32 (len(ids), dim), in order.

        States are the mean of the given layers', counted from 1 (0 is what goes into the first); `by` their mean over
        the tokens, their maximum, or those of the first token, [CLS].
        """


def open_runner(folder: Path, config: EncoderConfig) -> Runner:
    """Open an encoder folder with the backend that the configuration names.

    Raises:
        UserError: not an encoder folder, a damaged one, one without the backend's file, or a package is missing.
    """
    backend = chosen_backend(folder, config)
    module = import_module(f"logfm.embeddings.backends.{_OPENERS[backend]}")
    runner: Runner = module.open_backend(folder, config.model_copy(update={"backend": backend}))
    return runner


def chosen_backend(folder: Path, config: EncoderConfig) -> Literal["torch", "onnx", "onnx-int8"]:
    """The backend that the configuration names, or what `auto` stands for on this machine."""
    if config.backend != "auto":
        return config.backend
    if config.bf16 or not (folder / INT8).is_file() or find_spec("onnxruntime") is None:
        return "torch"
    if (config.max_tokens or 0) > GRAPH_TOKENS - 2:
        return "torch"
    # Asking torch would load it, which takes longer than a search.
    gpu = which("nvidia-smi") if config.device == "auto" else config.device == "cuda"
    return "torch" if gpu else "onnx-int8"


def torch_device(config: EncoderConfig) -> Literal["cpu", "cuda"]:
    """The device that the configuration names, or what `auto` stands for on this machine.

    Raises:
        UserError: there is no GPU, or torch is not built for it.
    """
    gpu = config.device != "cpu" and require("torch", "embed").cuda.is_available()
    if config.device == "cuda" and not gpu:
        raise UserError("torch finds no GPU here", fix="Take --device cpu.")
    return "cuda" if gpu else "cpu"
