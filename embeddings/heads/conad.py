"""CONAD over a graph of near events: contrastive anomaly detection on attributed networks (Xu et al., PAKDD 2022).

A node is a different vector, an edge joins the pairs that lie in the nearest share of all (SecEncoder, 4.2.3). What
lies alone, or is unlike what it is joined to, gets a high score. How often a text occurs does not count here.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from logfm.configs.schema.embeddings import ConadConfig
from logfm.console import say
from logfm.embeddings.heads.pairs import closest_pairs
from logfm.errors import UserError
from logfm.extras import require

# Different events whose graph takes minutes.
_LONG = 10_000
# Elements of a block of predicted edges: 64 MB in float32, of which a few are alive at once.
_BLOCK = 1 << 24


def conad(vectors: np.ndarray, config: ConadConfig, seed: int) -> np.ndarray:
    """Scores of all vectors (float32 (n, dim)), float64 (n,): PyOD's CONAD; equal vectors have equal scores.

    Features are standardised, so that the error in them weighs as much as the error in edges. Up to
    `config.dense_up_to` different vectors PyOD's own class runs, which holds an n² matrix; above, `fit_blockwise`.

    Raises:
        UserError: torch-geometric is missing, there are fewer than two different vectors, or far too many.
    """
    require("torch_geometric", "gnn")
    from pyod.models.pyg_conad import CONAD
    from torch_geometric.data import Data

    nodes, owners = np.unique(vectors, axis=0, return_inverse=True)
    try:
        edges = closest_pairs(nodes, config.edge_share, seed)
    except ValueError as error:
        raise UserError(f"no graph can be made: {error}", fix="Give other events, or take another --method.") from error
    spread = nodes.std(axis=0)
    features = torch.from_numpy((nodes - nodes.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)).float()
    if len(nodes) > _LONG:
        say(f"conad: {len(nodes)} different events, {edges.shape[1]} edges, {config.epochs} epochs: this takes a while")
    both_ways = torch.from_numpy(np.concatenate((edges, edges[::-1]), axis=1))
    detector = CONAD(hidden_dim=config.hidden, epochs=config.epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if len(nodes) <= config.dense_up_to:
            scores = detector.fit(Data(x=features, edge_index=both_ways)).decision_scores_
        else:
            scores = fit_blockwise(detector, features, both_ways, config.sampled_rows)
    return np.asarray(scores, dtype=np.float64)[owners.reshape(-1)]


@dataclass(frozen=True)
class _Graph:
    """Edges by their target: `adjacency` is sparse (nodes, nodes) of ones, `starts` and `sources` its rows."""

    adjacency: torch.Tensor
    starts: torch.Tensor
    sources: torch.Tensor

    def dense(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows of the adjacency matrix, float32 (rows, nodes)."""
        found = torch.zeros(len(rows), len(self.starts) - 1)
        degree = self.starts[rows + 1] - self.starts[rows]
        owner = torch.repeat_interleave(torch.arange(len(rows)), degree)
        within = torch.arange(len(owner)) - torch.repeat_interleave(degree.cumsum(0) - degree, degree)
        found[owner, self.sources[self.starts[rows][owner] + within]] = 1.0
        return found


def fit_blockwise(detector: Any, features: torch.Tensor, edges: torch.Tensor, sampled_rows: int) -> np.ndarray:
    """The training and the scores of PyOD's `CONAD.fit`, without its n² matrices; float32 (nodes,).

    `features` is float32 (nodes, dim), `edges` int64 (2, edges) in both directions. The error in edges is estimated at
    each step from `sampled_rows` random rows of the adjacency matrix (all of them where there are no more); the scores
    are exact. Messages go through sparse products, so no vector is held an edge.
    """
    from pyod.models.pyg_conad import _CONADModel

    nodes = len(features)
    model = _CONADModel(features.shape[1], detector.hidden_dim, detector.num_layers, detector.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=detector.lr)
    graph = _graph(edges, nodes)
    model.train()
    for _ in range(detector.epochs):
        other, added = _disturbed(features, edges, detector.aug_ratio)
        own, disturbed = _encode(model, features, graph, None), _encode(model, other, graph, added)
        alike = (normalize(own, dim=1) * normalize(disturbed, dim=1)).sum(dim=1).mean()
        rows = torch.arange(nodes) if nodes <= sampled_rows else torch.randperm(nodes)[:sampled_rows]
        structure = ((graph.dense(rows) - torch.sigmoid(own[rows] @ own.t())) ** 2).sum(dim=1).mean()
        attributes = ((features - model.attr_decoder(own)) ** 2).sum(dim=1).mean()
        optimizer.zero_grad()
        (detector.alpha * (structure + attributes) - alike).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        other, added = _disturbed(features, edges, detector.aug_ratio)
        own, disturbed = _encode(model, features, graph, None), _encode(model, other, graph, added)
        apart = 1.0 - (normalize(own, dim=1) * normalize(disturbed, dim=1)).sum(dim=1)
        errors = ((features - model.attr_decoder(own)) ** 2).sum(dim=1)
        for rows in torch.arange(nodes).split(max(1, _BLOCK // nodes)):
            errors[rows] += ((graph.dense(rows) - torch.sigmoid(own[rows] @ own.t())) ** 2).sum(dim=1)
        return (apart + detector.alpha * errors).numpy()


def _graph(edges: torch.Tensor, nodes: int) -> _Graph:
    order = torch.argsort(edges[1], stable=True)
    sources = edges[0][order]
    starts = torch.zeros(nodes + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(edges[1], minlength=nodes).cumsum(0)
    with warnings.catch_warnings():
        # torch calls its sparse rows a beta.
        warnings.filterwarnings("ignore", message="Sparse")
        ones = torch.ones(len(sources))
        matrix = torch.sparse_csr_tensor(starts, sources, ones, (nodes, nodes), check_invariants=False)
    return _Graph(matrix, starts, sources)


def _disturbed(features: torch.Tensor, edges: torch.Tensor, ratio: float) -> tuple[torch.Tensor, _Graph]:
    """PyOD's anomalous view, drawn in its order: features of some nodes exchanged, and the random edges to add."""
    nodes = len(features)
    changed = max(1, int(nodes * ratio))
    other = features.clone()
    targets, sources = torch.randperm(nodes)[:changed], torch.randperm(nodes)[:changed]
    other[targets] = features[sources]
    count = max(1, int(edges.shape[1] * ratio))
    first, second = torch.randint(0, nodes, (count,)), torch.randint(0, nodes, (count,))
    # A node has one loop to itself already, and PyG does not add a second.
    return other, _graph(torch.stack((first, second))[:, first != second], nodes)


def _encode(model: Any, features: torch.Tensor, graph: _Graph, added: _Graph | None) -> torch.Tensor:
    """The graph convolutions of the model (Kipf and Welling, 2017); float32 (nodes, hidden)."""
    degree = graph.starts.diff() + 1
    if added is not None:
        degree = degree + added.starts.diff()
    scale = degree.float().rsqrt().unsqueeze(1)
    states = features
    for number, layer in enumerate(model.convs):
        if number:
            states = torch.dropout(torch.relu(states), p=model._dropout, train=model.training)
        sent = layer.lin(states) * scale
        received = sent + graph.adjacency @ sent
        if added is not None:
            received = received + added.adjacency @ sent
        states = received * scale + layer.bias
    return states
