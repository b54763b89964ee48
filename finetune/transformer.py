"""NeuralLog: a transformer encoder over sequences of event vectors (Le and Zhang, ASE 2021)."""

import math

import torch
from torch import nn

from logfm.configs.schema.finetune import TransformerConfig
from logfm.finetune.padding import Standard, pooled
from logfm.finetune.sequences import Rows, Sequences


class TransformerNetwork(nn.Module):
    """Sine positions, the layers, mean and maximum over the events, and a classification layer.

    The paper pools by the mean alone, and does not read the time between events.
    """

    def __init__(self, config: TransformerConfig, dim: int, classes: int) -> None:
        super().__init__()
        width = config.hidden
        self.inputs = Standard(dim)
        self.project = nn.Linear(self.inputs.width, width)
        layer = nn.TransformerEncoderLayer(
            width, config.heads, 4 * width, config.dropout, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(2 * width, classes)

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """Take the scale of the vectors from the training sequences."""
        self.inputs.fit(sequences)

    def prepare(self, sequences: Sequences) -> Sequences:
        """What `forward` reads."""
        return sequences

    def forward(self, prepared: Sequences, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""
        padded = self.inputs(prepared, rows)
        x_SLD = self.project(padded.features_SLD)
        x_SLD = x_SLD + _positions(x_SLD.shape[1], x_SLD.shape[2]).to(x_SLD)
        states_SLD = self.layers(x_SLD, src_key_padding_mask=~padded.real_SL)
        return self.classify(self.dropout(pooled(states_SLD, padded.real_SL)))


def _positions(length: int, width: int) -> torch.Tensor:
    """Sines and cosines of falling frequency (Vaswani et al., 2017), float32 (L, D)."""
    angles_LH = torch.arange(length).unsqueeze(1) * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    return torch.stack((angles_LH.sin(), angles_LH.cos()), 2).flatten(1)
