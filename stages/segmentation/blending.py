"""Blend the predictions of overlapping tiles into one picture, a band of rows at a time.

Every tile is weighted by a Gaussian around its centre, so that it counts little where it sees no surroundings. The
weights are those of MONAI's sliding windows (`monai.data.utils.compute_importance_map`, mode `gaussian`): a standard
deviation of one eighth of the side, and at least 0.001.

Tiles come row by row from the top. Only the rows that later tiles can still change are in memory: one tile's height of
the whole width, 4 bytes for every class and 4 for the weights. So memory depends on the width, not on the height.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["Blender", "gaussian_weights"]

SIGMA = 0.125
"""Standard deviation of the weights, as a share of the side."""
LOWEST = 1e-3
"""Smallest weight; the largest is 1."""


def gaussian_weights(size: Size) -> NDArray[np.float32]:
    """Return the weight of every pixel of a tile, (*size) float32 in [0.001, 1]."""
    sides = []
    for side in size:
        offsets = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
        sides.append(np.exp(-(offsets**2) / np.float32(2 * (SIGMA * side) ** 2)))
    weights = np.outer(*sides).astype(np.float32)
    raised: NDArray[np.float32] = np.maximum(weights, np.float32(max(float(weights.min()), LOWEST)))
    return raised


class Blender:
    """Add up weighted tiles, and give out the rows that are finished."""

    def __init__(self, shape: Size, tile: Size, classes: int) -> None:
        """Start with an empty picture.

        Args:
            shape: (rows, columns) of the picture.
            tile: (rows, columns) of every tile.
            classes: Number of classes.
        """
        self._shape = shape
        self._weights = gaussian_weights(tile)
        rows = min(tile[0], shape[0])
        self._sums = np.zeros((classes, rows, shape[1]), np.float32)
        self._totals = np.zeros((rows, shape[1]), np.float32)
        self.top = 0
        """First row that is not given out yet."""

    def add(self, row: int, column: int, probabilities: NDArray[np.float32]) -> None:
        """Add one tile.

        Args:
            row: First row of the tile in the picture; no later tile may start above it once `take` was called.
            column: First column.
            probabilities: (class, *tile). What lies beyond the picture is left out.
        """
        rows = min(probabilities.shape[1], self._shape[0] - row)
        columns = min(probabilities.shape[2], self._shape[1] - column)
        first = row - self.top
        place = (slice(first, first + rows), slice(column, column + columns))
        weights = self._weights[:rows, :columns]
        self._sums[:, *place] += probabilities[:, :rows, :columns] * weights
        self._totals[place] += weights

    def take(self, row: int) -> NDArray[np.float32]:
        """Return the rows above `row` that were not given out yet, and forget them.

        Args:
            row: First row of the next tile; the number of rows of the picture after the last tile.

        Returns:
            (class, row, column) float32, the weighted means. Pixels without a tile are background: class 0 has 1.
        """
        count = min(row - self.top, self._sums.shape[1])
        sums, totals = self._sums[:, :count].copy(), self._totals[:count].copy()
        for values in (self._sums, self._totals):
            kept = values.shape[-2] - count
            values[..., :kept, :] = values[..., count:, :].copy()
            values[..., kept:, :] = 0
        self.top += count
        empty = totals == 0
        if empty.any():
            sums[0][empty] = 1
            totals[empty] = 1
        sums /= totals
        if row > self.top:  # no tile covers these rows
            missing = np.zeros((len(sums), row - self.top, self._shape[1]), np.float32)
            missing[0] = 1
            self.top = row
            sums = np.concatenate([sums, missing], axis=1)
        return sums
