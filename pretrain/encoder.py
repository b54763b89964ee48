"""A pretrained encoder at work: pooled embeddings and the surprise at each token, through the packed forward.

Shape legend: B events, T tokens, D width.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import DebertaV2ForMaskedLM
from transformers.utils import logging as transformers_logging

from logfm.artifacts import digest, file_hash
from logfm.errors import UserError
from logfm.pretrain.decoder import MaskDecoder, load_decoder
from logfm.pretrain.forward import hidden_states, predictions
from logfm.pretrain.packing import Packed, cut_by_tokens, pack
from logfm.tokenizer import LogTokenizer

WEIGHTS = "model.safetensors"
# One token in so many is hidden at a time when surprise is measured: the share that validation masks.
_STRIDE = 7


@dataclass(frozen=True)
class PretrainedEncoder:
    """Weights and tokenizer of an encoder folder; safe to use from several threads."""

    model: DebertaV2ForMaskedLM
    tokenizer: LogTokenizer
    folder: Path
    trained_tokens: int
    """Longest sequence of the training, [CLS] and [SEP] included."""
    tokens_per_batch: int = 16_384
    decoder: MaskDecoder | None = None
    """What turns hidden states into predictions, where the encoder was trained with one."""
    bf16: bool = False
    """Products in bfloat16: about twice as fast where the processor has them, cosine to float32 above 0.999."""

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return int(self.model.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Longest event in tokens that is read whole, [CLS] and [SEP] not counted: as long as those it trained on."""
        return min(int(self.model.config.max_position_embeddings), self.trained_tokens) - 2

    @cached_property
    def hash(self) -> str:
        """SHA-256 identity of weights and tokenizer: vectors of different hashes don't mix."""
        return digest({"weights": file_hash(self.folder / WEIGHTS), "tokenizer": self.tokenizer.hash})

    def hidden_states(self, ids: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Last hidden states of each event, [CLS] and [SEP] included; float32 (n, D) each, in order."""
        found: dict[int, torch.Tensor] = {}
        for rows, states, packed in self._run(ids):
            for number, row in enumerate(rows):
                found[int(row)] = states[packed.event_T == number]
        return [found[i] for i in range(len(ids))]

    def mean_pool(self, ids: Sequence[np.ndarray]) -> np.ndarray:
        """Mean over all tokens of each event, [CLS] and [SEP] included; float32 (B, D), in order."""
        pooled = np.empty((len(ids), self.dim), dtype=np.float32)
        for rows, states, packed in self._run(ids):
            sums = torch.zeros(len(rows), self.dim).index_add_(0, packed.event_T, states)
            pooled[rows] = (sums / packed.lengths_B.unsqueeze(1)).numpy()
        return pooled

    def masked_nll(self, ids: np.ndarray) -> np.ndarray:
        """Surprise in nats at each content token while it is masked; float32 (len(ids),), NaN at delimiters.

        Every seventh content token is masked at once, so an event costs seven forward passes and each token is
        judged with 6/7 of its context, as in validation. (LAnoBERT, Lee et al., 2023, masks one at a time.)
        """
        surprise = np.full(len(ids), np.nan, dtype=np.float32)
        content = np.flatnonzero(~self.tokenizer.delimiter_mask[ids])
        turns = [content[turn::_STRIDE] for turn in range(min(_STRIDE, len(content)))]
        variants = []
        for positions in turns:
            hidden = np.array(ids, dtype=np.int64)
            hidden[positions] = self.tokenizer.mask_id
            variants.append(hidden)
        for rows, states, packed in self._run(variants):
            event_T = packed.event_T.numpy()
            hidden = np.concatenate([turns[row] for row in rows])
            # [CLS] stands before the first token.
            places = [np.flatnonzero(event_T == number)[turns[row] + 1] for number, row in enumerate(rows)]
            with torch.inference_mode():
                positions_M = torch.from_numpy(np.concatenate(places))
                scores = predictions(self.model, self.decoder, states, packed, positions_M)
                targets = torch.from_numpy(np.asarray(ids, dtype=np.int64)[hidden])
                surprise[hidden] = cross_entropy(scores, targets, reduction="none").numpy()
        return surprise

    def _run(self, ids: Sequence[np.ndarray]) -> Iterator[tuple[np.ndarray, torch.Tensor, Packed]]:
        """Batches of similar length: the events' numbers, float32 states (T, D), and how the batch is packed."""
        cls, sep = [self.tokenizer.cls_id], [self.tokenizer.sep_id]
        lengths = np.array([len(event) + 2 for event in ids], dtype=np.int64)
        order = np.argsort(lengths, kind="stable")
        for rows in cut_by_tokens(order, lengths[order], self.tokens_per_batch):
            packed = pack([np.concatenate([cls, ids[row], sep]) for row in rows])
            device = self.model.device.type
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                states = hidden_states(self.model, packed)
            yield rows, states.float(), packed


def load_encoder(folder: str | Path, bf16: bool = False) -> PretrainedEncoder:
    """Open an encoder folder; with `bf16` its products are in bfloat16, its vectors float32 all the same.

    Raises:
        UserError: not an encoder folder, damaged weights, or a tokenizer of another vocabulary size.
    """
    path = Path(folder)
    if not (path / WEIGHTS).is_file() or not (path / "config.json").is_file():
        raise UserError("not an encoder folder (config.json and model.safetensors)", path)
    tokenizer = LogTokenizer.load(path)
    transformers_logging.disable_progress_bar()
    try:
        model = DebertaV2ForMaskedLM.from_pretrained(path, use_safetensors=True, local_files_only=True)
    except Exception as error:
        raise UserError(f"cannot read the encoder ({type(error).__name__})", path) from error
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}", path)
    decoder = load_decoder(path, model.config.hidden_size)
    return PretrainedEncoder(model.eval(), tokenizer, path, _trained_tokens(path), decoder=decoder, bf16=bf16)


def _trained_tokens(folder: Path) -> int:
    path = folder / "sentence_bert_config.json"
    try:
        return max(3, int(json.loads(path.read_bytes())["max_seq_length"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("damaged encoder folder", path, "Export the encoder again.") from error
