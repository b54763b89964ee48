"""Embeddings on a plane."""

import numpy as np
from numpy.typing import NDArray

from logfm.evaluation.vectors import Matrix, unit_rows


def project(vectors: Matrix) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The first two principal components of the unit vectors: float64 (n, 2), and the share of variance on each.

    `vectors` is dense (n, dim). Signs are fixed, so the same vectors always give the same picture.

    Raises:
        LogfmError: values that are not finite.
    """
    units = np.asarray(unit_rows(vectors, len(vectors)), dtype=np.float64)
    if not units.size:
        return np.zeros((len(units), 2)), (0.0, 0.0)
    centred = units - units.mean(axis=0)
    variances, axes = np.linalg.eigh(centred.T @ centred)
    order = np.argsort(variances)[::-1][:2]
    chosen = axes[:, order]
    chosen *= np.where(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])] < 0, -1.0, 1.0)
    total = max(float(variances.clip(min=0).sum()), np.finfo(np.float64).tiny)
    shares = [max(float(variances[axis]), 0.0) / total for axis in order] + [0.0]
    points = np.zeros((len(units), 2))
    points[:, : len(order)] = centred @ chosen
    return points, (shares[0], shares[1])
