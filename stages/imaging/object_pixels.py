"""Assign the pixels of the result to objects, so that small and thin objects keep some.

The docstring of `shrinking` describes the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.records import IGNORE

__all__ = ["TOLERANCE", "ObjectPixels", "assign_pixels", "best_pixels", "count_pixels"]

KEPT_SHARE = 0.5
"""An object with less than this share of its best pixels takes pixels from others."""
TOLERANCE = 1e-5
"""Largest difference between two shares that count as equal: sums of float32 differ by less."""


@dataclass(frozen=True, eq=False)
class ObjectPixels:
    """Hold one object and the pixels of the result that it touches."""

    number: int
    """Instance, or 0."""
    rows: slice
    columns: slice
    """Window in the result."""
    coverage: NDArray[np.float32]
    """(row, column) share of each pixel of the window that the object covers, in [0, 1]."""
    best: NDArray[np.bool_]
    """(row, column) True for the pixels that `best_pixels` returns."""
    area: float
    """Area in pixels of the source."""


def assign_pixels(objects: list[ObjectPixels], planes: list[int], result: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the object of every pixel, by the two steps that the docstring of `shrinking` describes.

    Args:
        objects: The objects of one image.
        planes: The class of each object.
        result: (row, column) uint8 class of the majority; no pixel of 255 is given to an object.

    Returns:
        (row, column) int64 position in `objects`; -1 for none.
    """
    owner = np.full(result.shape, -1, np.int64)
    most = np.zeros(result.shape, np.float32)
    for at, (one, plane) in enumerate(zip(objects, planes, strict=True)):
        place = (one.rows, one.columns)
        wanted = ((result[place] == plane) | one.best) & (result[place] != IGNORE) & (one.coverage > most[place])
        # Here a foreground class with the majority keeps its pixels; only background gives way to other objects.
        wanted &= (result[place] == plane) | (result[place] == 0)
        owner[place][wanted] = at
        most[place][wanted] = one.coverage[wanted]
    kept = count_pixels(owner, len(objects))
    enough = [KEPT_SHARE * np.count_nonzero(one.best) for one in objects]
    smaller: set[int] = set()
    served: set[int] = set()
    for at in sorted(range(len(objects)), key=lambda number: (objects[number].area, number)):
        one = objects[at]
        smaller.add(at)
        if kept[at] >= enough[at]:
            continue
        place = (one.rows, one.columns)
        for row, column in np.argwhere(one.best & (owner[place] != at) & (result[place] != IGNORE)):
            before = int(owner[place][row, column])
            if before in served or (before >= 0 and kept[before] == 1):
                continue
            if before in smaller and kept[before] - 1 < enough[before]:
                continue
            owner[place][row, column] = at
            kept[at] += 1
            if before >= 0:
                kept[before] -= 1
        served.add(at)
    return owner


def count_pixels(owner: NDArray[np.int64], objects: int) -> NDArray[np.int64]:
    """Return the number of pixels of every object."""
    return np.bincount(owner[owner >= 0], minlength=objects)


def best_pixels(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (row, column) bool: the pixels for which the object's Dice with its source is highest."""
    shares = np.sort(coverage, axis=None)[::-1]
    shares = shares[shares > 0]
    overlap = np.cumsum(shares, dtype=np.float64)
    dice = 2 * overlap / (overlap[-1] + np.arange(1, len(shares) + 1))
    best: NDArray[np.bool_] = coverage >= shares[np.argmax(dice)] - TOLERANCE
    return best
