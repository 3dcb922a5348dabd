"""Reduce features to a few components by principal component analysis, and make maps of them that a store can hold.

A component is (x - mean) · the eigenvector of the k-th largest variance, divided by its own deviation, so that it has
deviation 1. An eigenvector's sign is free; its entry of largest size is made positive. The components are fitted on
features drawn from all images of the store; labels are not used.

The values of `attention` in a store are not negative, and a map has at most the mean 1. So a map holds exp(z - 4), with
the component z clipped to 4 deviations on either side: from 0.0003 to 1. The usual scaling of `train`, `log`, gives z
back up to the mean and deviation of the map. Float16 keeps z to 0.001.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError

__all__ = ["MOST_COMPONENTS", "RANGE", "Components", "as_maps", "fit"]

MOST_COMPONENTS = 32
RANGE = 4.0
"""Deviations on either side of the mean that a map spans."""
SMALLEST = 1e-5
"""Smallest deviation of a component relative to the first one. Below it there is only rounding."""


@dataclass(frozen=True, eq=False)
class Components:
    """Project features to components."""

    mean: NDArray[np.float64]
    """(dimension,)."""
    matrix: NDArray[np.float64]
    """(dimension, component), scaled."""
    explained: float
    """Share of the variance that the components hold, 0 to 1."""
    fitted_on: int
    """Number of feature vectors."""

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (tile, component) float32 for (tile, dimension) features."""
        projected = (values.astype(np.float64) - self.mean) @ self.matrix
        return projected.astype(np.float32)

    @property
    def sha256(self) -> str:
        """SHA-256 of the mean and the matrix as little-endian float64, row by row."""
        content = self.mean.astype("<f8").tobytes() + np.ascontiguousarray(self.matrix).astype("<f8").tobytes()
        return hashlib.sha256(content).hexdigest()


def fit(values: NDArray[np.float32], count: int) -> Components:
    """Fit components.

    Args:
        values: (vector, dimension), at least two vectors.
        count: Number of components that is asked for.

    Raises:
        UsageError: the features vary in fewer than `count` directions.
    """
    mean = values.mean(axis=0, dtype=np.float64)
    centred = values - mean
    covariance = centred.T @ centred / len(values)
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    deviations = np.sqrt(variances)
    varying = int((deviations > max(SMALLEST * deviations[0], 0)).sum())
    if varying < count:
        raise UsageError(
            f"--components {count}: the {len(values):,} features with {values.shape[1]} dimensions have {varying} "
            f"components that vary. Ask for {'fewer' if varying else 'other features: all of these are equal'}."
        )
    vectors = vectors[:, :count]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(count)])
    return Components(
        mean=mean,
        matrix=vectors / deviations[:count],
        explained=float(variances[:count].sum() / variances.sum()),
        fitted_on=len(values),
    )


def as_maps(components: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return components z as values of maps, exp(z - 4) with z clipped to [-4, 4]; any shape."""
    maps: NDArray[np.float16] = np.exp(np.clip(components, -RANGE, RANGE) - RANGE).astype(np.float16)
    return maps
