"""The encoder's forward as ONNX nodes, written out from its weights instead of traced.

Three things are better for it: relative scores are lined up by reshaping, as in `attention.shift`, where a trace of the
Hugging Face model gathers through N×N integer matrices; position tables are projected once, here; and every layer is an
output. Events stand in a padded grid. Shape legend: B events, N tokens of the longest, D width, H heads, d head width,
S position buckets a direction, R = 2N-1 distances.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from logfm.pretrain.attention import Buckets

_HIDDEN = -1e9  # added to the score of a key that is padding


def write_graph(
    config: Mapping[str, Any], weights: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> tuple[list[Any], list[Any]]:
    """Nodes and weights (onnx protos) of the encoder of a Hugging Face configuration, from `input_ids` and
    `attention_mask` to `outputs`: one name for the embeddings and one for each layer.

    Raises:
        KeyError: a weight is missing.
    """
    graph = _Graph(config, weights)
    words = graph.add("words", graph.weight("deberta.embeddings.word_embeddings.weight"))
    x_BND = graph.norm(graph.op("Gather", words, "input_ids"), "deberta.embeddings.LayerNorm", outputs[0])
    scope = _scope(graph)
    for number, name in enumerate(outputs[1:]):
        x_BND = _layer(graph, x_BND, f"deberta.encoder.layer.{number}", scope, name)
    return graph.nodes, list(graph.tensors.values())


@dataclass
class _Graph:
    """Nodes and weights as they are added; every method gives the name of what it adds."""

    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    nodes: list[Any] = field(default_factory=list)
    tensors: dict[str, Any] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """A node with one output."""
        from onnx import helper

        out = out or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=f"node_{len(self.nodes)}", **attributes))
        return out

    def add(self, name: str, value: np.ndarray) -> str:
        """A weight or another constant."""
        from onnx import numpy_helper

        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.add(f"ints_{'_'.join(map(str, values))}", np.array(values, dtype=np.int64))

    def int(self, value: int) -> str:
        """A constant int64 scalar."""
        return self.add(f"int_{value}", np.array(value, dtype=np.int64))

    def float(self, value: float) -> str:
        """A constant float32 scalar."""
        return self.add(f"float_{value}", np.array(value, dtype=np.float32))

    def linear(self, x: str, name: str) -> str:
        """A linear layer of the model."""
        product = self.op("MatMul", x, self.add(f"{name}.weight", self.weight(f"{name}.weight").T))
        return self.op("Add", product, self.add(f"{name}.bias", self.weight(f"{name}.bias")))

    def norm(self, x: str, name: str, out: str = "") -> str:
        """A LayerNorm of the model."""
        parts = [self.add(f"{name}.{part}", self.weight(f"{name}.{part}")) for part in ("weight", "bias")]
        return self.op("LayerNormalization", x, *parts, out=out, epsilon=float(self.config["layer_norm_eps"]))

    def weight(self, name: str) -> np.ndarray:
        """A weight of the model, float32."""
        return self.weights[name].astype(np.float32)


@dataclass(frozen=True)
class _Scope:
    """Names of what all layers share.

    `length` is N and `one_less` N-1 (int64 vectors of one), `end` where the scores of the last query end in a
    flattened row of scores by distance, `grid` the shape that drops one column of them, `mask` float32 (B, 1, 1, N),
    `descending` and `ascending` the table rows of the distances N-1 to 1-N and back (int64 (R,)).
    """

    length: str
    one_less: str
    end: str
    grid: str
    mask: str
    descending: str
    ascending: str


def _scope(graph: _Graph) -> _Scope:
    op, ints = graph.op, graph.ints
    length = op("Shape", "input_ids", start=1, end=2)
    one_less = op("Sub", length, ints(1))
    width = op("Mul", one_less, ints(2))
    end = op("Add", one_less, op("Mul", length, width))
    grid = op("Concat", ints(0), ints(0), length, width, axis=0)
    real = op("Cast", "attention_mask", to=1)
    mask = op("Mul", op("Sub", graph.float(1), real), graph.float(_HIDDEN))
    most = int(graph.config["max_relative_positions"])
    buckets = Buckets(int(graph.config["position_buckets"]), most)
    rows = graph.add("distance_rows", buckets.rows(most, -most, torch.device("cpu")).numpy())
    size = op("Squeeze", length)
    distances = op("Range", op("Sub", graph.int(1), size), size, graph.int(1))
    # The table's rows run from the largest distance to the smallest; beyond them it has the same row for all.
    places = op("Add", op("Clip", distances, graph.int(-most), graph.int(most)), graph.int(most))
    back = op("Sub", graph.int(2 * most), places)
    descending, ascending = op("Gather", rows, places), op("Gather", rows, back)
    return _Scope(length, one_less, end, grid, op("Unsqueeze", mask, ints(1, 2)), descending, ascending)


def _layer(graph: _Graph, x_BND: str, prefix: str, scope: _Scope, out: str) -> str:
    context_BND = _attention(graph, x_BND, f"{prefix}.attention.self", scope)
    attended_BND = graph.op("Add", graph.linear(context_BND, f"{prefix}.attention.output.dense"), x_BND)
    attended_BND = graph.norm(attended_BND, f"{prefix}.attention.output.LayerNorm")
    wide = graph.op("Gelu", graph.linear(attended_BND, f"{prefix}.intermediate.dense"))
    fed_BND = graph.op("Add", graph.linear(wide, f"{prefix}.output.dense"), attended_BND)
    return graph.norm(fed_BND, f"{prefix}.output.LayerNorm", out)


def _attention(graph: _Graph, x_BND: str, prefix: str, scope: _Scope) -> str:
    """Disentangled attention (see `attention.eager`); the scores' scale is a factor of the queries' weights."""
    op, ints = graph.op, graph.ints
    heads, width = int(graph.config["num_attention_heads"]), int(graph.config["hidden_size"])
    scale = (3 * (width // heads)) ** -0.5
    scaled = (("query", scale), ("key", 1.0), ("value", 1.0))
    weights = [graph.weight(f"{prefix}.{part}_proj.weight").T * np.float32(factor) for part, factor in scaled]
    biases = [graph.weight(f"{prefix}.{part}_proj.bias") * np.float32(factor) for part, factor in scaled]
    qkv = op("MatMul", x_BND, graph.add(f"{prefix}.qkv.weight", np.concatenate(weights, 1)))
    qkv = op("Add", qkv, graph.add(f"{prefix}.qkv.bias", np.concatenate(biases)))
    qkv = op("Reshape", qkv, ints(0, 0, 3, heads, width // heads))
    qkv = op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    q_BHNd, k_BHNd, v_BHNd = (op("Gather", qkv, graph.int(part)) for part in range(3))
    scores = op("MatMul", q_BHNd, op("Transpose", k_BHNd, perm=[0, 1, 3, 2]))
    by_query = _by_distance(graph, q_BHNd, _table(graph, prefix, "key", 1.0), scope.descending, scope)
    by_key = _by_distance(graph, k_BHNd, _table(graph, prefix, "query", scale), scope.ascending, scope)
    scores = op("Add", op("Add", scores, by_query), op("Transpose", by_key, perm=[0, 1, 3, 2]))
    chances_BHNN = op("Softmax", op("Add", scores, scope.mask))
    context = op("Transpose", op("MatMul", chances_BHNN, v_BHNd), perm=[0, 2, 1, 3])
    return op("Reshape", context, ints(0, 0, width))


def _by_distance(graph: _Graph, x_BHNd: str, table_HdS: str, rows_R: str, scope: _Scope) -> str:
    """Products with the table's rows of all distances, lined up as (B, H, N, N); the same as `attention.shift`."""
    op, ints = graph.op, graph.ints
    scores_BHNR = op("MatMul", x_BHNd, op("Gather", table_HdS, rows_R, axis=2))
    flat = op("Reshape", scores_BHNR, ints(0, 0, -1))
    flat = op("Slice", flat, scope.one_less, scope.end, ints(2))
    return op("Slice", op("Reshape", flat, scope.grid), ints(0), scope.length, ints(3))


def _table(graph: _Graph, prefix: str, part: str, factor: float) -> str:
    """The position table as the layer's queries or keys, float32 (H, d, 2S)."""
    buckets, heads = int(graph.config["position_buckets"]), int(graph.config["num_attention_heads"])
    positions = graph.weight("deberta.encoder.rel_embeddings.weight")[: 2 * buckets].astype(np.float64)
    positions -= positions.mean(1, keepdims=True)
    positions /= np.sqrt((positions**2).mean(1, keepdims=True) + float(graph.config["layer_norm_eps"]))
    norm = "deberta.encoder.LayerNorm"
    positions = positions * graph.weight(f"{norm}.weight") + graph.weight(f"{norm}.bias")
    weight, bias = (graph.weight(f"{prefix}.{part}_proj.{kind}") for kind in ("weight", "bias"))
    table_SHd = ((positions @ weight.T + bias) * factor).reshape(2 * buckets, heads, -1)
    return graph.add(f"{prefix}.{part}_positions", table_SHd.transpose(1, 2, 0).astype(np.float32))
