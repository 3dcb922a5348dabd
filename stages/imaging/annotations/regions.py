"""Rasterise the shapes of an annotation within a region of its image, in memory that depends on the region only.

The pixels are those that `read_annotation` gives for the whole image, cut to the region. Shapes whose rectangles do not
meet the region are skipped, so thousands of tiles of one image with thousands of shapes are fast.

Shapes that overlap are painted by area, as in `painting`. Here it is the area of the outlines, because the pixels
outside the region are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.imaging.annotations.drawn import Picture
from stages.imaging.annotations.formats import find_picture
from stages.imaging.annotations.shapes import FARTHEST, Outline, Pixels, Shape, fill, trace, unite
from stages.imaging.opening import refuse
from stages.imaging.parts import Box
from stages.settings import Size

__all__ = ["check_annotation", "encoded_size", "read_annotation_region"]

KEPT = 16
"""Number of pictures whose rectangles are kept."""
AT_A_TIME = 2**20
"""Pixels that are filled at a time to find out whether an outline holds the centre of a pixel."""


@dataclass(frozen=True, eq=False)
class _Extents:
    """Hold the rectangles and the areas of all objects of a picture."""

    boxes: NDArray[np.float64]
    """(object, 4) top, left, bottom, right."""
    areas: NDArray[np.float64]
    """(object,) area of the outlines, or of the window of encoded pixels."""


def read_annotation_region(path: Path, entry: str, box: Box) -> list[Shape]:
    """Return the shapes that have pixels in a region, in the order of the file.

    Args:
        path: The annotation.
        entry: The image's name in a file of many images; "" for a file of one.
        box: The region, inside the image. The shapes' places count from its first pixel.

    Raises:
        InputProblemsError: the file cannot be read, does not hold the image once, or has a shape that cannot be
            rasterised.
    """
    picture = find_picture(path, entry)
    extents = _extents(picture)
    row, column, rows, columns = box
    tops, lefts, bottoms, rights = extents.boxes.T
    near = (tops < row + rows) & (lefts < column + columns) & (bottoms >= row) & (rights >= column)
    shapes = []
    for at in np.flatnonzero(near).tolist():
        drawn = picture.drawn[at]
        try:
            placed = [_place(picture, at, position, box) for position in range(len(drawn.parts))]
            shape = unite(drawn.label, placed, whole_area=float(extents.areas[at]))
        except ValueError as error:
            refuse(path, f"object {at + 1} ({drawn.label!r}) {error}; correct it in the program that drew it")
        if shape is not None:
            shapes.append(shape)
    return shapes


def check_annotation(path: Path, entry: str, size: Size) -> None:
    """Check that an annotation fits its image, without rasterising it.

    Args:
        path: The annotation.
        entry: The image's name in a file of many images; "" for a file of one.
        size: (height, width) of the image.

    Raises:
        InputProblemsError: it was drawn on an image of another size, or an object has a coordinate that is no number,
            or lies outside the image.
    """
    picture = find_picture(path, entry, size)
    tops, lefts, bottoms, rights = _extents(picture).boxes.T
    sound = np.all(np.abs(_extents(picture).boxes) <= FARTHEST, axis=1)  # False for NaN
    meets = (tops < size[0]) & (lefts < size[1]) & (bottoms >= 0) & (rights >= 0)
    for at in np.flatnonzero(np.logical_not(np.logical_and(sound, meets))).tolist()[:1]:
        what = "has no pixel in the image; remove or move it"
        if not np.all(np.abs(_extents(picture).boxes[at]) <= FARTHEST):
            what = f"has no points, or a coordinate that is no number between -{FARTHEST:.0f} and {FARTHEST:.0f}"
        refuse(path, f"object {at + 1} ({picture.drawn[at].label!r}) {what}")


def encoded_size(path: Path, entry: str) -> Size | None:
    """Return (height, width) of the picture if objects are encoded as pixels and the file says it; else None.

    Encoded pixels are decoded as a whole, so such a picture is painted once and then cut.

    Raises:
        InputProblemsError: the file cannot be read, or does not hold the image once.
    """
    picture = find_picture(path, entry)
    return picture.size if any(isinstance(part, Pixels) for one in picture.drawn for part in one.parts) else None


@lru_cache(maxsize=KEPT)
def _extents(picture: Picture) -> _Extents:
    boxes = np.full((len(picture.drawn), 4), np.nan)
    areas = np.zeros(len(picture.drawn))
    for at, drawn in enumerate(picture.drawn):
        found = [_extent(part) for part in drawn.parts]
        if found:
            corners = np.array([corner for corner, _ in found])
            boxes[at] = [*corners[:, :2].min(axis=0), *corners[:, 2:].max(axis=0)]
            areas[at] = sum(area for _, area in found)
    return _Extents(boxes, areas)


def _extent(part: Outline | Pixels) -> tuple[tuple[float, float, float, float], float]:
    """Return (top, left, bottom, right) of one part, and its area. Rings after the largest one are holes."""
    if isinstance(part, Pixels):
        height, width = part.size
        return (part.top, part.left, part.top + height, part.left + width), float(height * width)
    rings = _rings(part)
    if not any(map(len, rings)):
        return (np.nan, np.nan, np.nan, np.nan), 0.0
    points = np.concatenate(rings)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    areas = sorted((_area(ring) for ring in rings), reverse=True)
    return (float(top), float(left), float(bottom), float(right)), areas[0] - sum(areas[1:])


def _rings(outline: Outline) -> list[NDArray[np.float64]]:
    return [np.array(ring, dtype=np.float64).reshape(-1, 2) for ring in outline]


def _area(ring: NDArray[np.float64]) -> float:
    x, y = ring.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _place(picture: Picture, at: int, position: int, box: Box) -> tuple[int, int, NDArray[np.bool_]]:
    """Return the pixels of one part within the region, with their first row and column in the region."""
    part = picture.drawn[at].parts[position]
    row, column, rows, columns = box
    (top, left, bottom, right), _ = _extent(part)
    first, end = max(row, int(np.floor(top))), min(row + rows, int(np.floor(bottom)) + 1)
    start, stop = max(column, int(np.floor(left))), min(column + columns, int(np.floor(right)) + 1)
    if first >= end or start >= stop:
        return 0, 0, np.zeros((0, 0), np.bool_)
    if isinstance(part, Pixels):
        region = part.decode()[first - part.top : end - part.top, start - part.left : stop - part.left]
        return first - row, start - column, region
    moved = [ring - (start, first) for ring in _rings(part)]
    region = fill(moved, (end - first, stop - start))
    if not region.any() and not _holds_centre(picture, at, position):
        region = trace(moved[0], (end - first, stop - start))
    return first - row, start - column, region


@lru_cache(maxsize=4096)
def _holds_centre(picture: Picture, at: int, position: int) -> bool:
    """Return True if an outline holds the centre of a pixel; else the pixels that it crosses stand for it."""
    rings = _rings(picture.drawn[at].parts[position])  # type: ignore[arg-type]  # an outline
    points = np.concatenate(rings)
    left, top = (max(0, int(np.floor(low))) for low in points.min(axis=0))
    right, bottom = (max(0, int(np.floor(high)) + 1) for high in points.max(axis=0))
    if right <= left:
        return False
    step = max(1, AT_A_TIME // (right - left))
    return any(
        fill([ring - (left, row) for ring in rings], (min(step, bottom - row), right - left)).any()
        for row in range(top, bottom, step)
    )
