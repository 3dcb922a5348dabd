"""Read a region of a file that holds its image at several resolutions, from the one that is fine enough.

A tile at one eighth of the resolution would otherwise need the decoding of 64 pixels for one. A resolution is fine
enough if the region has at least `OVERSAMPLING` of its pixels for each pixel of the result, along both sides; the rest
of the way is the antialiased resize that all images take. The choice depends on the file, the region and the size of
the result only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.regions import inside, widened
from stages.imaging.volumes.averaging import reduced_size
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.shown import read_plane_reduced

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.imaging.intensities import IntensityRule
    from stages.imaging.parts import Part
    from stages.settings import Size

__all__ = ["read_from_level"]

OVERSAMPLING = 2
"""Pixels of a resolution for one pixel of the result, along each side, at least."""


def read_from_level(path: Path, part: Part, size: Size, rule: IntensityRule) -> NDArray[np.uint8] | None:
    """Return a region at one of the lower resolutions of its file, black outside of the image.

    Args:
        path: An image file.
        part: A region of it, or a whole plane.
        size: (rows, columns) of the result that is made of the region afterwards.
        rule: How values of more than 8 bits are shown.

    Returns:
        (row, column, 3) uint8 RGB; None if the file has no lower resolution that is fine enough.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    if part.channels or not is_volume_file(path):
        return None
    volume = open_volume(path, part.axis)
    box = (0, 0, *volume.facts.size) if part.box is None else part.box
    most = min(side / wanted for side, wanted in zip(box[2:], size, strict=True)) / OVERSAMPLING
    reduction = max((one for one in volume.reductions if one <= most), default=1.0)
    if reduction <= 1:
        return None
    inner = inside(box, volume.facts.size)
    whole = (0, 0, *reduced_size(box[2:], reduction))
    if not inner[2] * inner[3]:
        return np.zeros((*whole[2:], 3), np.uint8)
    pixels = read_plane_reduced(path, replace(part, box=inner), rule, reduction)
    top, left = (round((inner[at] - box[at]) / reduction) for at in (0, 1))
    top, left = min(top, whole[2] - pixels.shape[0]), min(left, whole[3] - pixels.shape[1])
    return widened(pixels, (top, left, pixels.shape[0], pixels.shape[1]), whole, 0)
