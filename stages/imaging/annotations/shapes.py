"""Turn outlines into pixels, and the pixels of many shapes into one mask.

In LabelMe, COCO, CVAT and QuPath a coordinate counts from the upper left corner of the picture, and the first pixel
covers 0 to 1. A pixel belongs to a polygon if its centre, at half-integers, is inside; where rings overlap, the
even-odd rule decides, so that rings inside rings are holes. A shape that holds no centre keeps the pixels that its
outline crosses, so that thin and small shapes do not vanish. What lies outside the picture is cut off.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from skimage.draw import line, polygon

from stages.imaging.opening import refuse
from stages.settings import Size
from store.records import IGNORE

__all__ = ["Outline", "Rules", "Shape", "paint", "rasterise"]

Outline = Sequence[Sequence[tuple[float, float]]]
"""Rings of (x, y) points in pixels. Rings inside rings are holes."""

MOST_LISTED = 4


class Rules(Protocol):
    """Interface of `LabelRules`: the kind of the labels, and the index of a class by its name."""

    @property
    def kind(self) -> str:
        """One of `classes`, `instances`, `multilabel`."""

    def index_of(self, label: str) -> int | None:
        """Return the index of a class; 255 for `ignore`; None for an unknown name."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Hold the pixels of one annotated object."""

    label: str
    """Name of its class; `ignore` for a region that does not count."""
    top: int
    left: int
    """First row and column of its window in the picture."""
    region: NDArray[np.bool_]
    """(height, width) of the window: True where the object is."""

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.region))

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the window in the picture."""
        height, width = self.region.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @classmethod
    def of_mask(cls, label: str, mask: NDArray[np.bool_]) -> Shape | None:
        """Return the shape of a (height, width) bool mask of the picture; None if it is empty."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            return None
        top, left = int(rows[0]), int(columns[0])
        return cls(label, top, left, mask[top : rows[-1] + 1, left : columns[-1] + 1].copy())


def rasterise(label: str, outlines: Sequence[Outline], size: Size) -> Shape | None:
    """Return the pixels of an object of one or several outlines.

    Args:
        label: Name of its class.
        outlines: The parts of the object; each is an outer ring with its holes.
        size: (height, width) of the picture.

    Returns:
        The shape; None if all of it lies outside the picture.

    Raises:
        ValueError: a coordinate is not finite, or a ring has no point.
    """
    points = np.array([point for outline in outlines for ring in outline for point in ring], dtype=np.float64)
    if points.ndim != 2 or not np.isfinite(points).all():  # noqa: PLR2004 - x and y
        raise ValueError("has a point without finite coordinates")
    low = np.clip(np.floor(points.min(axis=0)).astype(np.int64), 0, [size[1], size[0]])
    high = np.clip(np.ceil(points.max(axis=0)).astype(np.int64) + 1, 0, [size[1], size[0]])
    (left, top), (right, bottom) = low.tolist(), high.tolist()
    if right <= left or bottom <= top:
        return None
    region = np.zeros((bottom - top, right - left), np.bool_)
    for outline in outlines:
        inside = np.zeros_like(region)
        for ring in outline:
            x, y = np.array(ring, dtype=np.float64).T
            inside[polygon(y - top - 0.5, x - left - 0.5, region.shape)] ^= True
        region |= inside
    if not region.any():
        for outline in outlines:
            _draw_outline(region, outline[0], top, left)
    return Shape(label, top, left, region) if region.any() else None


def paint(
    shapes: Sequence[Shape], size: Size, rules: Rules, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int32] | None]:
    """Paint shapes into a mask. Larger shapes come first, so that small ones on top of them are seen.

    Args:
        shapes: In the order of the file, which decides between shapes of equal size.
        size: (height, width) of the picture.
        rules: Classes and kind.
        path: The file, for messages.

    Returns:
        (height, width) uint8 class indices, or bits of labels, 255 ignored; and for the kind `instances` the numbers of
        the objects, (height, width) int32 from 1.

    Raises:
        InputProblemsError: a shape has a label that is no class.
    """
    instances = rules.kind == "instances"
    indices = [rules.index_of(shape.label) if not instances or shape.label == "ignore" else 1 for shape in shapes]
    unknown = Counter(shape.label for shape, index in zip(shapes, indices, strict=True) if index is None)
    if unknown:
        listed = ", ".join(f"{label!r} ({count})" for label, count in unknown.most_common(MOST_LISTED))
        refuse(path, f"has shapes of classes that --classes does not name: {listed}; add them, or call them `ignore`")
    mask = np.zeros(size, np.uint8)
    numbers = np.zeros(size, np.int32)
    for number in sorted(range(len(shapes)), key=lambda at: (indices[at] == IGNORE, -shapes[at].area, at)):
        shape, index = shapes[number], int(indices[number] or 0)
        part = mask[shape.window]
        if rules.kind == "multilabel" and index not in (0, IGNORE):
            part[shape.region] |= np.uint8(1 << (index - 1))
        else:
            part[shape.region] = index
        numbers[shape.window][shape.region] = 0 if index in (0, IGNORE) else number + 1
    if not instances:
        return mask, None
    found, renumbered = np.unique(numbers, return_inverse=True)
    return mask, (renumbered + (0 if found[0] == 0 else 1)).reshape(size).astype(np.int32)


def _draw_outline(region: NDArray[np.bool_], ring: Sequence[tuple[float, float]], top: int, left: int) -> None:
    """Set the pixels that an outline crosses."""
    height, width = region.shape
    pixels = [(math.floor(y - top), math.floor(x - left)) for x, y in ring]
    for (row, column), (next_row, next_column) in zip(pixels, [*pixels[1:], pixels[0]], strict=True):
        rows, columns = line(row, column, next_row, next_column)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        region[rows[inside], columns[inside]] = True
