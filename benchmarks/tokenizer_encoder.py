"""Bits per byte of a small encoder on one tokenizer: the same texts, the same hidden words, whatever the tokens.

Masking token by token would favour fine tokens, whose neighbours give them away. So words (runs of letters and digits)
are hidden whole, the same ones for every tokenizer, and the nats of their tokens are divided by those tokens' bytes.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy

from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain.data import packed_batch
from logfm.pretrain.forward import hidden_states, masked_logits
from logfm.pretrain.masking import Masked
from logfm.pretrain.model import build
from logfm.pretrain.packing import cut_by_tokens

SIZES = ModelConfig(hidden_size=128, layers=2, heads=2, intermediate_size=512, position_buckets=32)
CHARACTERS = 512
"""Longest piece of a text."""
_CLS, _SEP, _MASK = 1, 2, 4
_WORD = re.compile("[A-Za-z0-9]+")
_TOKENS = 4096  # a batch

Hidden = tuple[np.ndarray, np.ndarray]
"""Ids with [CLS] and [SEP], and the positions to hide."""


def hide(backend: Tokenizer, texts: Sequence[str], share: float, seed: int) -> list[Hidden]:
    """Encode texts and hide `share` of their words; the choice depends on the text's place and the seed alone."""
    found = []
    for number, (text, encoding) in enumerate(
        zip(texts, backend.encode_batch(list(texts), add_special_tokens=False), strict=True)
    ):
        rng = np.random.default_rng([seed, number])
        covered = np.zeros(len(text) + 1, dtype=np.int64)
        for word in _WORD.finditer(text):
            if rng.random() < share:
                covered[word.start() + 1 : word.end() + 1] = 1
        covered = np.cumsum(covered)
        positions = [place + 1 for place, (start, end) in enumerate(encoding.offsets) if covered[end] > covered[start]]
        ids = np.array([_CLS, *encoding.ids, _SEP], dtype=np.int64)
        found.append((ids, np.array(positions, dtype=np.int64)))
    return found


def bits_per_byte(
    backend: Tokenizer, byte_lengths: np.ndarray, training: Sequence[str], sets: dict[str, list[str]]
) -> dict[str, float]:
    """Train a small encoder once through the texts, and measure it on each set; bf16, one seed."""
    model = build(SIZES, backend.get_vocab_size(), 0, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=1e-5)
    batches = in_batches(hide(backend, training, 0.3, 1))
    order = np.random.default_rng(0).permutation(len(batches))
    for step, number in enumerate(order):
        progress = step / len(order)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50, max(0.0, (1 - progress) / 0.3))
        loss = _nats(model, batches[number]).mean()
        if torch.isfinite(loss):
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    sizes = torch.from_numpy(byte_lengths.astype(np.float64))
    found = {}
    with torch.no_grad():
        for name, texts in sets.items():
            nats = size = 0.0
            for masked in in_batches(hide(backend, texts, 0.15, 2)):
                nats += float(_nats(model, masked).double().sum())
                size += float(sizes[torch.from_numpy(masked.targets)].sum())
            found[name] = round(float(nats / np.log(2) / size), 3)
    return found


def _nats(model: torch.nn.Module, masked: Masked) -> torch.Tensor:
    batch = packed_batch(masked)
    with torch.autocast("cpu", torch.bfloat16):
        states = hidden_states(model, batch.packed)
        logits = masked_logits(model, states, batch.positions_M)
    return cross_entropy(logits.float(), batch.targets_M, reduction="none")


def in_batches(hidden: Sequence[Hidden]) -> list[Masked]:
    """Batches of similar length, the hidden positions masked."""
    lengths = np.array([len(ids) for ids, _ in hidden])
    order = np.argsort(lengths, kind="stable")
    return [_masked([hidden[row] for row in rows]) for rows in cut_by_tokens(order, lengths[order], _TOKENS)]


def _masked(hidden: Sequence[Hidden]) -> Masked:
    events, positions, targets = [], [], []
    start = 0
    for ids, places in hidden:
        changed = ids.copy()
        changed[places] = _MASK
        events.append(changed)
        positions.append(places + start)
        targets.append(ids[places])
        start += len(ids)
    return Masked(events, np.concatenate(positions), np.concatenate(targets))
