"""Trace the outline of a mask as an SVG path that is small and loses nothing.

The outline runs half-way between the centres of inside and outside pixels (marching squares, Lorensen & Cline 1987), so
that oblique edges are straight lines and no stairs. Corners are left out (Douglas & Peucker 1973) as long as the line
moves by less than a third of a pixel. Every pixel's centre is at least 0.353 pixels (half the square root of 1/2) away
from the outline. So the path, filled by the even-odd rule, holds exactly the centres of the mask's pixels: drawing it
at the mask's own size gives the mask again.

A mask whose path is too long, such as noise, is traced at a half, a quarter, … of its resolution.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["outline", "simplify", "trace"]

NEAREST_CENTRE = math.sqrt(0.5) / 2
"""Distance of an outline from the nearest centre of a pixel, in pixels."""
MOST_ROUNDING = 0.2
"""Largest error of a rounded corner in pixels of the mask. The rest of `NEAREST_CENTRE` is for leaving out corners."""
MOST_DECIMALS = 4
LONGEST_PATH = 24_000
"""Characters of a path; a mask with a longer one is traced at a lower resolution."""
SMALLEST_SIDE = 32
"""Masks are not reduced below this side in pixels."""
FEWEST_CORNERS = 5
"""Points of the smallest outline, around one pixel; it is never simplified."""


def trace(mask: NDArray[np.bool_], frame: tuple[int, int], *, longest: int = LONGEST_PATH) -> str:
    """Return the path of a mask, traced at a lower resolution if it would be longer than allowed.

    Args:
        mask: (row, column) bool, at least one pixel.
        frame: (height, width) of the picture that the mask is stretched to; the path's coordinates are in its pixels.
        longest: Characters of the path. A mask of 32 pixels or less is traced whatever its length.

    Returns:
        Path of M, L and Z; "" for an empty mask.
    """
    path = outline(mask, frame)
    while len(path) > longest and min(mask.shape) >= 2 * SMALLEST_SIDE:
        mask = mask[::2, ::2]
        path = outline(mask, frame)
    return path


def outline(mask: NDArray[np.bool_], frame: tuple[int, int]) -> str:
    """Return the path that holds exactly the centres of the mask's pixels, for the even-odd rule.

    Args:
        mask: (row, column) bool.
        frame: (height, width) of the picture that the mask is stretched to.

    Returns:
        Path in pixels of the frame, x before y, such as `M10 10L20 10L15 20Z`; "" for an empty mask.
    """
    if not mask.any():
        return ""
    from skimage.measure import find_contours  # a quarter of a second

    scale = np.array([frame[0] / mask.shape[0], frame[1] / mask.shape[1]])
    decimals, rounding = _decimals(scale)
    tolerance = NEAREST_CENTRE * 0.97 - rounding
    parts = []
    for ring in find_contours(np.pad(mask, 1).astype(np.float32), 0.5):
        corners = ring if len(ring) <= FEWEST_CORNERS else simplify(ring, tolerance)
        parts.append(_ring((corners[:-1] - 0.5) * scale, decimals))  # padding moved it by 1, a centre lies at 0.5
    return "".join(parts)


def simplify(points: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Leave out points of a line that lie near the line without them (Douglas & Peucker 1973).

    All pieces of the line are split at once, which takes a few steps where one piece after the other takes hundreds.

    Args:
        points: (point, 2) the line; a closed one repeats its first point at the end.
        tolerance: Largest distance of a point that is left out from the line between its kept neighbours.

    Returns:
        (kept, 2) some of the points in their order, with the first and the last.
    """
    kept = np.array([0, len(points) - 1])
    numbers = np.arange(len(points))
    while True:
        piece = np.minimum(np.searchsorted(kept, numbers, side="right") - 1, len(kept) - 2)
        far = _distances(points, points[kept[piece]], points[kept[piece + 1]])
        farthest = np.maximum.reduceat(far, kept[:-1])
        found = np.flatnonzero((far == farthest[piece]) & (far > tolerance))
        if not found.size:
            break
        _, first = np.unique(piece[found], return_index=True)
        kept = np.union1d(kept, found[first])
    line: NDArray[np.float64] = points[kept]
    return line


def _distances(
    points: NDArray[np.float64], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each point from its own straight line between two points, (point,)."""
    along = ends - starts
    squared = (along**2).sum(axis=1)
    share = ((points - starts) * along).sum(axis=1) / np.where(squared > 0, squared, 1)
    nearest = starts + np.clip(share, 0, 1)[:, None] * along
    distances: NDArray[np.float64] = np.sqrt(((points - nearest) ** 2).sum(axis=1))
    return distances


def _decimals(scale: NDArray[np.float64]) -> tuple[int, float]:
    """Return the number of decimals to write, and how far rounding to it can move a corner, in pixels of the mask."""
    for decimals in range(MOST_DECIMALS + 1):
        moved = float(np.hypot(*(0.5 * 10**-decimals / scale)))
        if moved <= MOST_ROUNDING:
            break
    return decimals, min(moved, MOST_ROUNDING)


def _ring(corners: NDArray[np.float64], decimals: int) -> str:
    """Return one closed ring of (row, column) corners as a path."""
    texts = [f"{_number(x, decimals)} {_number(y, decimals)}" for y, x in corners.tolist()]
    return f"M{'L'.join(texts)}Z"


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return (text.rstrip("0").rstrip(".") or "0") if decimals else text
