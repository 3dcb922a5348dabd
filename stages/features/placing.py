"""Place the features of tiles on the grid of a sample.

The region of the sample in its image file is divided into cells. A cell has the mean of all tiles that it overlaps,
weighted by the area of the overlap. So tiles may overlap each other, be smaller or larger than a cell, and lie
anywhere. A cell without any tile, such as background without tissue, has the value 0, the mean over all images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.features.found import Features

__all__ = ["Region", "place", "step_of"]

Region = tuple[float, float, float, float]
"""(top, left, height, width) of a sample, in pixels of its image file or in shares of the image."""


def place(
    features: Features, components: NDArray[np.float32], region: Region, grid: tuple[int, int]
) -> tuple[NDArray[np.float32], float]:
    """Return the components on a grid.

    Args:
        features: The places of the tiles.
        components: (tile, component) values.
        region: Of the sample, in the units of `features`.
        grid: Rows and columns.

    Returns:
        (component, row, column) float32, and the share of cells that have tiles, from 0 to 1.
    """
    top, left, height, width = region
    rows = _overlaps(features.top, features.size[0], top, height, grid[0])
    columns = _overlaps(features.left, features.size[1], left, width, grid[1])
    inside = (rows > 0).any(axis=1) & (columns > 0).any(axis=1)
    rows, columns, values = rows[inside], columns[inside], components[inside]
    weights = rows.T @ columns
    sums = np.stack([(rows * values[:, one : one + 1]).T @ columns for one in range(values.shape[1])])
    covered = weights > 0
    placed = np.divide(sums, weights, out=np.zeros_like(sums), where=covered)
    return placed.astype(np.float32), float(covered.mean())


def _overlaps(
    starts: NDArray[np.float64], length: float, begin: float, extent: float, cells: int
) -> NDArray[np.float64]:
    """Return (tile, cell) lengths of the overlap of tiles and cells along one axis, as shares of a cell."""
    edges = begin + extent * np.arange(cells + 1) / cells
    lower = np.maximum(starts[:, None], edges[None, :-1])
    upper = np.minimum(starts[:, None] + length, edges[None, 1:])
    shares: NDArray[np.float64] = (upper - lower) / (extent / cells)
    return np.where(shares > TOUCHING, shares, 0.0)


TOUCHING = 1e-9
"""Shares of a cell below this are rounding: the tile only touches the cell."""


def step_of(features: Features) -> tuple[float, float]:
    """Return the distance of neighbouring rows and columns of tiles: the smallest that occurs, else a tile's size."""
    found = []
    for places, size in zip((features.top, features.left), features.size, strict=True):
        distances = np.diff(np.unique(places))
        found.append(float(distances.min()) if len(distances) else size)
    return found[0], found[1]
