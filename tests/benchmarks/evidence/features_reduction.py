"""Reduce features to a few components, and round them to 8 bits.

The components are fitted once, from the mean and the covariance of the patch tokens of some images. Both are summed
batch by batch, so the fit is exact and its memory does not grow with the number of images. Labels are not used.

| reduction | component k of a token x | scale |
|---|---|---|
| `pca` | (x - mean) · the eigenvector of the k-th largest variance | the first has deviation 1 |
| `white` | the same | each has deviation 1 |
| `random` | (x - mean) · a random vector of normal numbers | the one of largest variance has deviation 1 |

An eigenvector's sign is free. Its entry of largest size is made positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError

__all__ = ["Moments", "Projection", "Reduction", "fit_projection", "round_to_8_bits"]

Reduction = Literal["pca", "white", "random"]

SMALLEST = 1e-6
"""Smallest deviation of a whitened component relative to the first one. Below it there is only rounding."""

RANGE = 4.0
"""8 bits span this many deviations on either side of zero. Values beyond are clipped."""

STEPS = 255


class Moments:
    """Sum the mean and the covariance of vectors, batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._shift: NDArray[np.float64] | None = None
        self._sum: NDArray[np.float64] = np.zeros(0)
        self._products: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, vectors: NDArray[np.floating]) -> None:
        """Add (vector, dimension) values."""
        values = vectors.astype(np.float64)
        if self._shift is None:  # near the mean, so that the difference of two large sums is not taken
            self._shift = values.mean(axis=0)
            self._sum = np.zeros_like(self._shift)
            self._products = np.zeros((len(self._shift), len(self._shift)))
        values -= self._shift
        self.count += len(values)
        self._sum += values.sum(axis=0)
        self._products += values.T @ values

    @property
    def mean(self) -> NDArray[np.float64]:
        """(dimension,) mean of all vectors; at least one was added."""
        assert self._shift is not None
        return self._shift + self._sum / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(dimension, dimension) covariance of all vectors, divided by their number."""
        centre = self._sum / self.count
        covariance: NDArray[np.float64] = self._products / self.count - np.outer(centre, centre)
        return covariance


@dataclass(frozen=True, eq=False)
class Projection:
    """Project tokens to components."""

    mean: NDArray[np.float64]
    """(dimension,) subtracted first."""
    matrix: NDArray[np.float64]
    """(dimension, component), scaled."""
    deviations: NDArray[np.float64]
    """(component,) deviation of each component over the vectors of the fit."""
    explained: NDArray[np.float64]
    """() share of the vectors' variance that lies in the space of the components."""

    def apply(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return (…, component) for (…, dimension) vectors."""
        matrix = self.matrix.astype(np.float32)
        projected: NDArray[np.float32] = vectors.astype(np.float32) @ matrix
        return projected - (self.mean @ self.matrix).astype(np.float32)


def fit_projection(moments: Moments, count: int, how: Reduction, *, seed: int = 0) -> Projection:
    """Fit a projection to `count` components.

    Args:
        moments: of the vectors.
        count: number of components.
        how: see the table above.
        seed: of the random vectors.

    Raises:
        UsageError: there are fewer dimensions than components, or a component to be whitened does not vary.
    """
    covariance = moments.covariance
    dimensions = len(covariance)
    if not 1 <= count <= dimensions:
        raise UsageError(f"{count} components: the features have {dimensions} dimensions. Ask for 1 to {dimensions}.")
    if how == "random":
        directions = np.random.default_rng(seed).standard_normal((dimensions, count))
    else:
        directions = np.linalg.eigh(covariance)[1][:, ::-1][:, :count]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(count)])
    deviations = np.sqrt(np.maximum(np.einsum("dk,de,ek->k", directions, covariance, directions), 0))
    top = deviations.max()
    if top <= 0 or (how == "white" and deviations.min() < SMALLEST * top):
        raise UsageError(f"{count} components: some do not vary over the images of the fit. Ask for fewer.")
    matrix = directions / (deviations if how == "white" else top)
    basis = np.linalg.qr(directions)[0]
    return Projection(
        mean=moments.mean,
        matrix=matrix,
        deviations=np.ones(count) if how == "white" else deviations / top,
        explained=np.array(np.trace(basis.T @ covariance @ basis) / np.trace(covariance)),
    )


def round_to_8_bits(maps: NDArray[np.float32], deviations: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round maps to 256 values each, and return these values.

    Args:
        maps: (sample, map, row, column).
        deviations: (map,) deviation of each map's values. They span `RANGE` deviations on either side of zero.
    """
    step = (2 * RANGE * deviations / STEPS)[:, None, None]
    low = (RANGE * deviations)[:, None, None]
    return (np.clip(np.rint((maps + low) / step), 0, STEPS) * step - low).astype(np.float32)
