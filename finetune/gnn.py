"""A graph neural network over near events (SecEncoder, 4.2.3), inductive as GraphSAGE (Hamilton et al., 2017).

Nodes are the different vectors of training events; an edge joins the pairs with the smallest Euclidean distances. A
sequence is the graph of its events, joined to each other and to the nodes that lie no farther than the longest edge.
Messages go from nodes to events and never back, so that the score of a sequence depends on no other. An event takes no
message from the node that equals it: training events would all have one. Shape legend: N nodes, E events, D width.
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from logfm.configs.schema.finetune import GnnConfig
from logfm.embeddings.heads.pairs import blocks, closest_pairs, squared
from logfm.errors import UserError
from logfm.extras import require
from logfm.finetune.padding import Standard
from logfm.finetune.sequences import Rows, Sequences, Vectors


class Attached(NamedTuple):
    """Sequences with the nodes near each of their different events."""

    sequences: Sequences
    owners: list[Rows]
    """The different event of each event of a sequence."""
    near: list[Rows]
    """The nodes that each different event is joined to."""


class GnnNetwork(nn.Module):
    """Graph convolutions, mean and maximum over the events of a sequence, and a classification layer."""

    nodes: torch.Tensor
    edges: torch.Tensor
    reach: torch.Tensor

    def __init__(self, config: GnnConfig, dim: int, classes: int) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # PyG compiles functions of its own in a way that torch gives up.
            warnings.simplefilter("ignore", DeprecationWarning)
            convolution = require("torch_geometric.nn", "gnn").SAGEConv

        self.config = config
        self.inputs = Standard(dim)
        self.register_buffer("nodes", torch.zeros(0, dim))
        self.register_buffer("edges", torch.zeros(2, 0, dtype=torch.int64))
        self.register_buffer("reach", torch.zeros(()))
        self.project = nn.Linear(dim, config.hidden)
        self.convolutions = nn.ModuleList(convolution(config.hidden, config.hidden) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Linear(2 * config.hidden, classes)

    def fit_inputs(self, sequences: Sequences, seed: int) -> None:
        """Make the graph of the training events.

        Raises:
            UserError: fewer than two different vectors.
        """
        self.inputs.fit(sequences)
        different = np.unique(np.concatenate(list(sequences.vectors or ())), axis=0)
        if len(different) > self.config.nodes:
            drawn = np.random.default_rng(seed).choice(len(different), self.config.nodes, replace=False)
            different = different[np.sort(drawn)]
        try:
            edges = closest_pairs(different, self.config.edge_share, seed)
        except ValueError as error:
            raise UserError(f"no graph can be made: {error}") from error
        away = different[edges[0]] - different[edges[1]]
        self.nodes = torch.from_numpy(different)
        self.edges = torch.from_numpy(np.concatenate((edges, edges[::-1]), axis=1))
        self.reach = torch.tensor(np.einsum("ed,ed->e", away, away).max())

    def prepare(self, sequences: Sequences) -> Attached:
        """Join the events to the nodes within reach."""
        vectors = list(sequences.vectors or ())
        different, numbers = np.unique(np.concatenate(vectors), axis=0, return_inverse=True)
        nodes, reach = self.nodes.cpu().numpy(), float(self.reach)
        equal = {node.tobytes(): number for number, node in enumerate(nodes)}
        near: list[Rows] = []
        for part in blocks(len(different), len(nodes)):
            close = squared(different[part], nodes) <= reach
            for row, event in enumerate(different[part]):
                own = equal.get(event.tobytes())
                if own is not None:
                    close[row, own] = False
                near.append(np.flatnonzero(close[row]))
        return Attached(sequences, np.split(numbers.reshape(-1), np.cumsum(sequences.lengths)[:-1]), near)

    def forward(self, prepared: Attached, rows: Rows) -> torch.Tensor:
        """Logits of the sequences of these rows, float32 (rows, classes)."""
        assert prepared.sequences.vectors is not None
        device = self.nodes.device
        vectors = [prepared.sequences.vectors[row] for row in rows]
        events_ED = torch.from_numpy(np.concatenate(vectors)).to(device)
        x_D = self.project((torch.cat((self.nodes, events_ED)) - self.inputs.mean) / self.inputs.spread)
        adjacency = self._adjacency(prepared, rows, vectors).to(device)
        for convolution in self.convolutions:
            x_D = self.dropout(torch.relu(convolution(x_D, adjacency)))
        states_ED = x_D[len(self.nodes) :]
        return self.classify(_pooled(states_ED, torch.tensor([len(one) for one in vectors], device=device)))

    def _adjacency(self, prepared: Attached, rows: Rows, vectors: list[Vectors]) -> torch.Tensor:
        """Sparse (nodes and events, their sources), of ones."""
        reach = float(self.reach)
        targets, sources = [self.edges[1].cpu().numpy()], [self.edges[0].cpu().numpy()]
        start = len(self.nodes)
        for row, events in zip(rows, vectors, strict=True):
            near = [prepared.near[owner] for owner in prepared.owners[row]]
            targets.append(np.repeat(np.arange(len(events)) + start, [len(one) for one in near]))
            sources += near
            close = squared(events, events) <= reach
            np.fill_diagonal(close, False)
            target, source = np.nonzero(close)
            targets.append(target + start)
            sources.append(source + start)
            start += len(events)
        target, source = np.concatenate(targets), np.concatenate(sources)
        order = np.lexsort((source, target))
        ends = np.concatenate(([0], np.bincount(target, minlength=start).cumsum()))
        with warnings.catch_warnings():
            # torch calls its sparse rows a beta.
            warnings.filterwarnings("ignore", message="Sparse")
            columns = torch.from_numpy(source[order].astype(np.int64))
            return torch.sparse_csr_tensor(torch.from_numpy(ends), columns, torch.ones(len(columns)), (start, start))


def _pooled(states_ED: torch.Tensor, lengths_S: torch.Tensor) -> torch.Tensor:
    """Mean and maximum over the events of each sequence, (S, 2 D)."""
    owner_E = torch.repeat_interleave(torch.arange(len(lengths_S), device=states_ED.device), lengths_S)
    width = states_ED.shape[1]
    sums_SD = states_ED.new_zeros(len(lengths_S), width).index_add(0, owner_E, states_ED)
    low_SD = states_ED.new_full((len(lengths_S), width), -torch.inf)
    highest_SD = low_SD.scatter_reduce(0, owner_E.unsqueeze(1).expand_as(states_ED), states_ED, "amax")
    return torch.cat((sums_SD / lengths_S.unsqueeze(1), highest_SD), 1)
