"""A linear map behind the pooling: centring or whitening, fitted on training events, in sentence-transformers' layout.

The model itself stays plain. Whitening follows Su et al. ("Whitening Sentence Representations for Better Semantics and
Faster Retrieval", 2021), with a power that goes from none of it to all.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from logfm.errors import UserError

FOLDER = "2_Dense"
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_SHRINKAGE = 1e-3  # of the mean variance, added to each: directions in which nothing varies must not explode
Kind = Literal["none", "centre", "whiten"]


@dataclass(frozen=True, eq=False)
class Projection:
    """`weight` float32 (out, in) and `bias` float32 (out,)."""

    weight: np.ndarray
    bias: np.ndarray

    @property
    def hash(self) -> str:
        """SHA-256 of its values."""
        return hashlib.sha256(self.weight.tobytes() + self.bias.tobytes()).hexdigest()

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Map float32 (n, in) to float32 (n, out)."""
        mapped: np.ndarray = vectors @ self.weight.T + self.bias
        return mapped


def fit(vectors: np.ndarray, kind: Literal["centre", "whiten"], power: float = 0.5) -> Projection:
    """Centre the vectors, float32 (n, dim); whitening also divides each principal direction by its variance to `power`
    (0.5 makes all variances equal, 0 only centres).
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    weight = np.eye(vectors.shape[1])
    if kind == "whiten":
        variance, directions = np.linalg.eigh(np.cov(vectors.T.astype(np.float64)))
        variance = np.maximum(variance, 0) + _SHRINKAGE * variance.mean()
        weight = (directions * (variance / variance.mean()) ** -power) @ directions.T
    return Projection(weight.astype(np.float32), (-weight @ mean).astype(np.float32))


def centred_anew(projection: Projection, vectors: np.ndarray) -> Projection:
    """The same weights, and the bias that moves the mean of these vectors, float32 (n, in), to zero."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    return Projection(projection.weight, (-projection.weight.astype(np.float64) @ mean).astype(np.float32))


def write(projection: Projection, folder: Path) -> None:
    """Write it below an encoder folder, as a Dense module of sentence-transformers."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    save_file({"linear.weight": projection.weight, "linear.bias": projection.bias}, place / _WEIGHTS)
    sizes = {"in_features": projection.weight.shape[1], "out_features": projection.weight.shape[0]}
    document = sizes | {"bias": True, "activation_function": "torch.nn.modules.linear.Identity"}
    (place / _CONFIG).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def read(folder: Path, dim: int) -> Projection | None:
    """The map of an encoder folder whose model gives vectors of width `dim`; None where it has none.

    Raises:
        UserError: a damaged one.
    """
    path = folder / FOLDER / _WEIGHTS
    if not path.is_file():
        return None
    try:
        held = load_file(path)
        found = Projection(held["linear.weight"], held["linear.bias"])
    except Exception as error:
        raise UserError(f"cannot read the projection ({type(error).__name__})", path) from error
    shapes = (found.weight.ndim, found.weight.shape[-1], found.bias.shape)
    if shapes != (2, dim, found.weight.shape[:1]) or not all(np.isfinite(one).all() for one in held.values()):
        raise UserError(f"the projection does not fit vectors of width {dim}", path, "Export the encoder again.")
    return found
