"""Other people's models: sentence-transformers (`st:`) and plain transformers with mean pooling (`hf:`)."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from logfm.artifacts import digest, file_hash
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.backends import torch_device
from logfm.embeddings.encoder import encodable
from logfm.embeddings.truncation import batches, pieces, pool
from logfm.errors import UserError
from logfm.extras import require
from logfm.pretrain.shipped import encoder_folder

# Never pickled weights (*.bin, *.pt), never code.
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
# Tokenizers without a limit state one of about 1e30.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, eq=False)
class ForeignBackend:
    """A model with a tokenizer of the transformers library; texts are cut before it sees them."""

    dim: int
    hash: str
    tokenizer: Any = field(repr=False)
    limit: int
    """Tokens read of a text, special ones not counted."""
    forward: Callable[[list[str]], np.ndarray] = field(repr=False)
    """One padded batch of texts to float32 (n, dim)."""
    config: EncoderConfig = field(default_factory=EncoderConfig)
    model: Any = field(default=None, repr=False)
    """The model of the transformers library (torch) behind it, for what reaches into its layers."""
    # The tokenizers keep their padding and truncation settings as shared state.
    _lock: Any = field(default_factory=threading.Lock, repr=False)

    def encode(self, texts: list[str]) -> tuple[np.ndarray, int]:
        """Vectors (float32 (n, dim)), and how many texts were cut."""
        limit = min(self.limit, self.config.max_tokens or self.limit)
        with self._lock:
            parts, owners, lengths, cut = self._cut([encodable(text) for text in texts], limit)
            vectors = np.empty((len(parts), self.dim), dtype=np.float32)
            for rows in batches(lengths, self.config.tokens_per_batch):
                vectors[rows] = self.forward([parts[row] for row in rows])
        return pool(vectors, np.array(owners), np.array(lengths, dtype=np.float64), len(texts)), cut

    def ids(self, texts: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """The text that each piece belongs to, and the piece's ids with the special ones."""
        limit = min(self.limit, self.config.max_tokens or self.limit)
        with self._lock:
            parts, owners, _, _ = self._cut([encodable(text) for text in texts], limit)
            maximum = limit + self.tokenizer.num_special_tokens_to_add()
            found = self.tokenizer(parts, truncation=True, max_length=maximum, return_attention_mask=False)
        return owners, found["input_ids"]

    def _cut(self, texts: Sequence[str], limit: int) -> tuple[list[str], list[int], list[int], int]:
        """The texts to encode, whose they are, their tokens, and how many of the given were too long."""
        spans = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )["offset_mapping"]
        special = self.tokenizer.num_special_tokens_to_add()
        parts: list[str] = []
        owners: list[int] = []
        lengths: list[int] = []
        cut = 0
        for number, (text, offsets) in enumerate(zip(texts, spans, strict=True)):
            cut += len(offsets) > limit
            for ranges in pieces(len(offsets), limit, self.config.truncation, text):
                kept = [text[offsets[start][0] : offsets[end - 1][1]] for start, end in ranges if end > start]
                whole = len(offsets) <= limit
                parts.append(text if whole else " ".join(kept))
                owners.append(number)
                lengths.append(special + sum(end - start for start, end in ranges))
        return parts, owners, lengths, cut


def open_sentence_transformer(uri: str, config: EncoderConfig) -> ForeignBackend:
    """Open `st:NAME_OR_PATH`; vectors are what SentenceTransformer.encode gives.

    Raises:
        UserError: no such model, or the package is missing.
    """
    library = require("sentence_transformers", "st")
    device = torch_device(config)
    folder = model_folder(uri.removeprefix("st:"))
    _quiet()
    try:
        model = library.SentenceTransformer(
            str(folder),
            device=device,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        dim = int(model.get_embedding_dimension())
    except Exception as error:
        raise UserError(f"cannot open the model ({type(error).__name__})", uri) from error
    tokenizer = _fast(model.tokenizer, uri)

    def forward(texts: list[str]) -> np.ndarray:
        vectors: np.ndarray = model.encode(texts, batch_size=len(texts), convert_to_numpy=True, show_progress_bar=False)
        return vectors

    limit = _limit(model.max_seq_length, tokenizer)
    inner = getattr(model[0], "auto_model", None)
    return ForeignBackend(dim, _identity("st", folder), tokenizer, limit, forward, config, inner)


def open_transformer(uri: str, config: EncoderConfig) -> ForeignBackend:
    """Open `hf:NAME_OR_PATH`: the mean of the last layer over all tokens that are no padding.

    Raises:
        UserError: no such model, or the package is missing.
    """
    torch = require("torch", "embed")
    transformers = require("transformers", "embed")
    folder = model_folder(uri.removeprefix("hf:"))
    _quiet()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, use_safetensors=True
        ).eval()
    except Exception as error:
        raise UserError(f"cannot open the model ({type(error).__name__})", uri) from error
    _fast(tokenizer, uri)
    device = torch_device(config)
    model.to(device)

    def forward(texts: list[str]) -> np.ndarray:
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=maximum, return_tensors="pt").to(device)
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled: np.ndarray = ((states * mask).sum(1) / mask.sum(1)).cpu().numpy()
        return pooled

    positions = getattr(model.config, "max_position_embeddings", None)
    limit = _limit(min(tokenizer.model_max_length, positions or _NO_LIMIT), tokenizer)
    maximum = limit + tokenizer.num_special_tokens_to_add()
    dim = int(model.config.hidden_size)
    return ForeignBackend(dim, _identity("hf", folder), tokenizer, limit, forward, config, model)


def model_folder(name: str) -> Path:
    """The folder of a model: `name` itself, the shipped one's for `nano`, or the hub's copy on this machine, downloaded
    where it is allowed.

    Raises:
        UserError: none is there.
    """
    folder = encoder_folder(name)
    if folder.is_dir():
        return folder
    hub = require("huggingface_hub", "embed")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(_FILES)))
    except Exception as error:
        raise UserError(
            f"no such model here or on the hub ({type(error).__name__})", name, "Give a folder or a hub name."
        ) from error


def _identity(way: str, folder: Path) -> str:
    """Of what a folder gives when it is read that way: pooling, further modules and scale are not the same."""
    return digest({"as": way, "files": folder_hash(folder)})


def folder_hash(folder: Path) -> str:
    """SHA-256 over a model's configuration, tokenizer and weights."""
    found = {path for pattern in _FILES for path in folder.rglob(pattern) if path.is_file()}
    return digest({path.relative_to(folder).as_posix(): file_hash(path) for path in found})


def _limit(maximum: int | None, tokenizer: Any) -> int:
    stated = min(maximum or _NO_LIMIT, _NO_LIMIT)
    return int(stated) - int(tokenizer.num_special_tokens_to_add())


def _fast(tokenizer: Any, uri: str) -> Any:
    """The tokenizer, if it tells where each token lies in the text."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError("the model has no fast tokenizer", uri)
    return tokenizer


def _quiet() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()
    # A report of many lines on weights that only a training needs.
    logging.set_verbosity_error()
