"""ONNX Runtime: the graph that `logfm export --onnx` wrote, in float32 or 8-bit integers; loads no torch.

In 8 bits a batch's activations share their scale, so a vector moves a little with the texts that it is encoded beside.
Shape legend: B texts of a batch, N tokens of the longest, D width.
"""

import json
import os
import platform
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logfm.artifacts import digest, file_hash
from logfm.configs.schema.embeddings import EncoderConfig
from logfm.embeddings.truncation import batches
from logfm.errors import LogfmError, UserError
from logfm.extras import require
from logfm.pretrain.encoder_folder import CONFIG, WEIGHTS, check_folder, check_tokenizer, identity, trained_tokens
from logfm.pretrain.onnx_files import GRAPH_TOKENS, INT8, ONNX, WEIGHTS_KEY, output_names
from logfm.tokenizer import LogTokenizer

if TYPE_CHECKING:
    from logfm.embeddings.backends import Pooling

_FILES = {"onnx": ONNX, "onnx-int8": INT8}
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_TOKENS = 512
"""Tokens of a batch on a processor: more are slower, as what is computed no longer fits its caches."""
_SMALL = 1 << 26
"""Bytes of a graph up to which it is held a second time, to run batches side by side."""


@dataclass(frozen=True, eq=False)
class OnnxRunner:
    """A session of ONNX Runtime, which any number of threads may share."""

    session: Any = field(repr=False)
    folder: Path
    tokenizer: LogTokenizer
    dim: int
    layers: int
    max_tokens: int
    most_tokens: int
    int8: bool
    tokens_per_batch: int
    threads: int = 1
    """Batches that run side by side, each on one thread: a small graph gains little from more threads within."""

    @cached_property
    def hash(self) -> str:
        """Identity of weights and tokenizer; 8-bit vectors have one of their own."""
        whole = identity(self.folder, self.tokenizer.hash)
        return digest({"encoder": whole, "arithmetic": "int8"}) if self.int8 else whole

    def pool(self, ids: Sequence[np.ndarray], layers: Sequence[int], by: "Pooling") -> np.ndarray:
        """One vector of each text's tokens; float32 (len(ids), dim), in order."""
        pooled = np.empty((len(ids), self.dim), dtype=np.float32)
        lengths = [len(one) + 2 for one in ids]
        names = [output_names(self.layers)[layer] for layer in layers]
        cut = list(batches(lengths, self.tokens_per_batch))
        side_by_side = len(cut) > 1 and self.threads > 1
        session = self._alone if side_by_side else self.session

        def encode(rows: np.ndarray) -> None:
            grid_BN, mask_BN = self._grid([ids[row] for row in rows])
            parts = self._run(session, names, grid_BN, mask_BN)
            states_BND = parts[0] if len(parts) == 1 else np.mean(parts, axis=0)
            pooled[rows] = _pooled(states_BND, mask_BN, by)

        if not side_by_side:
            for rows in cut:
                encode(rows)
            return pooled
        with ThreadPoolExecutor(min(self.threads, len(cut))) as workers:
            list(workers.map(encode, cut))
        return pooled

    @cached_property
    def _alone(self) -> Any:
        """The session again, on one thread."""
        return _session(require("onnxruntime", "onnx"), self.folder / _FILES[self._backend], "cpu", 1)

    @property
    def _backend(self) -> str:
        return "onnx-int8" if self.int8 else "onnx"

    def _run(self, session: Any, names: list[str], grid_BN: np.ndarray, mask_BN: np.ndarray) -> list[np.ndarray]:
        try:
            parts: list[np.ndarray] = session.run(names, {"input_ids": grid_BN, "attention_mask": mask_BN})
        except Exception as error:
            raise LogfmError(f"ONNX Runtime failed on {grid_BN.shape} tokens: {error}") from error
        return parts

    def _grid(self, ids: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Ids with [CLS] and [SEP], and which of them are no padding: int64 (B, N) each."""
        lengths = np.array([len(one) + 2 for one in ids])
        mask = np.arange(lengths.max()) < lengths[:, None]
        grid = np.full(mask.shape, self.tokenizer.pad_id, dtype=np.int64)
        grid[:, 0] = self.tokenizer.cls_id
        for row, one in enumerate(ids):
            grid[row, 1 : len(one) + 1] = one
            grid[row, len(one) + 1] = self.tokenizer.sep_id
        return grid, mask.astype(np.int64)


def _pooled(states_BND: np.ndarray, mask_BN: np.ndarray, by: "Pooling") -> np.ndarray:
    if by == "first":
        return states_BND[:, 0]
    if by == "max":
        return np.where(mask_BN[:, :, None] > 0, states_BND, -np.inf).max(1)
    shares_B1N = (mask_BN / mask_BN.sum(1, keepdims=True)).astype(np.float32)[:, None, :]
    return (shares_B1N @ states_BND)[:, 0]


def open_backend(folder: Path, config: EncoderConfig) -> OnnxRunner:
    """Open an encoder folder with an ONNX file in it.

    Raises:
        UserError: no encoder folder, a damaged one, no ONNX file, one of other weights, or no ONNX Runtime.
    """
    runtime = require("onnxruntime", "onnx")
    check_folder(folder)
    path = folder / _FILES[config.backend]
    if not path.is_file():
        option = "--onnx --int8" if config.backend == "onnx-int8" else "--onnx"
        advice = f"Write one that has it: logfm export {shlex.quote(str(folder))} --out OTHER_FOLDER {option}"
        raise UserError(f"no {path.name} in the encoder folder", folder, advice)
    session = _session(runtime, path, config.device, _threads())
    if session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY) != file_hash(folder / WEIGHTS):
        raise UserError("the ONNX file was written from other weights", path, "Export the encoder again.")
    tokenizer = LogTokenizer.load(folder)
    check_tokenizer(folder, tokenizer.hash)
    sizes = json.loads((folder / CONFIG).read_bytes())
    most = min(int(sizes["max_position_embeddings"]), GRAPH_TOKENS)
    return OnnxRunner(
        session=session,
        folder=folder,
        tokenizer=tokenizer,
        dim=int(sizes["hidden_size"]),
        layers=int(sizes["num_hidden_layers"]),
        max_tokens=min(trained_tokens(folder), most) - 2,
        most_tokens=most - 2,
        int8=config.backend == "onnx-int8",
        tokens_per_batch=min(config.tokens_per_batch, _TOKENS) if _on_cpu(session) else config.tokens_per_batch,
        threads=_side_by_side(session, path),
    )


def _side_by_side(session: Any, path: Path) -> int:
    """How many batches run at once: one a core, on a processor, where the graph is small."""
    if path.stat().st_size > _SMALL or not _on_cpu(session):
        return 1
    return _threads() or len(
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )


def _on_cpu(session: Any) -> bool:
    return bool(session.get_providers() == [_PROVIDERS[1]])


def _threads() -> int:
    """Threads that the environment allows; 0 for one a core."""
    # As torch reads it; ONNX Runtime does not know this variable. OpenMP allows a list, one number for each depth of
    # nesting.
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() else 0


@cache
def _may_saturate() -> bool:
    """Whether this is an x86 processor without instructions for dot products of bytes (VNNI), or nobody knows."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    return "avx512_vnni" not in flags and "avx_vnni" not in flags


def _session(runtime: Any, path: Path, device: str, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    if _may_saturate():
        # Else sums of two 8-bit products overflow there, without a word, and vectors are other ones.
        options.add_session_config_entry("session.x64quantprecision", "1")
    wanted = _PROVIDERS[1:] if device == "cpu" else _PROVIDERS
    providers = [one for one in wanted if one in runtime.get_available_providers()]
    if device == "cuda" and providers == list(_PROVIDERS[1:]):
        raise UserError("ONNX Runtime finds no GPU here", fix="Take --device cpu.")
    try:
        # The fused residual and norm takes three times as long as the two of them on a processor.
        slower = ["SkipLayerNormFusion"] if providers == [_PROVIDERS[1]] else []
        return runtime.InferenceSession(str(path), options, providers=providers, disabled_optimizers=slower)
    except Exception as error:
        raise UserError(f"cannot read the ONNX file ({type(error).__name__})", path, "Export it again.") from error
