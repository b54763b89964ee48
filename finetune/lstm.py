"""The LSTM over time-stamped sequences of frozen event vectors (SecEncoder, 4.2.3)."""

import torch
from torch import nn

from logfm.configs.schema.finetune import LstmConfig
from logfm.finetune.padding import Padded, Standard, pooled
from logfm.finetune.sequences import Rows, Sequences


class LstmNetwork(nn.Module):
    """A projection, an LSTM in each direction, mean and maximum of the states, and a classification layer.

    The directions are modules of their own over padded batches: on a CPU, torch's packed sequences take four times as
    long. Padding lies behind the events in both, so that it changes no state that is read.
    """

    def __init__(self, config: LstmConfig, dim: int, classes: int) -> None:
        super().__init__()
        width = config.hidden
        self.inputs = Standard(dim)
        self.project = nn.Linear(self.inputs.width, width)
        inputs = [width] + [2 * width] * (config.layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(one, width, batch_first=True) for one in inputs)
        self.back = nn.ModuleList(nn.LSTM(one, width, batch_first=True) for one in inputs)
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(4 * width, classes)

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """Take the scale of the vectors from the training sequences."""
        self.inputs.fit(sequences)

    def prepare(self, sequences: Sequences) -> Sequences:
        """What `forward` reads."""
        return sequences

    def forward(self, prepared: Sequences, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""
        padded = self.inputs(prepared, rows)
        turned_SL1 = _turned(padded).unsqueeze(2)
        x_SLD = self.project(padded.features_SLD)
        for ahead, back in zip(self.ahead, self.back, strict=True):
            there_SLD = ahead(x_SLD)[0]
            again_SLD = back(x_SLD.gather(1, turned_SL1.expand_as(x_SLD)))[0]
            x_SLD = torch.cat((there_SLD, again_SLD.gather(1, turned_SL1.expand_as(again_SLD))), 2)
        return self.classify(self.dropout(pooled(x_SLD, padded.real_SL)))


def _turned(padded: Padded) -> torch.Tensor:
    """Places that turn each sequence round and leave its padding where it is; int64 (S, L)."""
    places = torch.arange(padded.features_SLD.shape[1])
    ends_S1 = padded.lengths_S.unsqueeze(1)
    return torch.where(places < ends_S1, ends_S1 - 1 - places, places)
