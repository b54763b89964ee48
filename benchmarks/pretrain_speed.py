"""Training speed beside Hugging Face's own: useful (non-padding) tokens a second on the same real events.

Usage: python benchmarks/pretrain_speed.py TOKENS TOKENIZER [--steps 12]
TOKENS and TOKENIZER are folders of a pretraining run. Rival: `DebertaV2ForMaskedLM` with
`DataCollatorForLanguageModeling` and dynamic padding on shuffled events, in float32 and in bf16 autocast; both sides
forward, backward and AdamW, with the same number of useful tokens a batch. Rounds alternate, so that noise on the
machine meets both.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig
from logfm.pretrain.data import Masker, Shard, TrainBatches
from logfm.pretrain.forward import hidden_states, masked_logits
from logfm.pretrain.masking import maskable_ids
from logfm.pretrain.model import build
from logfm.pretrain.packing import cut_by_tokens
from logfm.tokenizer import LogTokenizer

Step = Callable[[], int]


def ours(shard: Shard, tokenizer: LogTokenizer, sizes: ModelConfig, budget: int) -> Step:
    """One training step of the packed forward; returns the tokens it read."""
    model = build(sizes, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    optimizer = torch.optim.AdamW(model.parameters())
    specials = np.flatnonzero(tokenizer.byte_lengths == 0)
    masker = Masker(maskable_ids(tokenizer.delimiter_mask, specials, False), tokenizer.mask_id, MaskingConfig(), 0)
    batches = iter(TrainBatches(shard, masker, budget, 0, 1))

    def step() -> int:
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            logits = masked_logits(model, hidden_states(model, batch.packed), batch.positions_M)
        cross_entropy(logits.float(), batch.targets_M).backward()
        optimizer.step()
        optimizer.zero_grad()
        return len(batch.packed.ids_T)

    return step


def hugging_face(shard: Shard, folder: Path, sizes: ModelConfig, vocab: int, budget: int, bf16: bool) -> Step:
    """One training step of transformers' model and collator; returns the tokens that are no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = build(sizes, vocab, tokenizer.pad_token_id, seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters())
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
    order = np.random.default_rng(0).permutation(len(shard.lengths))
    batches = iter(cut_by_tokens(order, shard.lengths[order], budget))

    def step() -> int:
        events = shard.events(np.sort(next(batches)))
        batch = collate([{"input_ids": event.tolist()} for event in events])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return sum(map(len, events))

    return step


def rounds(contestants: dict[str, Step], steps: int) -> Iterator[tuple[str, float]]:
    """Tokens a second of each contestant, step by step in turn; the first two steps warm up."""
    for number in range(steps + 2):
        for name, step in contestants.items():
            start = time.perf_counter()
            tokens = step()
            if number >= 2:
                yield name, tokens / (time.perf_counter() - start)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--budget", type=int, default=4096)
    arguments = parser.parse_args()
    shard, tokenizer, sizes = Shard(arguments.tokens, "train"), LogTokenizer.load(arguments.tokenizer), ModelConfig()
    contestants = {
        "logfm": ours(shard, tokenizer, sizes, arguments.budget),
        "HF bf16": hugging_face(shard, arguments.tokenizer, sizes, tokenizer.vocab_size, arguments.budget, True),
        "HF fp32": hugging_face(shard, arguments.tokenizer, sizes, tokenizer.vocab_size, arguments.budget, False),
    }
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    for name, speed in rounds(contestants, arguments.steps):
        speeds[name].append(speed)
    best = max(np.median(values) for name, values in speeds.items() if name != "logfm")
    print(f"vocabulary {tokenizer.vocab_size}, mean length {shard.lengths.mean():.0f}, longest {shard.lengths.max()}")
    for name, values in speeds.items():
        print(f"{name:8} {np.median(values):8.0f} tokens/s (median of {len(values)})")
    print(f"logfm / better Hugging Face: {np.median(speeds['logfm']) / best:.2f}")


if __name__ == "__main__":
    main()
