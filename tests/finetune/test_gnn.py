"""The graph: the smallest distances of the training events, to which new ones attach."""

import numpy as np
import torch

from logfm.configs.schema.finetune import GnnConfig
from logfm.finetune import Sequences
from logfm.finetune.gnn import GnnNetwork


def network(share, vectors):
    torch.manual_seed(0)
    made = GnnNetwork(GnnConfig(hidden=4, edge_share=share), vectors.shape[1], 2)
    made.fit_inputs(Sequences([vectors]), 0)
    return made.eval()


def test_edges_are_the_smallest_distances():
    vectors = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    made = network(0.05, vectors)
    nodes = made.nodes.numpy()
    away = np.linalg.norm(nodes[:, None] - nodes[None], axis=2)
    pairs = np.sort(away[np.triu_indices(30, 1)])
    wanted = int(np.ceil(0.05 * len(pairs)))
    assert made.edges.shape == (2, 2 * wanted)
    found = away[made.edges[0], made.edges[1]]
    np.testing.assert_allclose(np.sort(found)[::2], pairs[:wanted], rtol=1e-5)
    np.testing.assert_allclose(float(made.reach), pairs[wanted - 1] ** 2, rtol=1e-4)


def test_new_events_attach_within_reach_and_never_to_their_own_copy():
    vectors = np.array([[0, 0], [1, 0], [10, 0], [20, 0]], dtype=np.float32)
    made = network(0.01, vectors)  # one edge, of length 1
    prepared = made.prepare(Sequences([np.array([[0.5, 0], [1, 0], [10.4, 0], [40, 0]], dtype=np.float32)]))
    names = made.nodes[:, 0].tolist()
    near = [[names[node] for node in prepared.near[owner]] for owner in prepared.owners[0]]
    assert near == [[0, 1], [0], [10], []]


def test_sequences_do_not_touch_the_graph_or_each_other():
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    made = network(0.1, vectors)
    one, other = Sequences([vectors[:4] + np.float32(0.01)]), Sequences([vectors[:4] + np.float32(0.01), vectors[4:9]])
    with torch.no_grad():
        alone = made(made.prepare(one), np.array([0]))
        together = made(made.prepare(other), np.array([0, 1]))
    torch.testing.assert_close(alone[0], together[0])
