"""Encoder folders that logfm exported: texts to tokens, cut by the policy, through a backend, to vectors."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logfm.artifacts import digest
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.backends import Runner, chosen_backend, open_runner
from logfm.embeddings.truncation import pieces, pool
from logfm.errors import UserError
from logfm.pretrain.projection import Projection, read
from logfm.pretrain.shipped import encoder_folder

if TYPE_CHECKING:
    from logfm.pretrain import PretrainedEncoder


@dataclass(frozen=True, eq=False)
class FolderBackend:
    """By default the mean over all tokens of the last layer, [CLS] and [SEP] included, as sentence-transformers pools
    the folder.
    """

    runner: Runner
    config: EncoderConfig = field(default_factory=EncoderConfig)
    projection: Projection | None = None
    """The folder's own map behind the pooling, for the layers and pooling that it was fitted on: the default ones."""
    folder: Path | None = None
    """Where the encoder lies, if `auto` chose a backend that cannot train or explain."""
    chosen: str = "torch"
    """The backend that runs, where the configuration says `auto`."""

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.runner.dim if self.projection is None else len(self.projection.bias)

    @cached_property
    def hash(self) -> str:
        """Identity of weights and tokenizer, and of layers and pooling where they are not the default."""
        if self.projection is not None:
            return digest({"encoder": self.runner.hash, "projection": self.projection.hash})
        if self.plain:
            return self.runner.hash
        return digest({"encoder": self.runner.hash, "layers": list(self.layers), "pooling": self.config.pooling})

    @property
    def plain(self) -> bool:
        """Whether layers and pooling are the default ones."""
        return self.layers == (self.runner.layers,) and self.config.pooling == "mean"

    @cached_property
    def pretrained(self) -> "PretrainedEncoder | None":
        """The model and tokenizer: not behind the ONNX backends, unless they were chosen by `auto`."""
        if self.folder is None or self.config.backend != "auto":
            return getattr(self.runner, "pretrained", None)
        runner = open_runner(self.folder, self.config.model_copy(update={"backend": "torch"}))
        return getattr(runner, "pretrained", None)

    @property
    def limit(self) -> int:
        """Tokens read of a text, special ones not counted: as many as in training, unless the configuration asks for
        more or fewer; never more than the runner can.
        """
        asked = self.config.max_tokens
        return self.runner.max_tokens if asked is None else min(self.runner.most_tokens, asked)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """The layers whose mean is pooled."""
        return chosen_layers(self.config.layers, self.runner.layers)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)), and how many texts were cut."""
        owners: list[int] = []
        parts: list[np.ndarray] = []
        cut = 0
        for number, (text, ids) in enumerate(zip(texts, self.runner.tokenizer.encode_batch(texts), strict=True)):
            if len(ids) <= self.limit:
                owners.append(number)
                parts.append(ids)
                continue
            cut += 1
            for ranges in pieces(len(ids), self.limit, self.config.truncation, text):
                owners.append(number)
                parts.append(np.concatenate([ids[start:end] for start, end in ranges]))
        weights = np.array([len(part) + 2 for part in parts], dtype=np.float64)
        vectors = self.runner.pool(parts, self.layers, self.config.pooling)
        if self.projection is not None:
            vectors = self.projection(vectors)
        return pool(vectors, np.array(owners), weights, len(texts)), cut


def chosen_layers(layers: str, count: int) -> tuple[int, ...]:
    """The layers (1 the first, 0 what goes into it) that `EncoderConfig.layers` means in a model of `count` layers.

    Raises:
        UserError: the model has fewer layers.
    """
    if layers == "last":
        return (count,)
    name, _, number = layers.rpartition(":")
    found = tuple(range(count - int(number) + 1, count + 1)) if name else (int(number),)
    if found[0] < 0 or found[-1] > count:
        raise UserError(f"the encoder has {count} layers", f"layers {layers}", f"Choose 0 to {count}, or last:N.")
    return found


def open_folder(uri: str, config: EncoderConfig) -> FolderBackend:
    """Open an encoder folder.

    Raises:
        UserError: not an encoder folder, a damaged one, or no such layer.
    """
    folder = encoder_folder(uri)
    chosen = chosen_backend(folder, config)
    runner = open_runner(folder, config.model_copy(update={"backend": chosen}))
    chosen_layers(config.layers, runner.layers)
    place = None if hasattr(runner, "pretrained") else folder
    backend = FolderBackend(runner, config, folder=place, chosen=chosen)
    return replace(backend, projection=read(folder, runner.dim)) if backend.plain else backend
