"""The masked-LM loss with its gradients made in the forward pass, a few rows of scores at a time.

Scores over a vocabulary of 30,000 are the largest tensors of a small model's step. Written down plainly they exist five
times (product, float32 copy, log-probabilities, and the gradient of each) and cost more than the encoder's layers; here
each chunk's scores are turned into their gradient in place. The idea is that of "Cut Your Losses in Large-Vocabulary
Language Models" (Wijmans et al., 2025), here for the mean loss.
Shape legend: M masked positions, D width, V vocabulary, m rows of a chunk.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

_CHUNK = 2_000_000  # scores of a chunk, small enough to stay in a processor's cache
_CHUNK_GPU = 1 << 28  # there every chunk costs launches, and float32 copies of it a gigabyte


class _MaskedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states_MD: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor, targets_M: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scores_MV = linear(states_MD, weight_VD, bias_V)
        nll, right = [], []
        rows = max(1, (_CHUNK_GPU if scores_MV.is_cuda else _CHUNK) // scores_MV.shape[1])
        for scores_mV, targets_m1 in zip(scores_MV.split(rows), targets_M[:, None].split(rows), strict=True):
            chances_mV = torch.softmax(scores_mV, -1, dtype=torch.float32)
            best_m1, guess_m1 = chances_mV.max(-1, keepdim=True)
            # The logarithm of the sum of exponentials, from the one probability that cannot be too small.
            total_m1 = scores_mV.gather(1, guess_m1).float() - best_m1.log()
            nll.append(total_m1 - scores_mV.gather(1, targets_m1).float())
            right.append(guess_m1 == targets_m1)
            if any(ctx.needs_input_grad):
                scores_mV.copy_(chances_mV.scatter_add_(1, targets_m1, -torch.ones_like(best_m1)))
        nll_M, right_M = torch.cat(nll).squeeze(1), torch.cat(right).squeeze(1)
        if any(ctx.needs_input_grad):
            scale = 1 / len(targets_M)
            grads = scores_MV @ weight_VD, scores_MV.t() @ states_MD, scores_MV.sum(0)
            ctx.save_for_backward(*(grad.mul_(scale) for grad in grads))
        ctx.mark_non_differentiable(nll_M, right_M)
        return nll_M.mean(), nll_M, right_M

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor, *_: Any) -> tuple[torch.Tensor | None, ...]:
        return (*(made * grad.to(made.dtype) for made in ctx.saved_tensors), None)


def masked_loss(
    states_MD: torch.Tensor, weight_VD: torch.Tensor, bias_V: torch.Tensor, targets_M: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean loss with a graph, and without one: nats (float32 (M,)) and whether the best guess is right (bool (M,)).

    Products are in autocast's dtype where it is on. Without masked positions the loss is zero, with a graph to all that
    it has otherwise: DDP waits for the gradient of every parameter.
    """
    if not len(targets_M):
        nothing = (states_MD.sum() + weight_VD.sum() + bias_V.sum()).float() * 0
        return nothing, states_MD.new_zeros(0).float(), targets_M.bool()
    device = states_MD.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states_MD.dtype
    with torch.autocast(device, enabled=False):
        loss, nll_M, right_M = _MaskedLoss.apply(  # type: ignore[no-untyped-call]
            states_MD.to(dtype), weight_VD.to(dtype), bias_V.to(dtype), targets_M
        )
    return loss, nll_M, right_M
