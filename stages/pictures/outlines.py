"""Draw the outlines of predicted objects over their image, one colour per class, with a legend.

Colour-blind readers can distinguish the colours (Okabe & Ito 2008). There are seven of them; the classes after the
seventh have the same colours with dashed lines. A dark rim keeps every line visible on any image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter

from stages.pictures.panels import BACKDROP, Colour, Panel, compose, rim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["COLOURS", "colour_of", "display_size", "draw_outlines", "stretch_objects"]

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

SMALLEST_SIDE = 512
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
    at least 512 pixels. The longer side has at most 2,048 pixels, which takes precedence.
    """
    scale = float(max(1, math.ceil(SMALLEST_SIDE / min(height, width))))
    if scale * max(height, width) > LARGEST_SIDE:
        scale = LARGEST_SIDE / max(height, width)
    return max(1, round(scale * height)), max(1, round(scale * width))


def draw_outlines(
    image: NDArray[np.uint8], classes: Sequence[tuple[str, NDArray[np.int32]]], *, title: str
) -> Image.Image:
    """Draw the inner outline of every object over an image.

    Args:
        image: (height, width, 3) uint8 RGB.
        classes: Name and objects of every foreground class: (height, width) int32 number of the object at every pixel,
            0 for none. Objects that touch have a line between them. Classes may overlap; the later ones are drawn on
            top.
        title: Text above the image, such as its id.

    Returns:
        An RGB picture: the title, the image at the size given, and a legend with every class that has a pixel.
    """
    picture = image.copy()
    legend: list[tuple[tuple[Colour, ...], str]] = []
    for number, (name, objects) in enumerate(classes):
        if not objects.any():
            continue
        colour, dashed = colour_of(number), number >= len(COLOURS)
        line = _outline(objects)
        picture[rim(line)] = BACKDROP
        picture[line] = colour
        if dashed:
            picture[line & _gaps(line.shape)] = BACKDROP
        legend.append(((colour, BACKDROP, colour) if dashed else (colour,), name))
    return compose([Panel("", picture, tuple(legend) or (((BACKDROP,), "nothing found"),))], title)


def stretch_objects(objects: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Stretch a label image to a size by nearest neighbour: (height, width) int32 to (*size,) int32."""
    return np.asarray(Image.fromarray(objects).resize(size[::-1], Image.Resampling.NEAREST))


def _outline(objects: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the pixels of objects next to another object or to none, (height, width) bool.

    The image's border is not part of the outline.
    """
    width = max(THINNEST_LINE, round(min(objects.shape) / LINES_IN_A_SIDE))
    window = 2 * width + 1
    line: NDArray[np.bool_] = maximum_filter(objects, window) != minimum_filter(objects, window)
    return line & (objects > 0)


def _gaps(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels where a dashed line is dark, (row, column) bool."""
    gaps: NDArray[np.bool_] = np.add.outer(np.arange(shape[0]), np.arange(shape[1])) // DASH % 2 == 0
    return gaps
