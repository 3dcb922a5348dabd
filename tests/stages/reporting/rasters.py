"""Fill the paths of a page again, to compare them with the masks they were made of."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.path import Path as Polygon


def rings_of(path: str) -> list[np.ndarray]:
    """Return the rings of a path as (corner, 2) arrays of x and y; fails on anything but M, L and Z."""
    assert re.fullmatch(r"(M[0-9. L-]+Z)*", path)
    return [np.array([corner.split() for corner in ring.split("L")], float) for ring in re.findall(r"M([^Z]+)Z", path)]


def rasterise(path: str, shape: tuple[int, int], frame: tuple[int, int]) -> np.ndarray:
    """Return which centres of a mask's pixels a path holds by the even-odd rule, (row, column) bool."""
    rows, columns = np.indices(shape)
    x, y = (columns + 0.5) * frame[1] / shape[1], (rows + 0.5) * frame[0] / shape[0]
    inside = np.zeros(shape, bool)
    for ring in rings_of(path):
        closed = Polygon(np.vstack([ring, ring[:1]]), closed=True)
        inside ^= closed.contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(shape)
    return inside
