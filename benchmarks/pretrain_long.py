"""Peak memory and seconds of `nano` on one event of 6,000 to 48,000 tokens, full attention, in a fresh process each.

Usage: python -m benchmarks.pretrain_long TOKENIZER [--lengths 6000 12000 24000 48000]
Reading: one text through `LogEncoder.load(FOLDER, EncoderConfig(max_tokens=...))`, as users read, from an exported
folder of random weights, tokenised, in float32. Training: one step of masked language modelling with the mask decoder,
bf16 autocast and AdamW. Memory is the process's peak, libraries and weights included; the ids are random, which changes
neither.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from logfm.allocator import reuse_freed_memory
from logfm.artifacts import peak_memory
from logfm.configs import load
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.configs.schema.pretrain import MaskingConfig, PretrainConfig, TrainConfig
from logfm.embeddings import LogEncoder
from logfm.pretrain.data import Masker
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.export import write_encoder
from logfm.pretrain.model import build
from logfm.pretrain.module import MaskedLanguageModel
from logfm.tokenizer import LogTokenizer


def work(length: int, tokenizer: LogTokenizer, training: bool) -> dict[str, float]:
    """Do one thing in this process; seconds of it alone and bytes at the peak."""
    sizes = load(PretrainConfig, "pretrain/nano").model
    model = build(sizes, tokenizer.vocab_size, tokenizer.pad_id, seed=0)
    numbers = np.random.default_rng(0).integers(5, tokenizer.vocab_size, length)
    if training:
        reuse_freed_memory()
        module = MaskedLanguageModel(
            model, build_decoder(sizes, seed=0), TrainConfig(steps=1), 1, byte_lengths=np.ones(tokenizer.vocab_size)
        )
        optimizer = torch.optim.AdamW(module.parameters(), fused=True)
        maskable = np.ones(tokenizer.vocab_size, dtype=bool)
        batch = Masker(maskable, tokenizer.mask_id, MaskingConfig(), seed=0).batch([numbers], 0, 0.3)
        before, start = peak_memory(), time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss, _, _ = module.losses(batch)
        loss.backward()
        optimizer.step()
        return {"seconds": time.perf_counter() - start, "before": before, "peak": peak_memory()}
    # At least a token a number; what is over is cut.
    text = " ".join(map(str, numbers))
    with tempfile.TemporaryDirectory() as scratch:
        write_encoder(model, tokenizer, 512, Path(scratch))
        encoder = LogEncoder.load(scratch, EncoderConfig(max_tokens=length - 2))
        before, start = peak_memory(), time.perf_counter()
        encoder.encode([text])
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak_memory()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=[6000, 12_000, 24_000, 48_000])
    parser.add_argument("--one", choices=["reading", "training"], help="One case, in this process, as JSON.")
    arguments = parser.parse_args()
    if arguments.one:
        tokenizer = LogTokenizer.load(arguments.tokenizer)
        print(json.dumps(work(arguments.lengths[0], tokenizer, arguments.one == "training")))
        return
    print("| tokens | reading: GB | s | training step: GB | s |\n|---|---|---|---|---|")
    for length in arguments.lengths:
        cells = [f"{length:,}"]
        for case in ("reading", "training"):
            options = [str(arguments.tokenizer), "--lengths", str(length), "--one", case]
            command = [sys.executable, "-m", "benchmarks.pretrain_long", *options]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
            cells += [f"{answer['peak'] / 1e9:.2f}", f"{answer['seconds']:.0f}"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
