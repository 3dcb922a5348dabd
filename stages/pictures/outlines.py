"""Draw the outlines of predicted regions over their image, one colour per class, with a legend.

Colour-blind readers can distinguish the colours (Okabe & Ito 2008). There are seven of them; the classes after the
seventh have the same colours with dashed lines. A dark rim keeps every line visible on any image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from stages.pictures.panels import BACKDROP, SMALLEST_SIDE, Colour, Panel, compose, rim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["COLOURS", "colour_of", "display_size", "draw_outlines"]

COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Orange, sky blue, bluish green, yellow, blue, vermilion, reddish purple."""

LARGEST_SIDE = 2048
DASH = 12
LINES_IN_A_SIDE = 300
THINNEST_LINE = 2


def colour_of(number: int) -> Colour:
    """Return the colour of a foreground class, counted from 0. Colours repeat after the seventh class."""
    return COLOURS[number % len(COLOURS)]


def display_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) at which an image is drawn.

    This is the image's own size where possible. Small images are enlarged by a whole factor until the shorter side has
    at least 256 pixels. The longer side has at most 2,048 pixels, which takes precedence.
    """
    scale = float(max(1, math.ceil(SMALLEST_SIDE / min(height, width))))
    if scale * max(height, width) > LARGEST_SIDE:
        scale = LARGEST_SIDE / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def draw_outlines(
    image: NDArray[np.uint8], regions: Sequence[tuple[str, NDArray[np.bool_]]], *, title: str
) -> Image.Image:
    """Draw the inner outline of every region over an image.

    Args:
        image: (height, width, 3) uint8 RGB.
        regions: Name and region of every foreground class, (row, column) bool. A region of another size is stretched
            to that of the image by nearest neighbour. Regions may overlap; the later ones are drawn on top.
        title: Text above the image, such as its id.

    Returns:
        An RGB picture: the title, the image at the size given, and a legend with every class that has a pixel.
    """
    picture = image.copy()
    legend: list[tuple[tuple[Colour, ...], str]] = []
    for number, (name, region) in enumerate(regions):
        if not region.any():
            continue
        colour, dashed = colour_of(number), number >= len(COLOURS)
        line = _outline(_stretch(region, picture.shape[:2]))
        picture[rim(line)] = BACKDROP
        picture[line] = colour
        if dashed:
            picture[line & _gaps(line.shape)] = BACKDROP
        legend.append(((colour, BACKDROP, colour) if dashed else (colour,), name))
    return compose([Panel("", picture, tuple(legend) or (((BACKDROP,), "nothing found"),))], title)


def _stretch(region: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the region at another size, by nearest neighbour."""
    if region.shape == size:
        return region
    stretched = Image.fromarray(region.astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(stretched) > 0


def _outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the inner outline of a region, (row, column) bool. The image's border is not part of it."""
    width = max(THINNEST_LINE, round(min(region.shape) / LINES_IN_A_SIDE))
    return region & ~binary_erosion(region, iterations=width, border_value=1)


def _gaps(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels where a dashed line is dark, (row, column) bool."""
    gaps: NDArray[np.bool_] = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) // DASH % 2 == 0
    return gaps
