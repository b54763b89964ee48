"""What every encoder of the suite is: a function from raw lines to a matrix of row vectors."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from logfm.errors import LogfmError

Matrix: TypeAlias = Any
"""(n, dim): a dense numpy array or a scipy sparse matrix (CSR)."""
Encode: TypeAlias = Callable[[Sequence[str]], Matrix]
"""Raw lines -> (n, dim). It is given nothing else: no template, no label, no statistic of what is evaluated."""


def unit_rows(vectors: Matrix, rows: int) -> Matrix:
    """Rows scaled to length 1 (float32 if dense), so that a product is a cosine; zero rows stay zero.

    Raises:
        LogfmError: not `rows` rows, or values that are not finite.
    """
    if hasattr(vectors, "tocsr"):
        matrix: Any = vectors.tocsr()
        values = matrix.data
    else:
        matrix = values = np.asarray(vectors)
    if matrix.ndim != 2 or matrix.shape[0] != rows:
        raise LogfmError(f"the encoder gave vectors of shape {matrix.shape} for {rows} lines")
    if not np.isfinite(values).all():
        raise LogfmError("the encoder gave values that are not finite")
    return _unit_sparse(matrix) if matrix is not values else _unit_dense(matrix)


def products(left: Matrix, right: Matrix) -> NDArray[np.floating[Any]]:
    """All dot products, dense (len(left), len(right))."""
    block = left @ right.T
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block)


def pair_products(left: Matrix, right: Matrix) -> NDArray[np.float64]:
    """Row by row dot products, float64 (n,)."""
    if hasattr(left, "multiply"):
        return np.asarray(left.multiply(right).sum(axis=1), dtype=np.float64).ravel()
    return np.asarray(np.einsum("nd,nd->n", left, right, dtype=np.float64))


def _unit_dense(matrix: NDArray[Any]) -> NDArray[np.float32]:
    # Scaling by the largest value first keeps the squares of very large or small values in range.
    wide = matrix.astype(np.float64)
    wide /= np.maximum(np.abs(wide).max(axis=1, keepdims=True, initial=0), np.finfo(np.float64).tiny)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def _unit_sparse(matrix: Any) -> Any:
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1))).ravel()
    scale = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return matrix.multiply(scale[:, None]).tocsr()
