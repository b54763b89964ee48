"""Batches of sequences as tensors. Shape legend: S sequences, L places, D width."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from logfm.finetune.sequences import GAPS, Rows, Sequences, moments


class Padded(NamedTuple):
    """Sequences beside each other, zeros behind their ends."""

    features_SLD: torch.Tensor
    lengths_S: torch.Tensor
    """int64, on the CPU."""

    @property
    def real_SL(self) -> torch.Tensor:
        """Where an event is, bool."""
        places = torch.arange(self.features_SLD.shape[1], device=self.features_SLD.device)
        return places < self.lengths_S.to(places.device).unsqueeze(1)


class Standard(nn.Module):
    """Vectors to zero mean and unit spread, as the training events had them, beside the features of time."""

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        self.width = dim + GAPS

    def fit(self, sequences: Sequences) -> None:
        """Take mean and spread from the training sequences."""
        mean, spread = moments(sequences.vectors or ())
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.copy_(torch.from_numpy(spread))

    def forward(self, sequences: Sequences, rows: Rows) -> Padded:
        """The sequences of these rows, float32 (S, L, D + GAPS)."""
        assert sequences.vectors is not None
        lengths = sequences.lengths[rows]
        raw_SLD = np.zeros((len(rows), int(lengths.max()), len(self.mean)), dtype=np.float32)
        gaps_SLG = np.zeros((*raw_SLD.shape[:2], GAPS), dtype=np.float32)
        for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            raw_SLD[place, :length] = sequences.vectors[row]
            gaps_SLG[place, :length] = sequences.gaps(int(row))
        device = self.mean.device
        scaled_SLD = (torch.from_numpy(raw_SLD).to(device) - self.mean) / self.spread
        padded = Padded(torch.cat((scaled_SLD, torch.from_numpy(gaps_SLG).to(device)), 2), torch.from_numpy(lengths))
        return padded._replace(features_SLD=padded.features_SLD * padded.real_SL.unsqueeze(2))


def pooled(states_SLD: torch.Tensor, real_SL: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over the events of each sequence, (S, 2 D)."""
    mask_SL1 = real_SL.unsqueeze(2)
    mean_SD = (states_SLD * mask_SL1).sum(1) / mask_SL1.sum(1)
    return torch.cat((mean_SD, states_SLD.masked_fill(~mask_SL1, -torch.inf).amax(1)), 1)
