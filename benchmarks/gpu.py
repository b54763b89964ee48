"""What a GPU gives, in one call: parity, speed beside Hugging Face, utilisation, the loss curve, memory by length, and
the speed of a real run.

Usage: python -m benchmarks.gpu --out DIR [--tokens FOLDER] [--minutes 9] [--tune] [--no-compile]
       python -m benchmarks.gpu --out DIR --device cpu --tiny    (every stage, small, on any machine)

FOLDER holds token shards of `logfm pretrain`, whole or made small by `logfm.pretrain.carried.slim_shard`; without it,
ids are drawn by Zipf's law and lengths from a log-normal distribution. Results are written after every stage, to
gpu.json and gpu.md. Rival: `DebertaV2ForMaskedLM`, eager, `DataCollatorForLanguageModeling`, dynamic padding of
shuffled events, AdamW, in float32 and in bf16 autocast. All batches are made before the clock runs, on both sides.
Sides take turns; speeds are medians over rounds. Utilisation is by `logfm.pretrain.flops`, against the peak given and
against the measured rate of one large bf16 product. The mask decoder, which the rival has not, is left out. The stage
`run` is one of `pretrain()` with the decoder, as users run it: making batches is in its figure.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.gpu_run import whole_run
from benchmarks.gpu_sides import (
    LONGEST,
    Bench,
    Row,
    Step,
    ours,
    packed_batches,
    padded_batches,
    padded_of,
    peak_gb,
    product_rate,
    rival,
    sample,
    seconds_of,
)
from logfm.configs.schema.pretrain import ModelConfig
from logfm.pretrain.attention import Buckets, Name, packed_attention
from logfm.pretrain.carried import read_shard
from logfm.pretrain.data import Batch
from logfm.pretrain.devices import known_device
from logfm.pretrain.flops import train_flops
from logfm.pretrain.packing import pack


def machine(bench: Bench) -> Iterator[Row]:
    """What this ran on."""
    lengths = np.array([len(event) for event in bench.events])
    yield {
        "device": torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "bf16 product TFLOP/s": round(bench.measured / 1e12, 2),
        "peak TFLOP/s": None if bench.peak is None else round(bench.peak / 1e12, 1),
        "events": len(lengths),
        "tokens": int(lengths.sum()),
        "mean length": round(float(lengths.mean()), 1),
        "longest": int(lengths.max()),
        "layers x width": f"{bench.sizes.layers} x {bench.sizes.hidden_size}",
        "vocabulary": bench.vocabulary,
    }


def attention_case(bench: Bench, lengths: Sequence[int], dtype: torch.dtype) -> tuple[Any, list[torch.Tensor]]:
    """A packed batch of these lengths, and random q, k, v and tables (with gradients) of the model's shape."""
    packed = pack([np.full(length, 7) for length in lengths]).to(bench.device)
    generator = torch.Generator().manual_seed(0)
    width = bench.sizes.hidden_size // bench.sizes.heads
    shapes = [(sum(lengths), bench.sizes.heads, width)] * 3
    shapes += [(bench.sizes.heads, 2 * bench.sizes.position_buckets, width)] * 2
    made = [torch.randn(*shape, generator=generator).to(bench.device, dtype).requires_grad_() for shape in shapes]
    return packed, made


def attend(bench: Bench, name: Name, packed: Any, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The output and the gradients of all inputs under a fixed random weighting, in float32."""
    buckets = Buckets(bench.sizes.position_buckets, bench.sizes.max_relative_positions)
    with torch.autocast(bench.device.type, torch.bfloat16, enabled=tensors[0].dtype is torch.bfloat16):
        out = packed_attention(name)(*tensors, buckets, packed)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.device)
    return [one.detach().float() for one in (out, *torch.autograd.grad((out.float() * weights).sum(), tensors))]


def parity(bench: Bench) -> Iterator[Row]:
    """The fast attention against the oracle in float32, which beyond 4,096 tokens is computed block by block.

    Errors are norms of differences, relative to the oracle's norm.
    """
    longest = max(bench.lengths)
    packings = {"mixed": [1, 2, 17, 64, 65, 130, 300, 511], "long": [longest], "beyond": [longest + longest // 2 + 3]}
    for title, lengths in packings.items():
        packed, exact = attention_case(bench, lengths, torch.float32)
        oracle: Name = "eager" if max(lengths) <= 4096 else "cpu"
        expected = attend(bench, oracle, packed, exact)
        for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.02)):
            cast = [tensor.detach().to(dtype).requires_grad_() for tensor in exact]
            errors, own = (
                [float((a - b).norm() / b.norm()) for a, b in zip(found, expected, strict=True)]
                for found in (attend(bench, bench.fast, packed, cast), attend(bench, oracle, packed, cast))
            )
            yield {
                "lengths": f"{title}, up to {max(lengths)}",
                "precision": str(dtype).removeprefix("torch."),
                "output error": errors[0],
                "worst gradient error": max(errors[1:]),
                "oracle's own at this precision": max(own),
                "tolerance": tolerance,
                "holds": max(errors) <= tolerance,
            }


def speed(bench: Bench) -> Iterator[Row]:
    """Useful tokens a second on mixed lengths beside the rival's, whose batch is halved until it fits."""
    count = 4
    contestants: dict[str, tuple[Step, list[Any], int]] = {
        "logfm": (ours(bench, bench.fast), packed_batches(bench, bench.events, bench.batch, count), bench.batch)
    }
    for bf16 in (True, False):
        tokens, name = bench.batch, "HF bf16" if bf16 else "HF fp32"
        while name not in contestants:
            batches, step = padded_batches(bench, tokens, count), rival(bench, bf16)
            try:
                seconds_of(bench, step, batches)
                contestants[name] = step, batches, tokens
            except torch.OutOfMemoryError:
                tokens //= 2
                peak_gb(bench.device)
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    seconds_of(bench, contestants["logfm"][0], contestants["logfm"][1] * 2)
    for _ in range(bench.rounds):
        for name, (step, batches, _) in contestants.items():
            tokens = sum(len(b.packed.ids_T) if isinstance(b, Batch) else b[1] for b in batches)
            speeds[name].append(tokens / seconds_of(bench, step, batches))
    better = max(float(np.median(speeds[name])) for name in speeds if name != "logfm")
    for name, values in speeds.items():
        middle = float(np.median(values))
        yield {
            "side": name,
            "tokens a batch": contestants[name][2],
            "tokens/s": round(middle, 1),
            "least": round(min(values), 1),
            "most": round(max(values), 1),
            "times the better rival": round(middle / better, 2),
        }


def utilisation(bench: Bench) -> Iterator[Row]:
    """Tokens a second and model FLOP utilisation on events of one length."""
    stream = np.concatenate(bench.events)
    variants: list[tuple[Name, bool]] = [(bench.fast, False), ("cpu", False)]
    if bench.compiled:
        variants += [(bench.fast, True), ("cpu", True)]
    for length in bench.lengths:
        repeated = np.resize(stream, max(4 * max(bench.batch, length), length))
        events = [repeated[i : i + length] for i in range(0, len(repeated) - length + 1, length)]
        batches = packed_batches(bench, events, max(bench.batch, length), 3)
        flops = sum(
            train_flops(bench.sizes, bench.vocabulary, b.packed.lengths_B.numpy(), len(b.targets_M)) for b in batches
        )
        for attention, compiled in variants:
            if bench.late():
                return
            step = ours(bench, attention, compiled=compiled)
            seconds_of(bench, step, batches)
            seconds = float(np.median([seconds_of(bench, step, batches) for _ in range(bench.rounds)]))
            yield {
                "length": length,
                "attention": attention,
                "layers compiled": compiled,
                "tokens/s": round(sum(len(b.packed.ids_T) for b in batches) / seconds, 1),
                "TFLOP/s": round(flops / seconds / 1e12, 3),
                "of the peak": None if bench.peak is None else round(flops / seconds / bench.peak, 4),
                "of the measured product": round(flops / seconds / bench.measured, 4),
                "peak GB": peak_gb(bench.device),
            }


def curve(bench: Bench) -> Iterator[Row]:
    """Loss curves from the same weights over the same batches and masks, ours packed, the rival's padded."""
    batches = packed_batches(bench, bench.events, bench.curve_batch, bench.curve_steps)
    curves: dict[tuple[str, bool], np.ndarray] = {}
    for side, bf16 in (("logfm", False), ("HF", False), ("logfm", True), ("HF", True)):
        step = ours(bench, bench.fast, bf16) if side == "logfm" else rival(bench, bf16)
        given = batches if side == "logfm" else map(padded_of, batches)
        curves[side, bf16] = torch.stack([step(batch) for batch in given]).float().cpu().numpy()
    pairs = {
        "logfm and HF, float32": (("logfm", False), ("HF", False)),
        "logfm and HF, bf16": (("logfm", True), ("HF", True)),
        "for scale: HF, bf16 and float32": (("HF", True), ("HF", False)),
    }
    for title, (one, other) in pairs.items():
        apart = np.abs(curves[one] - curves[other])
        yield {"curves": title, "steps": len(batches), "largest difference": float(apart.max()),
               "mean difference": float(apart.mean()), "first loss": float(curves[one][0]),
               "last loss": float(curves[one][-1])}  # fmt: skip


def attention_step(bench: Bench, name: Name, packed: Any, tensors: list[torch.Tensor]) -> Step:
    """Forward and backward of one implementation on one batch."""
    buckets = Buckets(bench.sizes.position_buckets, bench.sizes.max_relative_positions)
    weights = torch.randn_like(tensors[0]).flatten(1)

    def step(_: None) -> torch.Tensor:
        out = packed_attention(name)(*tensors, buckets, packed)
        return torch.autograd.grad(out, tensors, weights)[0]

    return step


def attention_speed(bench: Bench) -> Iterator[Row]:
    """Milliseconds of attention alone, forward and backward, by implementation and length, at one number of tokens."""
    for length in sorted({128, *bench.lengths, *bench.memory_lengths}):
        if length > 8 * bench.batch:
            continue
        packed, tensors = attention_case(bench, [length] * max(1, bench.batch // length), torch.bfloat16)
        for name in dict.fromkeys((bench.fast, "cpu")):
            if bench.late():
                return
            forward_backward = attention_step(bench, name, packed, tensors)
            seconds_of(bench, forward_backward, [None] * 2)
            seconds = [seconds_of(bench, forward_backward, [None]) for _ in range(5)]
            yield {"length": length, "tokens": len(packed.ids_T), "attention": name,
                   "ms": round(1e3 * float(np.median(seconds)), 2), "peak GB": peak_gb(bench.device)}  # fmt: skip


def memory(bench: Bench) -> Iterator[Row]:
    """Peak memory of one training step on one event, by length, beside the rival's."""
    stream = np.concatenate(bench.events)
    for length in bench.memory_lengths:
        event = np.resize(stream, length)
        packed = packed_batches(bench, [event], length, 1)
        padded = ({name: torch.from_numpy(event)[None] for name in ("input_ids", "labels")}, length)
        for side in ("logfm", "HF bf16"):
            if bench.late():
                return
            peak_gb(bench.device)
            row: Row = {"length": length, "side": side}
            try:
                step = ours(bench, "auto") if side == "logfm" else rival(bench, bf16=True)
                seconds = seconds_of(bench, step, packed if side == "logfm" else [padded])
                yield row | {"peak GB": peak_gb(bench.device), "seconds": round(seconds, 2), "fits": True}
            except torch.OutOfMemoryError:
                yield row | {"peak GB": None, "seconds": None, "fits": False}


STAGES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "machine": machine, "parity": parity, "speed": speed, "run": whole_run, "utilisation": utilisation, "curve": curve,
    "attention": attention_speed, "memory": memory,
}  # fmt: skip


def run(bench: Bench, out: Path) -> dict[str, list[Row]]:
    """Run the stages while there is time, writing what there is after each."""
    results: dict[str, list[Row]] = {}
    for name, stage in STAGES.items():
        rows = results.setdefault(name, [])
        start = time.monotonic()
        try:
            for row in stage(bench) if not bench.late() else [{"left out": "no time"}]:
                rows.append(row)
        except Exception as error:  # noqa: BLE001  a stage that fails is a result, and the others go on
            rows.append({"failed": f"{type(error).__name__}: {error}"[:500]})
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        peak_gb(bench.device)
        (out / "gpu.json").write_text(json.dumps(results, indent=1))
        (out / "gpu.md").write_text(markdown(results))
    return results


def cell(value: object) -> str:
    """A figure in a table; nothing where there is none."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1 else str(value)


def markdown(results: dict[str, list[Row]]) -> str:
    """The results as tables."""
    lines = []
    for name, rows in results.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += [f"## {name}", "", " | ".join(columns).join(("| ", " |")), "|" + " --- |" * len(columns)]
        for row in rows:
            cells = (cell(row.get(column)) for column in columns)
            lines.append(" | ".join(cells).join(("| ", " |")))
        lines.append("")
    return "\n".join(lines)


def tune(sizes: ModelConfig, folder: Path, seconds: float) -> None:
    """Let the kernels' own tuner measure this GPU; what it finds in the time is what the kernels then use."""
    os.environ["DISENTANGLED_FLASH_PROFILE_DIR"] = str(folder)
    folder.mkdir(parents=True, exist_ok=True)
    width = sizes.hidden_size // sizes.heads
    options = {
        "output": folder / "profile.json", "lengths": "64,128,384,512,1024", "head-dims": width,
        "batch-heads": 64 * sizes.heads, "dtypes": "bfloat16", "layouts": "packed", "passes": "training",
        "dropout": "off", "relative-modes": "both", "position-buckets": sizes.position_buckets, "warmup": 2,
        "max-relative-positions": sizes.max_relative_positions, "position-embedding-size": sizes.position_buckets,
        "repetitions": 8,
    }  # fmt: skip
    command = [sys.executable, "-m", "disentangled_flash.tune"]
    command += [f"--{name}={value}" for name, value in options.items()]
    try:
        subprocess.run(command, timeout=seconds, check=False, stdout=sys.stderr)
    except subprocess.TimeoutExpired:
        print("the tuner ran out of time; what it has saved is used", file=sys.stderr)


def known_peak(device: torch.device) -> float | None:
    """Dense bf16 FLOP/s of a GPU by its data sheet; None for one that configs/gpus.yaml has not."""
    known = known_device(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return None if known is None else 1e12 * known.bf16_tflops


def main(arguments: Sequence[str] | None = None) -> dict[str, list[Row]]:
    """Parse, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=Path)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--vocabulary", type=int, default=29_952)
    parser.add_argument("--peak", type=float, help="dense bf16 FLOP/s; by default that of configs/gpus.yaml")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--tune", action="store_true", help="spend a third of the time on tuning the kernels")
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    given = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * given.minutes
    given.out.mkdir(parents=True, exist_ok=True)
    sizes = ModelConfig(hidden_size=768, layers=12, heads=12, intermediate_size=3072, position_buckets=256,
                        max_relative_positions=4096, decoder_layers=0)  # fmt: skip
    shape: Row = {"batch": 65_536, "curve_batch": 8192, "curve_steps": 50, "lengths": (512, 1024, 8192),
                  "memory_lengths": (512, 2048, 8192, 24_000, 48_000), "rounds": 3}  # fmt: skip
    vocabulary, longest, product = given.vocabulary, LONGEST, 8192
    if given.tiny:
        sizes = sizes.model_copy(update={"hidden_size": 64, "layers": 2, "heads": 2, "intermediate_size": 96,
                                         "position_buckets": 16, "max_relative_positions": 128})  # fmt: skip
        shape = {"batch": 512, "curve_batch": 128, "curve_steps": 4, "lengths": (32, 64), "memory_lengths": (48, 96),
                 "rounds": 1}  # fmt: skip
        vocabulary, longest, product = min(vocabulary, 500), 64, 256
    events = sample(vocabulary, longest, 8 * shape["batch"]) if given.tokens is None else read_shard(given.tokens)
    vocabulary = max(vocabulary, *(int(event.max()) + 1 for event in events))
    device = torch.device(given.device)
    if given.tune:
        tune(sizes, given.out / "profiles", 20 * given.minutes)
    bench = Bench(device, sizes, vocabulary, events, **shape, compiled=given.compiled,
                  peak=given.peak or known_peak(device),
                  measured=product_rate(device, product), deadline=deadline)  # fmt: skip
    results = run(bench, given.out)
    print(markdown(results))
    return results


if __name__ == "__main__":
    main()
