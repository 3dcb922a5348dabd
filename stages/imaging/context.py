"""Read an image or a tile with its surroundings, as the transformer sees it.

The transformer sees a tile at `input_size` pixels, with `context` further pixels on every side. So its attention knows
what lies around the tile; its maps are cut to the tile afterwards. Beyond the image's border there is black.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.decoding import read_image
from stages.imaging.intensities import MINMAX, IntensityRule
from stages.imaging.levels import read_from_level
from stages.imaging.regions import cut_out
from stages.imaging.resizing import resize_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.imaging.parts import Box, Part
    from stages.settings import Size

__all__ = ["cut_with_context", "read_with_context"]


def read_with_context(
    path: Path, part: Part, input_size: Size, context: Size, rule: IntensityRule = MINMAX
) -> NDArray[np.uint8]:
    """Return an image with its surroundings.

    Args:
        path: An image file.
        part: The part of it that is the image.
        input_size: (rows, columns) of the image in the result.
        context: (rows, columns) around it, on every side, in pixels of the result.
        rule: How values of more than 8 bits are shown.

    Returns:
        (input_size[0] + 2 context[0], input_size[1] + 2 context[1], 3) uint8 RGB.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    seen = (input_size[0] + 2 * context[0], input_size[1] + 2 * context[1])
    if part.box is None:
        return cut_with_context(read_image(path, part, rule).pixels, None, input_size, context)
    box, exact = _surroundings(part.box, input_size, context)
    wide = replace(part, box=box)
    pixels = read_from_level(path, wide, seen, rule)
    if pixels is None:
        return resize_image(read_image(path, wide, rule).pixels, seen, exact)
    down, across = pixels.shape[0] / box[2], pixels.shape[1] / box[3]
    left, top, right, bottom = exact
    return resize_image(pixels, seen, (left * across, top * down, right * across, bottom * down))


def cut_with_context(pixels: NDArray[np.uint8], box: Box | None, input_size: Size, context: Size) -> NDArray[np.uint8]:
    """Return an image, or a region of it, with its surroundings; the image is in memory.

    Args:
        pixels: (row, column, 3) RGB of the whole image.
        box: The region; None for all of the image.
        input_size: As in `read_with_context`.
        context: As in `read_with_context`.

    Returns:
        As `read_with_context`.
    """
    seen = (input_size[0] + 2 * context[0], input_size[1] + 2 * context[1])
    whole = (0, 0, pixels.shape[0], pixels.shape[1])
    around, exact = _surroundings(whole if box is None else box, input_size, context)
    return resize_image(cut_out(pixels, around, 0), seen, exact)


def _surroundings(box: Box, input_size: Size, context: Size) -> tuple[Box, tuple[float, float, float, float]]:
    """Return the region to read, and the rectangle in it that the result covers.

    Returns:
        A region in whole pixels, with one pixel of the result more on every side, which the antialiasing uses; and
        (left, top, right, bottom) in pixels of that region, with fractions.
    """
    starts, sides, exact = [], [], []
    for first, side, pixels, around in zip(box[:2], box[2:], input_size, context, strict=True):
        scale = side / pixels  # pixels of the image along one pixel of the result
        low, high = first - around * scale, first + side + around * scale
        start, end = math.floor(low - scale), math.ceil(high + scale)
        starts.append(start)
        sides.append(end - start)
        exact.append((low - start, high - start))
    (top, bottom), (left, right) = exact
    return (starts[0], starts[1], sides[0], sides[1]), (left, top, right, bottom)
