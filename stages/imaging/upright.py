"""Turn decoded pixels upright by the EXIF orientation of their file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ORIENTATIONS", "TURNED_ORIENTATIONS", "margins", "turn"]

ORIENTATIONS = {
    1: (1, 1, False),
    2: (1, -1, False),
    3: (-1, -1, False),
    4: (-1, 1, False),
    5: (1, 1, True),
    6: (-1, 1, True),
    7: (-1, -1, True),
    8: (1, -1, True),
}
"""By EXIF orientation: steps along the stored rows and columns, and whether rows and columns are then swapped."""
TURNED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that swap width and height


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return pixels, (height, width, channels) as stored, turned upright."""
    rows, columns, swapped = ORIENTATIONS[orientation]
    turned = pixels[::rows, ::columns]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swapped else turned)


def margins(right: float, bottom: float, orientation: int) -> tuple[float, float, float, float]:
    """Return the margins (left, top, right, bottom) of the upright picture.

    Args:
        right: Margin at the right of the picture as stored, in pixels.
        bottom: Margin at its bottom, in pixels.
        orientation: EXIF orientation, 1 to 8.
    """
    turned = {
        2: (right, 0.0, 0.0, bottom),
        3: (right, bottom, 0.0, 0.0),
        4: (0.0, bottom, right, 0.0),
        5: (0.0, 0.0, bottom, right),
        6: (bottom, 0.0, 0.0, right),
        7: (bottom, right, 0.0, 0.0),
        8: (0.0, right, bottom, 0.0),
    }
    return turned.get(orientation, (0.0, 0.0, right, bottom))
