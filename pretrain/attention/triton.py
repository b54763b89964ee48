"""Disentangled attention by the Triton kernels of `disentangled-flash`, on a packed batch as it is: nothing padded, no
scores in memory, forward and backward.

The package's modules for `transformers` are not used; its kernels are, which have no longest input (its inference
modules stop at 8,192 tokens). How a kernel is launched comes from the package's profile of the GPU: one tuned by
`python -m disentangled_flash.tune`, else one that it brings, else its estimate.
Shape legend: T tokens, H heads, d head width, S table rows, R rows that a length reaches.
"""

from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from logfm.extras import require
from logfm.pretrain.attention.positions import Buckets, scale_of
from logfm.pretrain.packing import Packed, Span

LONGEST = 8192  # tokens up to which the kernels are chosen unasked: the longest that their author tests
_WIDTHS = (32, 64, 128)
_ROUND = 64  # lengths are rounded up to so many tokens, which makes few tables of positions
_PHASES = ("training_forward", "backward_dq", "backward_dkv")


def supported(q_THd: torch.Tensor, packed: Packed) -> bool:
    """Whether the kernels are here, fit the device and the shapes, and are proven at these lengths."""
    return (
        q_THd.is_cuda
        and q_THd.shape[-1] in _WIDTHS
        and q_THd.shape[1] <= 64  # a grid's rows are at most 65,535
        and max(span.longest for span in packed.spans) <= LONGEST
        and _installed()
    )


@cache
def _installed() -> bool:
    return all(find_spec(name) is not None for name in ("disentangled_flash", "triton"))


def triton_attention(
    q_THd: torch.Tensor,
    k_THd: torch.Tensor,
    v_THd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    packed: Packed,
) -> torch.Tensor:
    """The same as `eager_attention` in each event, up to rounding; float (T, H·d). Nothing here waits for the GPU.

    Raises:
        UserError: `disentangled-flash` is not installed.
    """
    kernels: Any = require("disentangled_flash.training._kernels", "gpu")
    parts = []
    for span in packed.spans:
        q, k, v = (flat_THd[span.start : span.stop].transpose(0, 1) for flat_THd in (q_THd, k_THd, v_THd))
        longest = -(-span.longest // _ROUND) * _ROUND
        plan, rows_R = _plan(buckets, longest, q.device)
        part = kernels.training_attention_packed(
            q,
            k,
            v,
            pos_k_HSd.index_select(1, rows_R),
            pos_q_HSd.index_select(1, rows_R),
            plan.delta_to_local,
            span.offsets,
            max_seqlen=longest,
            score_scale=scale_of(q),
            strict_fp32=True,
            gradient_band=plan.gradient_band,
            **_launches(q, span, longest, len(rows_R)),
        )
        parts.append(part)
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@lru_cache(maxsize=1024)
def _plan(buckets: Buckets, longest: int, device: torch.device) -> tuple[Any, torch.Tensor]:
    """What the kernels know of positions at a length, and the table rows it reaches: int64 (R,), R a multiple of 8,
    which cuBLAS wants for its fast products; the rows past the last are never read.
    """
    position: Any = require("disentangled_flash.position", "gpu")
    # A tensor born in inference mode could never be saved for a backward pass.
    with torch.inference_mode(False):
        plan = position.SharedPositionPlanCache(
            position_buckets=buckets.buckets,
            max_relative_positions=buckets.max_distance,
            position_embedding_size=buckets.buckets,
        ).compact(longest, device)
        extra = position.aligned_slot_count(len(plan.active_slots)) - len(plan.active_slots)
        return plan, torch.cat([plan.active_slots, plan.active_slots[-1:].expand(extra)])


def _launches(q_HTd: torch.Tensor, span: Span, longest: int, rows: int) -> dict[str, Any]:
    """Tile sizes, warps and stages of the three kernels, without a trial at run time."""
    tuning: Any = require("disentangled_flash.tuning", "gpu")
    events = len(span.offsets) - 1
    # Occupancy matters where it is low; a bound makes few keys.
    heads = min(events * q_HTd.shape[0], 1024)
    dtype = str(q_HTd.dtype).removeprefix("torch.")
    family = (tuning.length_family(longest), q_HTd.shape[-1], tuning.occupancy_family(heads), rows, dtype)
    device = q_HTd.device.index if q_HTd.device.index is not None else torch.cuda.current_device()
    chosen = (
        tuning.resolve_launch_config(
            _profiles(), "auto", device, (*family, True, True, "strict", "packed", False, phase, False), heads
        )
        for phase in _PHASES
    )
    forward, dq, dkv = (tuning.KernelConfig(*values) for values in chosen)
    return {"forward_config": forward, "dq_config": dq, "dkv_config": dkv}


@cache
def _profiles() -> int:
    tuning: Any = require("disentangled_flash.tuning", "gpu")
    return int(tuning.register_profile_registry(tuning.ProfileRegistry.from_options(tuning.KernelTuningOptions())))
