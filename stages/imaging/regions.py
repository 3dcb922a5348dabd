"""Read regions of images: tiles, and tiles with their surroundings.

| the file is | a region is read by                                                                          |
|-------------|----------------------------------------------------------------------------------------------|
| a volume    | its reader, which reads no more than the region where the format allows it                   |
| a picture   | decoding all of it once; the last pictures are kept, within `MOST_KEPT` bytes                |

A region may reach beyond the image. There it is black. The rule of intensities is applied to the whole image, so that
neighbouring tiles look alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.kept import Kept
from stages.imaging.parts import Box
from stages.runtime.memory_budget import usable_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["MOST_KEPT", "PICTURES", "cut_out", "inside", "widened"]

MOST_KEPT = min(2**30, usable_memory() // 8)
"""Bytes of decoded pictures that are kept."""
PICTURES: Kept[tuple[NDArray[np.uint8], str]] = Kept(MOST_KEPT, lambda value: value[0].nbytes)
"""(row, column, 3) RGB of whole pictures, with the digests of their files."""


def inside(box: Box, size: Size) -> Box:
    """Return the part of a region that lies inside an image; no rows or no columns if nothing does.

    Args:
        box: May reach beyond the image on every side.
        size: (rows, columns) of the image.
    """
    row, column, rows, columns = box
    top, left = min(max(row, 0), size[0]), min(max(column, 0), size[1])
    bottom, right = min(max(row + rows, top), size[0]), min(max(column + columns, left), size[1])
    return top, left, bottom - top, right - left


def widened(values: NDArray[Any], inner: Box, box: Box, fill: int) -> NDArray[Any]:
    """Return the values of a region that reaches beyond its image, given those inside.

    Args:
        values: (inner rows, inner columns, …).
        inner: The part of the region inside the image, as `inside` returns it.
        box: The region.
        fill: The value outside the image.
    """
    if inner == box:
        return values
    whole = np.full((*box[2:], *values.shape[2:]), fill, values.dtype)
    top, left = inner[0] - box[0], inner[1] - box[1]
    whole[top : top + inner[2], left : left + inner[3]] = values
    return whole


def cut_out(values: NDArray[Any], box: Box, fill: int) -> NDArray[Any]:
    """Return a copy of a region of a whole image or mask, (row, column, …), with `fill` outside of it."""
    inner = inside(box, (values.shape[0], values.shape[1]))
    row, column, rows, columns = inner
    return widened(np.array(values[row : row + rows, column : column + columns]), inner, box, fill)
