"""PyTorch: the packed forward that the encoder was trained with, on a GPU where there is one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from logfm.allocator import reuse_freed_memory
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.extras import require
from logfm.tokenizer import LogTokenizer

if TYPE_CHECKING:
    from logfm.embeddings.backends import Pooling
    from logfm.pretrain import PretrainedEncoder

_CPU_TOKENS = 4096
"""Tokens of a batch on a CPU: more are slower, as what is computed no longer fits the processor's caches."""


@dataclass(frozen=True, eq=False)
class TorchRunner:
    """A pretrained encoder as it is."""

    pretrained: "PretrainedEncoder"

    @property
    def tokenizer(self) -> LogTokenizer:
        """What makes ids of texts."""
        return self.pretrained.tokenizer

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.pretrained.dim

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.pretrained.model.config.num_hidden_layers)

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens that is read whole by default, [CLS] and [SEP] not counted."""
        return self.pretrained.max_tokens

    @property
    def most_tokens(self) -> int:
        """Longest text in tokens that it can read, if asked to."""
        return self.pretrained.most_tokens

    @property
    def hash(self) -> str:
        """Identity of weights and tokenizer."""
        return self.pretrained.hash

    def pool(self, ids: Sequence[np.ndarray], layers: Sequence[int], by: "Pooling") -> np.ndarray:
        """One vector of each text's tokens; float32 (len(ids), dim), in order."""
        return self.pretrained.pool(ids, layers, by)


def open_backend(folder: Path, config: EncoderConfig) -> TorchRunner:
    """Open an encoder folder.

    Raises:
        UserError: not an encoder folder, or a damaged one.
    """
    require("torch", "embed")
    require("transformers", "embed")
    from logfm.embeddings.backends import torch_device
    from logfm.pretrain import load_encoder

    device = torch_device(config)
    pretrained = load_encoder(folder, config.bf16, device)
    if device == "cuda":
        return TorchRunner(replace(pretrained, tokens_per_batch=config.tokens_per_batch))
    from logfm.embeddings.backends.onednn import use_onednn

    use_onednn(pretrained.model)
    # Else every batch of a large model maps its arrays anew: a tenth of the time.
    reuse_freed_memory()
    return TorchRunner(replace(pretrained, tokens_per_batch=min(config.tokens_per_batch, _CPU_TOKENS)))
