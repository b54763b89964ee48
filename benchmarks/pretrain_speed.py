"""Training speed beside Hugging Face's own: useful (non-padding) tokens a second on the same real events.

Usage: python -m benchmarks.pretrain_speed TOKENS TOKENIZER [--size nano|small] [--steps N] [--keep]
TOKENS and TOKENIZER are folders of a pretraining run. Rival: `DebertaV2ForMaskedLM` with
`DataCollatorForLanguageModeling` and dynamic padding on shuffled events, in float32 and in bf16 autocast. All sides
forward, backward and AdamW (torch's fused one, which both take by default), with as many useful tokens a batch;
`logfm` has the rival's weights, and `with decoder` the mask decoder on top, as logfm trains by default; sizes are
those of the recipes, and logfm's precision is what the machine multiplies faster, as with `train.precision: auto`.
Each has a process of its own, and they step in turn, so that noise on the machine meets all. The rival runs as it
comes; with `--keep` it has logfm's setting of the C library, which keeps freed memory (`logfm.allocator`): that is
worth more to it than to logfm, and takes it to 11 GB at the size small, so that its float32 is left out there. Speeds
are medians over the steps, with the least and the most. The share of the machine's rate is model FLOPs
(`pretrain.flops`: scores over the vocabulary at masked positions alone) over the rate of square products in that
precision (`pretrain.peak.measured`), the better of two times.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from logfm.allocator import reuse_freed_memory
from logfm.configs import load
from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig, PretrainConfig
from logfm.pretrain.data import Masker, Shard, TrainBatches
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.flops import train_flops
from logfm.pretrain.forward import hidden_states, prediction_loss
from logfm.pretrain.model import build
from logfm.pretrain.packing import cut_by_tokens
from logfm.pretrain.peak import faster_in_bf16, measured
from logfm.tokenizer import LogTokenizer

Step = Callable[[], tuple[int, float]]
SIZES = {name: load(PretrainConfig, f"pretrain/{name}").model for name in ("nano", "small")}
STEPS = {"nano": 20, "small": 10}
RIVALS = ("HF bf16", "HF fp32")


def ours(shard: Shard, folder: Path, sizes: ModelConfig, budget: int, bf16: bool) -> Step:
    """One training step of the packed forward; returns the tokens it read, and its model FLOPs."""
    tokenizer = LogTokenizer.load(folder)
    model = build(sizes, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    decoder = build_decoder(sizes, seed=0)
    optimizer = torch.optim.AdamW([*model.parameters(), *(decoder.parameters() if decoder else ())], fused=True)
    batches = iter(TrainBatches(shard, Masker.of(tokenizer, MaskingConfig(), 0), budget, 0, 1))

    def step() -> tuple[int, float]:
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            states = hidden_states(model, batch.packed)
            loss, _, _ = prediction_loss(model, decoder, states, batch.packed, batch.positions_M, batch.targets_M)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        flops = train_flops(sizes, tokenizer.vocab_size, batch.packed.lengths_B.numpy(), len(batch.targets_M))
        return len(batch.packed.ids_T), flops

    return step


def hugging_face(shard: Shard, folder: Path, sizes: ModelConfig, budget: int, bf16: bool) -> Step:
    """One training step of transformers' model and collator; returns the tokens that are no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = build(sizes, len(tokenizer), tokenizer.pad_token_id, seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
    order = np.random.default_rng(0).permutation(len(shard.lengths))
    batches = iter(cut_by_tokens(order, shard.lengths[order], budget))

    def step() -> tuple[int, float]:
        events = shard.events(np.sort(next(batches)))
        batch = collate([{"input_ids": event.tolist()} for event in events])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return sum(map(len, events)), 0.0

    return step


def serve(
    connection: Connection, name: str, tokens: Path, tokenizer: Path, size: str, budget: int, keep: bool, bf16: bool
) -> None:
    """A contestant's process: a step for each message, answered with its tokens, seconds and FLOPs."""
    if keep or name not in RIVALS:
        reuse_freed_memory()
    shard, sizes = Shard(tokens, "train"), SIZES[size]
    if name.startswith("HF"):
        step = hugging_face(shard, tokenizer, sizes, budget, name == "HF bf16")
    else:
        step = ours(shard, tokenizer, sizes.model_copy(update={"decoder_layers": int(name != "logfm")}), budget, bf16)
    while connection.recv():
        start = time.perf_counter()
        read, flops = step()
        connection.send((read, time.perf_counter() - start, flops))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--size", choices=list(SIZES), default="nano")
    parser.add_argument("--steps", type=int, help="Steps of each; by default 20 of nano, 10 of small.")
    parser.add_argument("--keep", action="store_true", help="The rival keeps freed memory, too.")
    parser.add_argument("--budget", type=int, default=4096)
    arguments = parser.parse_args()
    dtype = torch.bfloat16 if faster_in_bf16() else torch.float32
    before = measured(dtype).flops
    context = multiprocessing.get_context("spawn")
    ends = {}
    rivals = RIVALS[:1] if arguments.keep and arguments.size == "small" else RIVALS
    names = ("logfm", "with decoder", *rivals)
    for name in names:
        ends[name], theirs = context.Pipe()
        options = (
            theirs,
            name,
            arguments.tokens,
            arguments.tokenizer,
            arguments.size,
            arguments.budget,
            arguments.keep,
            dtype == torch.bfloat16,
        )
        context.Process(target=serve, args=options, daemon=True).start()
    speeds: dict[str, list[float]] = {name: [] for name in names}
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range((arguments.steps or STEPS[arguments.size]) + 2):
        for name, end in ends.items():
            end.send(True)
            read, seconds, flops = end.recv()
            if number >= 2:  # the first ones warm up
                speeds[name].append(read / seconds)
                rates[name].append(flops / seconds)
    for end in ends.values():
        end.send(False)
    peak = max(before, measured(dtype).flops)
    best = max(float(np.median(speeds[name])) for name in rivals)
    lengths = Shard(arguments.tokens, "train").lengths
    shape = SIZES[arguments.size]
    print(
        f"{arguments.size}, {shape.layers} layers of {shape.hidden_size}; "
        f"mean length {lengths.mean():.0f}, longest {lengths.max()}; logfm in {str(dtype).removeprefix('torch.')}"
    )
    for name, values in speeds.items():
        share = f", {np.median(rates[name]) / peak:.0%} of {peak / 1e9:.0f} GFLOP/s" if any(rates[name]) else ""
        spread = f"{np.median(values):8.0f} tokens/s ({min(values):.0f} to {max(values):.0f})"
        print(f"{name:12} {spread}, {np.median(values) / best:.2f} times the better HF{share}")


if __name__ == "__main__":
    main()
