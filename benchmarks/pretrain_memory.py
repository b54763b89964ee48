"""What a training step takes on the CPU, beside what `logfm plan` says it will.

Usage: python benchmarks/pretrain_memory.py [--varied 24]
Each row is a fresh process: the model of a recipe, AdamW, packed batches of random tokens of which all may
be masked, the settings of the C library that training has. Measured is the peak of resident memory less what was
resident after the imports. `--varied N` adds a run of N steps on batches that differ in their lengths, whose peak is
more than the plan's: oneDNN keeps kernels for each shape, and the heap keeps holes of each size.
"""

import argparse
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import orjson

from logfm.artifacts import peak_memory
from logfm.configs import load
from logfm.configs.schema.pretrain import PretrainConfig
from logfm.pretrain.memory import Grid, How, Shape, process_bytes, step_bytes

STEPS = 3


class Case(NamedTuple):
    """A step to measure: `lengths` of one batch's events."""

    recipe: str
    vocab_size: int
    lengths: list[int]
    changes: list[str]
    batches: int = 1


def cases(varied: int) -> dict[str, Case]:
    """What is measured, by name."""
    mixed = [int(n) for n in np.clip(np.random.default_rng(0).lognormal(5, 0.8, 45), 8, 512)]
    nano, small, checkpointing = "pretrain/nano", "pretrain/small", "train.activation_checkpointing=true"
    float32, bf16 = ([f"train.precision={one}"] for one in ("32-true", "bf16-mixed"))
    rows = {
        "nano, 16 x 512": Case(nano, 8192, [512] * 16, bf16),
        "nano, 16 x 512, no decoder": Case(nano, 8192, [512] * 16, [*bf16, "model.decoder_layers=0"]),
        "nano, 64 x 128": Case(nano, 8192, [128] * 64, bf16),
        "nano, 16 x 512, vocabulary 29,952": Case(nano, 29_952, [512] * 16, bf16),
        "nano, 16 x 512, float32": Case(nano, 8192, [512] * 16, float32),
        "nano, 16 x 512, checkpointing": Case(nano, 8192, [512] * 16, [*bf16, checkpointing]),
        "nano, mixed lengths, one batch": Case(nano, 8192, mixed, bf16),
        "small, 16 x 256": Case(small, 29_952, [256] * 16, bf16),
        "small, 8 x 1024": Case(small, 29_952, [1024] * 8, bf16),
        "small, 8 x 1024, checkpointing": Case(small, 29_952, [1024] * 8, [*bf16, checkpointing]),
    }
    if varied:
        for name, precision in (("", bf16), (", float32", float32)):
            rows[f"nano, mixed lengths, {varied} batches{name}"] = Case(nano, 8192, mixed, precision, varied)
            rows[f"small, mixed lengths, {varied} batches{name}"] = Case(small, 29_952, mixed, precision, varied)
    return rows


def measure(case: Case) -> dict[str, int]:
    """Train some steps in this process; the estimate and the measured peak in bytes."""
    import torch

    from logfm.allocator import release_memory, reuse_freed_memory
    from logfm.pretrain.callbacks.memory import ReleaseMemory
    from logfm.pretrain.data import Batch, Masker
    from logfm.pretrain.decoder import build_decoder
    from logfm.pretrain.model import build
    from logfm.pretrain.module import MaskedLanguageModel

    config = load(PretrainConfig, case.recipe, case.changes)
    masker = Masker(np.ones(case.vocab_size, dtype=bool), 0, config.masking, config.seed)
    rng = np.random.default_rng(0)

    def batch(number: int) -> Batch:
        lengths = case.lengths if not number else [max(8, n - int(rng.integers(n))) for n in case.lengths]
        events = [rng.integers(1, case.vocab_size, size=length) for length in lengths]
        return masker.batch(events, number, config.masking.share)

    reuse_freed_memory()
    before = peak_memory()
    module = MaskedLanguageModel(
        build(config.model, case.vocab_size, 0, 0),
        build_decoder(config.model, 0),
        config.train,
        STEPS,
        np.ones(case.vocab_size),
    )
    optimizer = module.configure_optimizers()["optimizer"]
    mixed = config.train.precision != "32-true"
    first = batch(0)
    for number in range(max(STEPS, case.batches)):
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = module.losses(first if case.batches == 1 else batch(number))[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.train.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        if number % ReleaseMemory.EVERY == ReleaseMemory.EVERY - 1:
            release_memory()
    measured = peak_memory() - before
    grids = tuple(Grid(group.events, group.length, group.stop - group.start) for group in first.packed.groups)
    shape = Shape(len(first.packed.ids_T), len(first.positions_M), grids)
    how = How(bf16=mixed, checkpointing=config.train.activation_checkpointing)
    estimate = process_bytes(step_bytes(config.model, case.vocab_size, shape, how), shape)
    return {"estimate": estimate, "measured": measured}


def main() -> None:
    """Run each case in a process of its own, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--varied", type=int, default=0, help="steps of the run on batches that differ")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        sys.stdout.write(orjson.dumps(measure(Case(*orjson.loads(arguments.case)))).decode())
        return
    print(f"{'step':36} {'estimate':>9} {'measured':>9}  ratio")
    for name, case in cases(arguments.varied).items():
        command = [sys.executable, __file__, "--case", orjson.dumps(list(case)).decode()]
        found = orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        estimate, measured = found["estimate"], found["measured"]
        print(f"{name:36} {estimate / 1e6:6.0f} MB {measured / 1e6:6.0f} MB  {estimate / measured:5.2f}", flush=True)


if __name__ == "__main__":
    main()
