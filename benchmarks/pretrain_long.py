"""Peak memory and seconds of `nano` on one event of 6,000 to 48,000 tokens, full attention, in a fresh process each.

Usage: python -m benchmarks.pretrain_long [--lengths 6000 12000 24000 48000] [--vocabulary 29952]
Reading: hidden states in float32. Training: one step of masked language modelling with the mask decoder, bf16 autocast
and AdamW. Memory is the process's peak, libraries and weights included; the ids are random, which changes neither.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import torch

from logfm.allocator import reuse_freed_memory
from logfm.artifacts import peak_memory
from logfm.configs.schema.pretrain import MaskingConfig, ModelConfig, TrainConfig
from logfm.pretrain.data import Masker
from logfm.pretrain.decoder import build_decoder
from logfm.pretrain.forward import hidden_states
from logfm.pretrain.model import build
from logfm.pretrain.module import MaskedLanguageModel
from logfm.pretrain.packing import pack


def work(length: int, vocabulary: int, training: bool) -> dict[str, float]:
    """Do one thing in this process; seconds of it alone and bytes at the peak."""
    sizes = ModelConfig()
    model = build(sizes, vocabulary, pad_id=0, seed=0)
    ids = np.random.default_rng(0).integers(5, vocabulary, length)
    before, start = peak_memory(), time.perf_counter()
    if training:
        reuse_freed_memory()
        module = MaskedLanguageModel(
            model, build_decoder(sizes, seed=0), TrainConfig(steps=1), steps=1, byte_lengths=np.ones(vocabulary)
        )
        optimizer = torch.optim.AdamW(module.parameters())
        maskable = np.ones(vocabulary, dtype=bool)
        batch = Masker(maskable, 4, MaskingConfig(), seed=0).batch([ids], 0, 0.3)
        with torch.autocast("cpu", torch.bfloat16):
            loss, _, _ = module.losses(batch)
        loss.backward()
        optimizer.step()
    else:
        with torch.inference_mode():
            hidden_states(model, pack([ids]))
    return {"seconds": time.perf_counter() - start, "before": before, "peak": peak_memory()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[6000, 12_000, 24_000, 48_000])
    parser.add_argument("--vocabulary", type=int, default=29_952)
    parser.add_argument("--one", choices=["reading", "training"], help="One case, in this process, as JSON.")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(work(arguments.lengths[0], arguments.vocabulary, arguments.one == "training")))
        return
    print("| tokens | reading: GB | s | training step: GB | s |\n|---|---|---|---|---|")
    for length in arguments.lengths:
        cells = [f"{length:,}"]
        for case in ("reading", "training"):
            options = ["--lengths", str(length), "--vocabulary", str(arguments.vocabulary), "--one", case]
            command = [sys.executable, "-m", "benchmarks.pretrain_long", *options]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])
            cells += [f"{answer['peak'] / 1e9:.2f}", f"{answer['seconds']:.0f}"]
        print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
