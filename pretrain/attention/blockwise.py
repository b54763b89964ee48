"""Disentangled attention in memory linear in the length: scores exist for one block of queries and keys at a time.

The softmax runs along the keys with a running maximum and sum, and the backward pass computes the scores again (Rabe
and Staats 2021; Dao et al., FlashAttention, 2022), here with both relative scores. Beyond the largest bucketed
distance all keys of a block share one bucket, so far blocks cost hardly more than plain attention.
Shape legend: b events, H heads, n queries and m keys of a block, W = n+m-1 distances, d head width, S table rows.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from logfm.pretrain.attention.positions import Buckets, scale_of, shift, unshift

BLOCK = 1024  # queries, and keys, of a block


class _Tile(NamedTuple):
    """A block of queries against a block of keys; `rows_W` are the table rows of its distances, or just one."""

    queries: slice
    keys: slice
    rows_W: torch.Tensor


def blockwise_attention(
    q_bHLd: torch.Tensor,
    k_bHLd: torch.Tensor,
    v_bHLd: torch.Tensor,
    pos_q_HSd: torch.Tensor,
    pos_k_HSd: torch.Tensor,
    buckets: Buckets,
    mask_b11L: torch.Tensor | None,
) -> torch.Tensor:
    """The same as `eager_attention` up to rounding; float (b, H, L, d)."""
    arguments = (q_bHLd, k_bHLd, v_bHLd, pos_q_HSd, pos_k_HSd, buckets, mask_b11L)
    if torch.is_grad_enabled():
        return _Blockwise.apply(*arguments)  # type: ignore[no-untyped-call]
    return _forward(*arguments)[0]


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        pos_q: torch.Tensor,
        pos_k: torch.Tensor,
        buckets: Buckets,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        out, log_sum = _forward(q, k, v, pos_q, pos_k, buckets, mask)
        ctx.save_for_backward(q, k, v, pos_q, pos_k, out, log_sum, mask)
        ctx.buckets = buckets
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, pos_q, pos_k, out, log_sum, mask = ctx.saved_tensors
        grads = [torch.zeros_like(one, dtype=torch.float32) for one in (q, k, v, pos_q, pos_k)]
        inner = (grad * out).sum(-1, keepdim=True, dtype=torch.float32)
        for queries, tiles in _tiles(q.shape[2], ctx.buckets, q.device):
            for tile in tiles:
                scores = _scores(q, k, pos_q, pos_k, tile, mask)
                probabilities = (scores - log_sum[:, :, queries]).exp_()
                by_key = (grad[:, :, queries] @ v[:, :, tile.keys].transpose(-1, -2)).float().sub_(inner[:, :, queries])
                by_key.mul_(probabilities).mul_(scale_of(q))
                _add(grads, q, k, pos_q, pos_k, tile, by_key.to(q.dtype))
                grads[2][:, :, tile.keys] += probabilities.to(v.dtype).transpose(-1, -2) @ grad[:, :, queries]
        return (*(one.to(like.dtype) for one, like in zip(grads, (q, k, v, pos_q, pos_k), strict=True)), None, None)


def _forward(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    pos_q: torch.Tensor,
    pos_k: torch.Tensor,
    buckets: Buckets,
    mask: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result, and the logarithm of each row's sum of exponentials: float32 (b, H, L, 1)."""
    out = torch.empty_like(v)
    log_sum = torch.empty(*q.shape[:3], 1, dtype=torch.float32, device=q.device)
    for queries, tiles in _tiles(q.shape[2], buckets, q.device):
        shape = (*q.shape[:2], queries.stop - queries.start)
        highest = torch.full((*shape, 1), -torch.inf, device=q.device)
        total = torch.zeros((*shape, 1), device=q.device)
        held = torch.zeros((*shape, v.shape[-1]), device=q.device)
        for tile in tiles:
            scores = _scores(q, k, pos_q, pos_k, tile, mask)
            higher = torch.maximum(highest, scores.amax(-1, keepdim=True))
            # All keys so far may be padding, whose scores are -inf.
            safe = higher.masked_fill(higher == -torch.inf, 0)
            fade = (highest - safe).exp_()
            weights = scores.sub_(safe).exp_()
            total = total * fade + weights.sum(-1, keepdim=True)
            held = held * fade + (weights.to(v.dtype) @ v[:, :, tile.keys]).float()
            highest = higher
        out[:, :, queries] = (held / total).to(v.dtype)
        log_sum[:, :, queries] = highest + total.log()
    return out, log_sum


def _tiles(length: int, buckets: Buckets, device: torch.device) -> Iterator[tuple[slice, list[_Tile]]]:
    for start in range(0, length, BLOCK):
        queries = slice(start, min(length, start + BLOCK))
        tiles = []
        for first in range(0, length, BLOCK):
            keys = slice(first, min(length, first + BLOCK))
            rows_W = _rows(buckets, queries.stop - 1 - keys.start, queries.start - keys.stop + 1, device)
            tiles.append(_Tile(queries, keys, rows_W))
        yield queries, tiles


@lru_cache(maxsize=512)
def _rows(buckets: Buckets, first: int, last: int, device: torch.device) -> torch.Tensor:
    """Table rows of the distances from first down to last, or the one that they share; int64.

    Found on the CPU and kept: a GPU would be waited for at every tile.
    """
    with torch.inference_mode(False):
        rows_W = buckets.rows(first, last, torch.device("cpu"))
        return (rows_W[:1] if bool((rows_W == rows_W[0]).all()) else rows_W).to(device)


def _scores(
    q: torch.Tensor, k: torch.Tensor, pos_q: torch.Tensor, pos_k: torch.Tensor, tile: _Tile, mask: torch.Tensor | None
) -> torch.Tensor:
    """Scaled scores of a tile, float32 (b, H, n, m)."""
    scale = scale_of(q)
    queries, keys = q[:, :, tile.queries] * scale, k[:, :, tile.keys]
    to_position, from_position = pos_k[:, tile.rows_W], pos_q[:, tile.rows_W.flip(0)] * scale
    scores = (queries @ keys.transpose(-1, -2)).float()
    by_query, by_key = queries @ to_position.transpose(-1, -2), keys @ from_position.transpose(-1, -2)
    if len(tile.rows_W) > 1:
        by_query, by_key = shift(by_query), shift(by_key)
    scores += by_query
    scores += by_key.transpose(-1, -2)
    if mask is not None:
        scores += mask[..., tile.keys]
    return scores


def _add(
    grads: list[torch.Tensor],
    q: torch.Tensor,
    k: torch.Tensor,
    pos_q: torch.Tensor,
    pos_k: torch.Tensor,
    tile: _Tile,
    by_key: torch.Tensor,
) -> None:
    """Add what a tile's scores contribute to the gradients of q, k and the two tables; `by_key` is (b, H, n, m)."""
    queries, keys = q[:, :, tile.queries], k[:, :, tile.keys]
    turned = by_key.transpose(-1, -2)
    if len(tile.rows_W) > 1:
        c2p, p2c = unshift(by_key), unshift(turned)
    else:
        c2p, p2c = by_key.sum(-1, keepdim=True), turned.sum(-1, keepdim=True)
    rows, turned_rows = tile.rows_W, tile.rows_W.flip(0)
    grads[0][:, :, tile.queries] += by_key @ keys + c2p @ pos_k[:, rows]
    grads[1][:, :, tile.keys] += turned @ queries + p2c @ pos_q[:, turned_rows]
    grads[3].index_add_(1, turned_rows, (p2c.transpose(-1, -2) @ keys).sum(0).float())
    grads[4].index_add_(1, rows, (c2p.transpose(-1, -2) @ queries).sum(0).float())
