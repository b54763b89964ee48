"""A pretrained encoder at work: pooled embeddings and the surprise at each token, through the packed forward.

Shape legend: B events, T tokens, D width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import DebertaV2ForMaskedLM
from transformers.utils import logging as transformers_logging

from logfm.errors import UserError
from logfm.pretrain.decoder import MaskDecoder, load_decoder
from logfm.pretrain.encoder_folder import check_folder, check_tokenizer, identity, trained_tokens
from logfm.pretrain.forward import layer_states, predictions
from logfm.pretrain.packing import Packed, cut_by_tokens, pack
from logfm.pretrain.shipped import encoder_folder
from logfm.tokenizer import LogTokenizer

Pooling = Literal["mean", "first", "max"]
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
        return min(self.most_tokens, self.trained_tokens - 2)

    @property
    def most_tokens(self) -> int:
        """Longest event in tokens that it can read, [CLS] and [SEP] not counted: it has positions for no more."""
        return int(self.model.config.max_position_embeddings) - 2

    @cached_property
    def hash(self) -> str:
        """SHA-256 identity of weights and tokenizer: vectors of different hashes don't mix."""
        return identity(self.folder, self.tokenizer.hash)

    def hidden_states(self, ids: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Last hidden states of each event, [CLS] and [SEP] included; float32 (n, D) each, in order."""
        found: dict[int, torch.Tensor] = {}
        for rows, states, packed in self._run(ids):
            for number, row in enumerate(rows):
                found[int(row)] = states[packed.event_T == number]
        return [found[i] for i in range(len(ids))]

    def pool(self, ids: Sequence[np.ndarray], layers: Sequence[int] | None = None, by: Pooling = "mean") -> np.ndarray:
        """One vector of each event's tokens, [CLS] and [SEP] included; float32 (B, D), in order.

        States are those of the last layer, or the mean of the given ones, counted from 1 (0 is what goes into the
        first). `by` their mean over the tokens, their maximum, or those of the first, [CLS].
        """
        pooled = np.empty((len(ids), self.dim), dtype=np.float32)
        for rows, states, packed in self._run(ids, layers):
            pooled[rows] = _pooled(states, packed, by).cpu().numpy()
        return pooled

    def masked_nll(self, ids: np.ndarray) -> np.ndarray:
        """Surprise in nats at each content token of one event while it is masked; see `masked_nlls`."""
        return self.masked_nlls([ids])[0]

    def masked_nlls(self, events: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Surprise in nats at each content token while it is masked; float32 (len(ids),) an event, NaN at delimiters.

        Every content token is masked once, each seventh one of an event at the same time: an event costs seven
        forward passes whatever its length, and a token is judged with 6/7 of its context, the share that training
        and validation leave. (LAnoBERT, Lee et al., 2023, masks one at a time: as many passes as tokens.) The
        variants of all events go in batches of similar length by token budget; all of them are held in memory.
        """
        surprise = [np.full(len(ids), np.nan, dtype=np.float32) for ids in events]
        owners, turns, variants = [], [], []
        for owner, ids in enumerate(events):
            content = np.flatnonzero(~self.tokenizer.delimiter_mask[ids])
            for turn in range(min(_STRIDE, len(content))):
                hidden = np.array(ids, dtype=np.int64)
                hidden[content[turn::_STRIDE]] = self.tokenizer.mask_id
                owners.append(owner)
                turns.append(content[turn::_STRIDE])
                variants.append(hidden)
        for rows, states, packed in self._run(variants):
            event_T = packed.event_T.cpu().numpy()
            # [CLS] stands before the first token.
            places = [np.flatnonzero(event_T == number)[turns[row] + 1] for number, row in enumerate(rows)]
            targets = np.concatenate([np.asarray(events[owners[row]], dtype=np.int64)[turns[row]] for row in rows])
            with torch.inference_mode():
                positions_M = torch.from_numpy(np.concatenate(places)).to(states.device)
                scores = predictions(self.model, self.decoder, states, packed, positions_M)
                targets_M = torch.from_numpy(targets).to(states.device)
                nats = cross_entropy(scores, targets_M, reduction="none").cpu().numpy()
            for row, found in zip(rows, np.split(nats, np.cumsum([len(turns[row]) for row in rows])[:-1]), strict=True):
                surprise[owners[row]][turns[row]] = found
        return surprise

    def _run(
        self, ids: Sequence[np.ndarray], layers: Sequence[int] | None = None
    ) -> Iterator[tuple[np.ndarray, torch.Tensor, Packed]]:
        """Batches of similar length: the events' numbers, float32 states (T, D), and how the batch is packed."""
        chosen = [int(self.model.config.num_hidden_layers)] if layers is None else list(layers)
        cls, sep = [self.tokenizer.cls_id], [self.tokenizer.sep_id]
        lengths = np.array([len(event) + 2 for event in ids], dtype=np.int64)
        order = np.argsort(lengths, kind="stable")
        for rows in cut_by_tokens(order, lengths[order], self.tokens_per_batch):
            packed = pack([np.concatenate([cls, ids[row], sep]) for row in rows]).to(self.model.device)
            with torch.inference_mode(), torch.autocast(packed.ids_T.device.type, torch.bfloat16, enabled=self.bf16):
                states = _mean_of(layer_states(self.model, packed), chosen)
            yield rows, states, packed


def _mean_of(states: Iterator[torch.Tensor], layers: Sequence[int]) -> torch.Tensor:
    """The mean of some layers' states, float32 (T, D); no layer is computed beyond the highest."""
    parts = [one.float() for number, one in enumerate(islice(states, max(layers) + 1)) if number in layers]
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


def _pooled(states_TD: torch.Tensor, packed: Packed, by: Pooling) -> torch.Tensor:
    events, width = len(packed.lengths_B), states_TD.shape[1]
    if by == "mean":
        sums_BD = states_TD.new_zeros(events, width).index_add_(0, packed.event_T, states_TD)
        return sums_BD / packed.lengths_B.unsqueeze(1)
    if by == "max":
        low_BD = states_TD.new_full((events, width), -torch.inf)
        return low_BD.scatter_reduce_(0, packed.event_T.unsqueeze(1).expand_as(states_TD), states_TD, "amax")
    starts = torch.ones_like(packed.event_T, dtype=torch.bool)
    starts[1:] = packed.event_T[1:] != packed.event_T[:-1]
    first_BD = states_TD.new_empty(events, width)
    first_BD[packed.event_T[starts]] = states_TD[starts]
    return first_BD


def load_encoder(folder: str | Path, bf16: bool = False, device: str = "cpu") -> PretrainedEncoder:
    """Open an encoder folder; with `bf16` its products are in bfloat16, its vectors float32 all the same.

    Raises:
        UserError: not an encoder folder, damaged weights, or another tokenizer.
    """
    path = encoder_folder(folder)
    check_folder(path)
    tokenizer = LogTokenizer.load(path)
    transformers_logging.disable_progress_bar()
    try:
        model = DebertaV2ForMaskedLM.from_pretrained(path, use_safetensors=True, local_files_only=True)
    except Exception as error:
        raise UserError(f"cannot read the encoder ({type(error).__name__})", path) from error
    if model.config.vocab_size != tokenizer.vocab_size:
        raise UserError(f"the tokenizer has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}", path)
    check_tokenizer(path, tokenizer.hash)
    decoder = load_decoder(path, model.config.hidden_size)
    if decoder is not None:
        decoder.to(device)
    return PretrainedEncoder(model.eval().to(device), tokenizer, path, trained_tokens(path), decoder=decoder, bf16=bf16)
