"""Disentangled attention on packed events, forward and backward: Triton kernels whose relative terms are read and
written along the memory, in both directions.

Content-to-position scores (q·kr by table row) are read by query row, position-to-content ones (k·qr) by key row, and
turned in registers; the backward pass over keys works on transposed tiles, so that it writes by key row as well. A
contestant of `benchmarks.gpu_tiles`: parity is tested in Triton's interpreter, speed on a GPU is not known yet, and
`pretrain.attention.triton` takes `disentangled-flash` until it is.
Shape legend: T tokens, H heads, d head width, S rows of a position table, C columns of a gradient by distance.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

LOG2E = 1.4426950408889634


@triton.jit
def _dot(a, b, FP32: tl.constexpr):
    if FP32:
        return tl.dot(a, b, input_precision="ieee")
    return tl.dot(a, b)


@triton.jit
def _forward_kernel(
    q, k, v, c2p, p2c, slots, offsets, out, lse,
    q_h, q_t, k_h, k_t, v_h, v_t, S, H, T, ZERO, SCALE,
    D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, FP32: tl.constexpr,
):  # fmt: skip
    head, event = tl.program_id(1) % H, tl.program_id(1) // H
    start = tl.load(offsets + event)
    length = tl.load(offsets + event + 1) - start
    first = tl.program_id(0) * BM
    if first >= length:
        return
    rows, dims = first + tl.arange(0, BM), tl.arange(0, D)
    row_on, row_t = rows < length, (start + rows).to(tl.int64)
    table = head.to(tl.int64) * T * S
    c2p_rows = c2p + table + row_t[:, None] * S
    q_MD = tl.load(q + head * q_h + row_t[:, None] * q_t + dims[None, :], mask=row_on[:, None], other=0.0)
    highest = tl.full([BM], -float("inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    held = tl.zeros([BM, D], tl.float32)
    for begin in range(0, length, BN):
        cols = begin + tl.arange(0, BN)
        col_on, col_t = cols < length, (start + cols).to(tl.int64)
        k_DN = tl.load(k + head * k_h + col_t[None, :] * k_t + dims[:, None], mask=col_on[None, :], other=0.0)
        on_MN = row_on[:, None] & col_on[None, :]
        on_NM = col_on[:, None] & row_on[None, :]
        slot_MN = tl.load(slots + rows[:, None] - cols[None, :] + ZERO, mask=on_MN, other=0)
        slot_NM = tl.load(slots + rows[None, :] - cols[:, None] + ZERO, mask=on_NM, other=0)
        by_query = tl.load(c2p_rows + slot_MN, mask=on_MN, other=0.0)
        by_key = tl.load(p2c + table + col_t[:, None] * S + slot_NM, mask=on_NM, other=0.0)
        scores = _dot(q_MD, k_DN, FP32) + by_query + tl.trans(by_key)
        scores = tl.where(col_on[None, :], scores * SCALE, -float("inf"))
        higher = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.math.exp2(scores - higher[:, None])
        fade = tl.math.exp2(highest - higher)
        total = total * fade + tl.sum(weights, 1)
        v_ND = tl.load(v + head * v_h + col_t[:, None] * v_t + dims[None, :], mask=col_on[:, None], other=0.0)
        held = held * fade[:, None] + _dot(weights.to(v_ND.dtype), v_ND, FP32)
        highest = higher
    held = held / total[:, None]
    out_rows = out + row_t[:, None] * (H * D) + head * D + dims[None, :]
    tl.store(out_rows, held.to(out.dtype.element_ty), mask=row_on[:, None])
    tl.store(lse + head.to(tl.int64) * T + row_t, highest + tl.math.log2(total), mask=row_on)


@triton.jit
def _query_kernel(
    q, k, v, c2p, p2c, slots, offsets, grad, lse, delta, grad_q, grad_c2p,
    q_h, q_t, k_h, k_t, v_h, v_t, S, H, T, ZERO, SCALE, SCALE_LOG2, LOW, LAST, C,
    D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, FP32: tl.constexpr,
):  # fmt: skip
    head, event = tl.program_id(1) % H, tl.program_id(1) // H
    start = tl.load(offsets + event)
    length = tl.load(offsets + event + 1) - start
    first = tl.program_id(0) * BM
    if first >= length:
        return
    rows, dims = first + tl.arange(0, BM), tl.arange(0, D)
    row_on, row_t = rows < length, (start + rows).to(tl.int64)
    table, wide = head.to(tl.int64) * T * S, head.to(tl.int64) * T * C
    c2p_rows, columns = c2p + table + row_t[:, None] * S, grad_c2p + wide + row_t * C
    q_MD = tl.load(q + head * q_h + row_t[:, None] * q_t + dims[None, :], mask=row_on[:, None], other=0.0)
    grad_MD = tl.load(grad + row_t[:, None] * (H * D) + head * D + dims[None, :], mask=row_on[:, None], other=0.0)
    lse_M = tl.load(lse + head.to(tl.int64) * T + row_t, mask=row_on, other=0.0)
    delta_M = tl.load(delta + head.to(tl.int64) * T + row_t, mask=row_on, other=0.0)
    held = tl.zeros([BM, D], tl.float32)
    low, last = tl.zeros([BM], tl.float32), tl.zeros([BM], tl.float32)
    for begin in range(0, length, BN):
        cols = begin + tl.arange(0, BN)
        col_on, col_t = cols < length, (start + cols).to(tl.int64)
        k_ND = tl.load(k + head * k_h + col_t[:, None] * k_t + dims[None, :], mask=col_on[:, None], other=0.0)
        v_DN = tl.load(v + head * v_h + col_t[None, :] * v_t + dims[:, None], mask=col_on[None, :], other=0.0)
        on_MN = row_on[:, None] & col_on[None, :]
        on_NM = col_on[:, None] & row_on[None, :]
        slot_MN = tl.load(slots + rows[:, None] - cols[None, :] + ZERO, mask=on_MN, other=0)
        slot_NM = tl.load(slots + rows[None, :] - cols[:, None] + ZERO, mask=on_NM, other=0)
        by_query = tl.load(c2p_rows + slot_MN, mask=on_MN, other=0.0)
        by_key = tl.load(p2c + table + col_t[:, None] * S + slot_NM, mask=on_NM, other=0.0)
        scores = _dot(q_MD, tl.trans(k_ND), FP32) + by_query + tl.trans(by_key)
        chances = tl.where(on_MN, tl.math.exp2(scores * SCALE_LOG2 - lse_M[:, None]), 0.0)
        by_score = chances * (_dot(grad_MD, v_DN, FP32) - delta_M[:, None]) * SCALE
        held += _dot(by_score.to(k_ND.dtype), k_ND, FP32)
        column = rows[:, None] - cols[None, :] + (ZERO - LOW)
        inside = on_MN & (column > 0) & (column < LAST)
        tl.store(columns[:, None] + column, by_score.to(grad_c2p.dtype.element_ty), mask=inside)
        low += tl.sum(tl.where(column <= 0, by_score, 0.0), 1)
        last += tl.sum(tl.where(column >= LAST, by_score, 0.0), 1)
    tl.store(columns, low.to(grad_c2p.dtype.element_ty), mask=row_on)
    tl.store(columns + LAST, last.to(grad_c2p.dtype.element_ty), mask=row_on)
    grad_rows = grad_q + (head.to(tl.int64) * T + row_t[:, None]) * D + dims[None, :]
    tl.store(grad_rows, held.to(grad_q.dtype.element_ty), mask=row_on[:, None])


@triton.jit
def _key_kernel(
    q, k, v, c2p, p2c, slots, offsets, grad, lse, delta, grad_k, grad_v, grad_p2c,
    q_h, q_t, k_h, k_t, v_h, v_t, S, H, T, ZERO, SCALE, SCALE_LOG2, LOW, LAST, C,
    D: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, FP32: tl.constexpr,
):  # fmt: skip
    head, event = tl.program_id(1) % H, tl.program_id(1) // H
    start = tl.load(offsets + event)
    length = tl.load(offsets + event + 1) - start
    first = tl.program_id(0) * BN
    if first >= length:
        return
    cols, dims = first + tl.arange(0, BN), tl.arange(0, D)
    col_on, col_t = cols < length, (start + cols).to(tl.int64)
    table, wide = head.to(tl.int64) * T * S, head.to(tl.int64) * T * C
    p2c_rows, columns = p2c + table + col_t[:, None] * S, grad_p2c + wide + col_t * C
    k_ND = tl.load(k + head * k_h + col_t[:, None] * k_t + dims[None, :], mask=col_on[:, None], other=0.0)
    v_ND = tl.load(v + head * v_h + col_t[:, None] * v_t + dims[None, :], mask=col_on[:, None], other=0.0)
    held_k, held_v = tl.zeros([BN, D], tl.float32), tl.zeros([BN, D], tl.float32)
    low, last = tl.zeros([BN], tl.float32), tl.zeros([BN], tl.float32)
    for begin in range(0, length, BM):
        rows = begin + tl.arange(0, BM)
        row_on, row_t = rows < length, (start + rows).to(tl.int64)
        q_MD = tl.load(q + head * q_h + row_t[:, None] * q_t + dims[None, :], mask=row_on[:, None], other=0.0)
        grad_MD = tl.load(grad + row_t[:, None] * (H * D) + head * D + dims[None, :], mask=row_on[:, None], other=0.0)
        lse_M = tl.load(lse + head.to(tl.int64) * T + row_t, mask=row_on, other=0.0)
        delta_M = tl.load(delta + head.to(tl.int64) * T + row_t, mask=row_on, other=0.0)
        on_MN = row_on[:, None] & col_on[None, :]
        on_NM = col_on[:, None] & row_on[None, :]
        slot_MN = tl.load(slots + rows[:, None] - cols[None, :] + ZERO, mask=on_MN, other=0)
        slot_NM = tl.load(slots + rows[None, :] - cols[:, None] + ZERO, mask=on_NM, other=0)
        by_query = tl.load(c2p + table + row_t[:, None] * S + slot_MN, mask=on_MN, other=0.0)
        by_key = tl.load(p2c_rows + slot_NM, mask=on_NM, other=0.0)
        scores = _dot(k_ND, tl.trans(q_MD), FP32) + tl.trans(by_query) + by_key
        chances = tl.where(on_NM, tl.math.exp2(scores * SCALE_LOG2 - lse_M[None, :]), 0.0)
        held_v += _dot(chances.to(v_ND.dtype), grad_MD, FP32)
        by_score = chances * (_dot(v_ND, tl.trans(grad_MD), FP32) - delta_M[None, :]) * SCALE
        held_k += _dot(by_score.to(q_MD.dtype), q_MD, FP32)
        column = rows[None, :] - cols[:, None] + (ZERO - LOW)
        inside = on_NM & (column > 0) & (column < LAST)
        tl.store(columns[:, None] + column, by_score.to(grad_p2c.dtype.element_ty), mask=inside)
        low += tl.sum(tl.where(column <= 0, by_score, 0.0), 1)
        last += tl.sum(tl.where(column >= LAST, by_score, 0.0), 1)
    tl.store(columns, low.to(grad_p2c.dtype.element_ty), mask=col_on)
    tl.store(columns + LAST, last.to(grad_p2c.dtype.element_ty), mask=col_on)
    grad_rows = (head.to(tl.int64) * T + col_t[:, None]) * D + dims[None, :]
    tl.store(grad_k + grad_rows, held_k.to(grad_k.dtype.element_ty), mask=col_on[:, None])
    tl.store(grad_v + grad_rows, held_v.to(grad_v.dtype.element_ty), mask=col_on[:, None])


# block of queries, block of keys, warps, stages
TILES = {"forward": (128, 64, 8, 2), "query": (128, 32, 8, 2), "key": (64, 64, 8, 2)}  # none spills registers on sm_90


def _launch(kind: str) -> dict[str, int]:
    queries, keys, warps, stages = TILES[kind]
    return {"BM": queries, "BN": keys, "num_warps": warps, "num_stages": stages}


class _Packed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q, k, v, pos_k, pos_q, slots, offsets, longest, scale, band):
        heads, tokens, width = q.shape
        c2p, p2c = q @ pos_k.transpose(1, 2), k @ pos_q.transpose(1, 2)
        out = q.new_empty(tokens, heads * width)
        lse = q.new_empty(heads, tokens, dtype=torch.float32)
        launch = _launch("forward")
        _forward_kernel[triton.cdiv(longest, launch["BM"]), heads * (len(offsets) - 1)](
            q, k, v, c2p, p2c, slots, offsets, out, lse,
            *q.stride()[:2], *k.stride()[:2], *v.stride()[:2], c2p.shape[-1], heads, tokens, longest - 1,
            scale * LOG2E, D=width, FP32=q.dtype is torch.float32, **launch,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, pos_k, pos_q, slots, offsets, out, lse, band.column_slots)
        ctx.rest = longest, scale, band.low, band.high
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        q, k, v, pos_k, pos_q, slots, offsets, out, lse, column_slots = ctx.saved_tensors
        longest, scale, low, high = ctx.rest
        heads, tokens, width = q.shape
        grad = grad.contiguous()
        delta = (grad.float() * out).view(tokens, heads, width).sum(-1).t().contiguous()
        c2p, p2c = q @ pos_k.transpose(1, 2), k @ pos_q.transpose(1, 2)
        grads = [q.new_empty(heads, tokens, width) for _ in range(3)]
        by_c2p, by_p2c = (q.new_zeros(heads, tokens, len(column_slots)) for _ in range(2))
        shared = (
            *q.stride()[:2], *k.stride()[:2], *v.stride()[:2], c2p.shape[-1], heads, tokens, longest - 1,
            scale, scale * LOG2E, low, high - low, len(column_slots),
        )  # fmt: skip
        options = {"D": width, "FP32": q.dtype is torch.float32}
        events = heads * (len(offsets) - 1)
        inputs = (q, k, v, c2p, p2c, slots, offsets, grad, lse, delta)
        launch = _launch("query")
        _query_kernel[triton.cdiv(longest, launch["BM"]), events](
            *inputs, grads[0], by_c2p, *shared, **options, **launch
        )
        launch = _launch("key")
        _key_kernel[triton.cdiv(longest, launch["BN"]), events](
            *inputs, *grads[1:], by_p2c, *shared, **options, **launch
        )
        one_hot = (column_slots[:, None] == torch.arange(pos_k.shape[1], device=q.device)).to(q.dtype)
        grads[0] += by_c2p @ (one_hot @ pos_k)
        grads[1] += by_p2c @ (one_hot @ pos_q)
        grad_pos_k = one_hot.t() @ (by_c2p.transpose(1, 2) @ q)
        grad_pos_q = one_hot.t() @ (by_p2c.transpose(1, 2) @ k)
        return *grads, grad_pos_k, grad_pos_q, None, None, None, None, None


def training_attention_packed(
    q, k, v, pos_k, pos_q, slots, offsets, *, max_seqlen, score_scale, gradient_band, **_: Any
) -> torch.Tensor:
    """A drop-in for `disentangled_flash.training._kernels.training_attention_packed`, without dropout."""
    return _Packed.apply(q, k, v, pos_k, pos_q, slots, offsets, max_seqlen, score_scale, gradient_band)
