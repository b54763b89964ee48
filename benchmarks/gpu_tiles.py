"""Attention kernels on a GPU, both ways: the library's, `benchmarks.gpu_kernels` over a grid of tiles, shifting.

Usage: python -m benchmarks.gpu_tiles [--lengths 128 512 1024 2048 4096 8192]
65,536 tokens, 12 heads of 64, bf16; first the parity of our kernels with `eager` (relative error of the output and the
five gradients, float32 and bf16). Without a GPU only parity, in Triton's interpreter: TRITON_INTERPRET=1.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks import gpu_kernels
from logfm.pretrain.attention import Buckets, Name, packed_attention, triton
from logfm.pretrain.packing import pack

TOKENS, HEADS, WIDTH, BUCKETS = 65_536, 12, 64, Buckets(256, 4096)
FORWARD = ((64, 64, 4, 2), (128, 64, 8, 2), (128, 64, 4, 3))
BACKWARD = ((64, 32, 4, 2), (64, 64, 4, 1), (64, 64, 8, 2), (128, 32, 8, 2), (32, 64, 4, 2))
SMALL = {"forward": (16, 32, 4, 1), "query": (32, 16, 4, 1), "key": (16, 32, 4, 1)}
_LIBRARY = triton.require

Step = Callable[[], list[torch.Tensor]]


@contextmanager
def own_kernels(tiles: dict[str, tuple[int, int, int, int]]) -> Iterator[None]:
    """Our kernels in the library's place, with these tiles."""

    def require(module: str, extra: str) -> Any:
        if module.endswith("_kernels"):
            return SimpleNamespace(training_attention_packed=gpu_kernels.training_attention_packed)
        return _LIBRARY(module, extra)

    with (
        mock.patch.object(triton, "require", require),
        mock.patch.object(triton, "_launches", lambda *_: {}),
        mock.patch.object(gpu_kernels, "TILES", tiles),
    ):
        yield


def problem(
    name: Name, lengths: list[int], dtype: torch.dtype, width: int, heads: int, buckets: Buckets, device: torch.device
) -> Step:
    """Attention and its gradients on events of these lengths: out, and those of q, k, v and both tables."""
    packed = pack([np.full(length, 7) for length in lengths]).to(device)
    generator = torch.Generator().manual_seed(0)
    shapes = [(sum(lengths), heads, width)] * 3 + [(heads, 2 * buckets.buckets, width)] * 2
    inputs = [torch.randn(*shape, generator=generator).to(device, dtype).requires_grad_() for shape in shapes]
    weights = torch.randn(sum(lengths), heads * width, generator=generator).to(device, dtype)

    def step() -> list[torch.Tensor]:
        out = packed_attention(name)(*inputs, buckets, packed)
        return [out.detach(), *torch.autograd.grad(out, inputs, weights.to(out.dtype))]

    return step


def errors(lengths: list[int], dtype: torch.dtype, width: int, heads: int, buckets: Buckets) -> list[float]:
    """Errors of our kernels beside `eager` in float32: output, q, k, v, both tables; relative where they are large."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    exact = problem("eager", lengths, torch.float32, width, heads, buckets, device)()
    with own_kernels(gpu_kernels.TILES if cuda else SMALL):
        found = problem("triton", lengths, dtype, width, heads, buckets, device)()
    return [float((a.float() - b).norm() / b.norm().clamp(min=1.0)) for a, b in zip(found, exact, strict=True)]


def milliseconds(step: Step, rounds: int = 3) -> float:
    """Mean time of a step, after two that warm up."""
    for _ in range(2):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(rounds):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / rounds * 1e3


def race(length: int) -> None:
    """Print the times at one length; a contestant that fails is a row too."""
    device, lengths = torch.device("cuda"), [length] * (TOKENS // length)
    for label, name in (("library", "triton"), ("shifting", "cpu")):
        step = problem(name, lengths, torch.bfloat16, WIDTH, HEADS, BUCKETS, device)
        print(f"{length} {label} {_time(step)}", flush=True)
    rows = []
    for forward, (queries, keys, *rest) in product(FORWARD, BACKWARD):
        tiles = {"forward": forward, "query": (queries, keys, *rest), "key": (keys, queries, *rest)}
        with own_kernels(tiles):
            step = problem("triton", lengths, torch.bfloat16, WIDTH, HEADS, BUCKETS, device)
            rows.append(f"{_time(step)} {tiles}")
    for row in sorted(rows)[:3]:
        print(f"{length} own {row}", flush=True)


def _time(step: Step) -> str:
    try:
        return f"{milliseconds(step):9.2f} ms"
    except (RuntimeError, ValueError) as error:
        torch.cuda.empty_cache()
        return f"failed ({type(error).__name__}: {str(error)[:100]})"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 1024, 2048, 4096, 8192])
    arguments = parser.parse_args()
    cases = [([3, 40, 17, 1, 33, 70], 32, 2, Buckets(8, 40)), ([1], 32, 2, Buckets(8, 40))]
    dtypes = [torch.float32]
    if torch.cuda.is_available():
        cases += [([1, 64, 130, 300, 511], WIDTH, HEADS, BUCKETS), ([2500], WIDTH, HEADS, BUCKETS)]
        dtypes.append(torch.bfloat16)
    for case in cases:
        for dtype in dtypes:
            print(case[0], dtype, *(f"{error:.1e}" for error in errors(case[0], dtype, *case[1:])), flush=True)
    if torch.cuda.is_available():
        for length in arguments.lengths:
            race(length)


if __name__ == "__main__":
    main()
