"""ONNX files beside an encoder folder's weights, for ONNX Runtime: in float32, and quantized to 8-bit integers."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logfm.artifacts import file_hash
from logfm.errors import UserError
from logfm.extras import require

if TYPE_CHECKING:
    from collections.abc import Mapping

ONNX, INT8 = "model.onnx", "model_int8.onnx"
GRAPH_TOKENS = 4096
"""Longest text that a graph reads, [CLS] and [SEP] included: it holds the scores of all pairs of tokens at once."""
WEIGHTS_KEY = "logfm.weights"
"""Metadata of a graph: the SHA-256 of the weights that it was written from."""
_OPSET, _IR = 20, 10
# Protobuf holds 2 GB; of a larger model the weights go into a file beside the graph.
INLINE_BYTES = 1_800_000_000


def write_onnx(folder: Path, int8: bool = False, float32: bool = True) -> None:
    """Write `model.onnx` beside an encoder folder's weights, and with `int8` a quantized `model_int8.onnx`; without
    `float32` the latter alone.

    In int8 the weights of the matrix products are 8-bit integers with a scale for each column, and activations are
    quantized as they come (ONNX Runtime's dynamic quantization).

    Raises:
        UserError: `onnx` or `onnxruntime` is missing, or the folder holds no encoder of ours.
    """
    onnx = require("onnx", "onnx")
    require("onnxruntime", "onnx")
    from safetensors.numpy import load_file

    path = folder / "model.safetensors"
    config = json.loads((folder / "config.json").read_bytes())
    try:
        weights = {name: tensor.astype(np.float32) for name, tensor in load_file(path).items()}
        model = _model(config, weights, file_hash(path))
    except KeyError as error:
        raise UserError(f"the encoder has no {error.args[0]}", path) from None
    external = sum(tensor.ByteSize() for tensor in model.graph.initializer) > INLINE_BYTES
    onnx.save_model(model, folder / ONNX, save_as_external_data=external, location=f"{ONNX}.data")
    if int8:
        _quantize(folder, external)
    if not float32:
        (folder / ONNX).unlink()
        (folder / f"{ONNX}.data").unlink(missing_ok=True)


def output_names(layers: int) -> list[str]:
    """A graph's outputs, float32 (events, tokens, width): the embeddings, each layer but the last, the last."""
    return [*(f"hidden_state_{number}" for number in range(layers)), "last_hidden_state"]


def _model(config: "Mapping[str, Any]", weights: "Mapping[str, np.ndarray]", weights_hash: str) -> Any:
    """The whole model, an `onnx.ModelProto` with inputs `input_ids` and `attention_mask`, int64 (events, tokens)."""
    from onnx import TensorProto, helper

    from logfm.pretrain.onnx_graph import write_graph

    if config["model_type"] != "deberta-v2" or config["hidden_act"] != "gelu":
        raise UserError("an ONNX graph is written of logfm's own encoders only", config["model_type"])
    names = output_names(config["num_hidden_layers"])
    nodes, tensors = write_graph(config, weights, names)
    grid = ["events", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, grid) for name in ("input_ids", "attention_mask")]
    width = config["hidden_size"]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [*grid, width]) for name in names]
    graph = helper.make_graph(nodes, "logfm", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    helper.set_model_props(model, {WEIGHTS_KEY: weights_hash})
    return model


def _quantize(folder: Path, external: bool) -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    root.addFilter(_no_advice)
    try:
        quantize_dynamic(
            folder / ONNX,
            folder / INT8,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            use_external_data_format=external,
            # Shapes that depend on the input's length keep onnx from inferring types.
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
    finally:
        root.removeFilter(_no_advice)


def _no_advice(record: logging.LogRecord) -> bool:
    """ONNX Runtime advises to fold constants first; there are none to fold here."""
    return "pre-processing before quantization" not in record.getMessage()
