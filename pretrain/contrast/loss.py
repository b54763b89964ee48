"""The contrastive loss: each view finds its partner among all views of the batch."""

import torch
from torch.nn.functional import cross_entropy, normalize

from logfm.pretrain.packing import Packed


def pooled(states_TD: torch.Tensor, packed: Packed) -> torch.Tensor:
    """Mean of each event's token states, of length 1; float32 (B, D)."""
    states_TD = states_TD.float()
    sums_BD = states_TD.new_zeros(len(packed.lengths_B), states_TD.shape[1])
    sums_BD = sums_BD.index_add(0, packed.event_T, states_TD)
    return normalize(sums_BD, dim=1)


def contrastive_loss(
    views_BD: torch.Tensor, templates_N: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """InfoNCE both ways over B = 2N views of length 1, where row n and row N + n are a pair; and whether each view's
    nearest other one, of all that count, is its partner, bool (B,).

    Views of the same template (int64 (N,)) are no negatives of each other.
    """
    pairs = len(templates_N)
    rows = torch.arange(2 * pairs, device=views_BD.device)
    partner = (rows + pairs) % (2 * pairs)
    template = templates_N.repeat(2)
    left_out = template[:, None] == template[None, :]
    left_out[rows, partner] = False
    scores = (views_BD @ views_BD.T / temperature).masked_fill(left_out, -torch.inf)
    return cross_entropy(scores, partner), scores.detach().argmax(1) == partner
