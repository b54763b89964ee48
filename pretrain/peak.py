"""The peak rate of a device's matrix products, the denominator of a model FLOP utilisation."""

import time
from functools import cache
from typing import NamedTuple

import torch

from logfm.configs.schema.pretrain import TrainConfig
from logfm.pretrain.devices import known_device

_SIZES, _TRIALS = (512, 1024, 2048), 4
_ROUNDS, _CLEAR = 3, 3
"""Times that two rates are compared in turn, and a ratio of them that no noise makes."""


class Peak(NamedTuple):
    """FLOP/s of one device at the run's precision, and where the figure is from."""

    flops: float
    source: str


def peak_flops(train: TrainConfig, device: torch.device) -> Peak | None:
    """The peak of the device that a run trains on: `train.peak_flops`, else a short measured product on the CPU, and
    for a GPU in bf16 the data sheet's figure by its name; None for one that the table doesn't have, or in fp32.
    """
    if train.peak_flops is not None:
        return Peak(train.peak_flops, "train.peak_flops")
    if device.type == "cpu":
        return measured(torch.float32 if train.precision == "32-true" else torch.bfloat16)
    name = torch.cuda.get_device_name(device)
    known = known_device(name)
    if known is None or train.precision == "32-true":
        return None
    return Peak(1e12 * known.bf16_tflops, f"data sheet: bfloat16 on {name}")


@cache
def faster_in_bf16() -> bool:
    """Whether this process's CPU threads multiply bfloat16 faster than float32: which way that is depends on the
    processor, by a factor of about two.
    """
    ratio = 1.0
    # A processor without such products takes a second for the small ones, and would take minutes for large ones.
    for size in _SIZES[:2]:
        # In turn: work beside it that slows down one round of four small products took one for the other.
        rounds = [(_rate(torch.bfloat16, size), _rate(torch.float32, size)) for _ in range(_ROUNDS)]
        narrow, wide = (max(rates) for rates in zip(*rounds, strict=True))
        ratio = narrow / wide
        if not 1 / _CLEAR < ratio < _CLEAR:
            break
    return ratio > 1


def measured(dtype: torch.dtype) -> Peak:
    """The best of a few square matrix products on this process's CPU threads; some tenths of a second.

    Of several sizes: what fits into the caches runs half as fast again as what doesn't.
    """
    best = max(_rate(dtype, size) for size in _SIZES)
    name = str(dtype).removeprefix("torch.")
    return Peak(best, f"measured: {name} products on {torch.get_num_threads()} CPU threads")


def _rate(dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a square product, the best of some trials."""
    left = torch.ones(size, size, dtype=dtype)
    out = torch.empty_like(left)
    best = float("inf")
    for _ in range(_TRIALS):
        start = time.perf_counter()
        torch.mm(left, left, out=out)
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
