"""Encoder folders that logfm exported, through the packed forward of the pretraining room."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.truncation import pieces, pool
from logfm.extras import require

if TYPE_CHECKING:
    from logfm.pretrain import PretrainedEncoder


@dataclass(frozen=True, eq=False)
class FolderBackend:
    """Mean over all tokens of the last layer, [CLS] and [SEP] included, as sentence-transformers pools the folder."""

    pretrained: "PretrainedEncoder"
    config: EncoderConfig = field(default_factory=EncoderConfig)

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.pretrained.dim

    @property
    def hash(self) -> str:
        """Identity of weights and tokenizer."""
        return self.pretrained.hash

    @property
    def limit(self) -> int:
        """Tokens read of a text, special ones not counted."""
        return min(self.pretrained.max_tokens, self.config.max_tokens or self.pretrained.max_tokens)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)), and how many texts were cut."""
        owners: list[int] = []
        parts: list[np.ndarray] = []
        cut = 0
        for number, ids in enumerate(self.pretrained.tokenizer.encode_batch(texts)):
            cut += len(ids) > self.limit
            for ranges in pieces(len(ids), self.limit, self.config.truncation):
                owners.append(number)
                parts.append(np.concatenate([ids[start:end] for start, end in ranges]))
        weights = np.array([len(part) + 2 for part in parts], dtype=np.float64)
        return pool(self.pretrained.mean_pool(parts), np.array(owners), weights, len(texts)), cut


def open_folder(uri: str, config: EncoderConfig) -> FolderBackend:
    """Open an encoder folder.

    Raises:
        UserError: not an encoder folder, or a damaged one.
    """
    require("torch", "embed")
    require("transformers", "embed")
    from logfm.pretrain import load_encoder

    return FolderBackend(load_encoder(uri, config.bf16), config)
