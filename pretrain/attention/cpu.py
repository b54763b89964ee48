"""Disentangled attention for the CPU: relative scores by shifting, a few events and queries at a time, so that what is
of size L×L stays in the processor's caches, and a backward pass that keeps one such tensor.

Shape legend: b events, H heads, L tokens, d head width, R = 2L-1 distances, n rows of a block and W = n+L-1 distances.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from logfm.pretrain.attention.blockwise import blockwise_attention
from logfm.pretrain.attention.positions import Buckets, scale_of, shift, unshift

LONG = 4096  # tokens from which scores are made block by block and softmax along with them
_CHUNK = 1 << 20  # scores made at a time, as far as whole events allow
_ROWS = 128  # rows of a block: fewer waste fewer distances, more make larger products


class _Attention(torch.autograd.Function):
    """Disentangled attention with a backward pass of its own, which keeps the probabilities and nothing else of
    size L×L: autograd would keep six such tensors, and training is bound by memory traffic.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        pos_q: torch.Tensor,
        pos_k: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        out = torch.empty_like(v)
        probabilities = []
        by_query, by_key = _blocks(pos_k), _blocks(pos_q)
        for events in _chunks(q):
            probabilities.append(_probabilities(q[events], k[events], by_query, by_key, _part(mask, events)))
            torch.matmul(probabilities[-1], v[events], out=out[events])
        ctx.save_for_backward(q, k, v, pos_q, pos_k, out, *probabilities)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, pos_q, pos_k, out, *probabilities = ctx.saved_tensors
        grad = grad.contiguous()
        grad_q, grad_k, grad_v = (torch.empty_like(one) for one in (q, k, v))
        grad_pos_q, grad_pos_k = (torch.zeros_like(one, dtype=torch.float32) for one in (pos_q, pos_k))
        by_query, by_key = _blocks(pos_k), _blocks(pos_q)
        inner = (grad * out).sum(-1, keepdim=True)
        for events, chances in zip(_chunks(q), probabilities, strict=True):
            torch.matmul(chances.transpose(-1, -2), grad[events], out=grad_v[events])
            scores = (grad[events] @ v[events].transpose(-1, -2)).sub_(inner[events]).mul_(chances)
            for block in by_query:
                part = scores[:, :, block.rows]
                grad_q[events, :, block.rows] = _products(part, q[events], k[events], block, grad_pos_k)
            for block in by_key:
                part = scores[..., block.rows].transpose(-1, -2).contiguous()
                grad_k[events, :, block.rows] = _products(part, k[events], q[events], block, grad_pos_q)
        scale = scale_of(q)
        tables = (table.mul_(scale).to(q.dtype) for table in (grad_pos_q, grad_pos_k))
        return (grad_q.mul_(scale), grad_k.mul_(scale), grad_v, *tables, None)


class _Block(NamedTuple):
    """Rows of the scores, and the distances from them to all columns: their slice of the table, its rows (H, W, d)."""

    rows: slice
    distances: slice
    table: torch.Tensor


def _blocks(table_HRd: torch.Tensor) -> list[_Block]:
    length = (table_HRd.shape[1] + 1) // 2
    blocks = []
    for start in range(0, length, _ROWS):
        stop = min(length, start + _ROWS)
        distances = slice(length - stop, 2 * length - 1 - start)
        blocks.append(_Block(slice(start, stop), distances, table_HRd[:, distances].contiguous()))
    return blocks


def _part(mask: torch.Tensor | None, events: slice) -> torch.Tensor | None:
    return None if mask is None else mask[events]


def _chunks(q_bHLd: torch.Tensor) -> Iterator[slice]:
    """Events to take at a time; all of them on a GPU, where what counts is the size of a kernel's work."""
    events, heads, length = q_bHLd.shape[:3]
    step = events if q_bHLd.is_cuda else max(1, _CHUNK // (heads * length * length))
    for start in range(0, events, step):
        yield slice(start, min(events, start + step))


def _probabilities(
    q: torch.Tensor, k: torch.Tensor, by_query: list[_Block], by_key: list[_Block], mask: torch.Tensor | None
) -> torch.Tensor:
    """Softmax of the scores, (b, H, L, L)."""
    scale = scale_of(q)
    scaled = q * scale
    scores = scaled @ k.transpose(-1, -2)
    for block in by_query:
        scores[:, :, block.rows] += shift(_by_distance(scaled[:, :, block.rows], block))
    scaled = k * scale
    for block in by_key:
        part = shift(_by_distance(scaled[:, :, block.rows], block))
        # Transposing on its own is several times as fast as adding what is transposed.
        scores[..., block.rows] += part.transpose(-1, -2).contiguous()
    if mask is not None:
        scores += mask.to(scores.dtype)
    return torch.softmax(scores, dim=-1, dtype=scores.dtype)


def _by_distance(x_bHnd: torch.Tensor, block: _Block) -> torch.Tensor:
    """Products of rows with the table of their block, (b, H, n, W)."""
    # One product a head: torch's own broadcasting copies the table for every event.
    events, heads, n, width = x_bHnd.shape
    flat_HNd = x_bHnd.transpose(0, 1).reshape(heads, events * n, width)
    return torch.bmm(flat_HNd, block.table.transpose(-1, -2)).view(heads, events, n, -1).transpose(0, 1)


def _products(
    grad_bHnL: torch.Tensor, own: torch.Tensor, other: torch.Tensor, block: _Block, grad_table: torch.Tensor
) -> torch.Tensor:
    """Gradient (b, H, n, d) of a block's rows, before scaling; adds to that of the table (float32, (H, R, d))."""
    events, heads, n, width = own[:, :, block.rows].shape
    by_distance_HNW = unshift(grad_bHnL).transpose(0, 1).reshape(heads, events * n, -1)
    own_HNd = own[:, :, block.rows].transpose(0, 1).reshape(heads, events * n, width)
    grad_table[:, block.distances] += torch.bmm(by_distance_HNW.transpose(-1, -2), own_HNd)
    by_table_bHnd = torch.bmm(by_distance_HNW, block.table).view(heads, events, n, width).transpose(0, 1)
    return (grad_bHnL @ other).add_(by_table_bHnd)


def cpu_attention(
    q_bHLd: torch.Tensor,
    k_bHLd: torch.Tensor,
    v_bHLd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    mask_b11L: torch.Tensor | None,
) -> torch.Tensor:
    """The same as `eager_attention` up to rounding, without gathers; float (b, H, L, d).

    From LONG tokens on, memory is linear in the length.
    """
    length = q_bHLd.shape[2]
    if length >= LONG:
        return blockwise_attention(q_bHLd, k_bHLd, v_bHLd, pos_q_HSd, pos_k_HSd, buckets, mask_b11L)
    index_R = buckets.rows(length - 1, 1 - length, q_bHLd.device)
    by_query, by_key = pos_k_HSd[:, index_R], pos_q_HSd[:, index_R.flip(0)]
    arguments = (q_bHLd.contiguous(), k_bHLd.contiguous(), v_bHLd.contiguous(), by_key, by_query, mask_b11L)
    if torch.is_grad_enabled():
        return _Attention.apply(*arguments)  # type: ignore[no-untyped-call]
    q, k, v = arguments[:3]
    out = torch.empty_like(v)
    blocks = _blocks(by_query), _blocks(by_key)
    for events in _chunks(q):
        chances = _probabilities(q[events], k[events], *blocks, _part(mask_b11L, events))
        torch.matmul(chances, v[events], out=out[events])
    return out
