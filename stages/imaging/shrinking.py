"""Shrink labels to the store's size by area, and count the objects that are too small for it.

A mask is stretched to the store's size like its image. Every pixel of the result covers a rectangle of the source, in
general with fractions of pixels at its edges. It gets the class that covers most of it. At equal shares foreground wins
over background, and the lower class index over the higher one.

The majority alone would remove everything smaller or thinner than a pixel: small lesions, vessels, the tips of nuclei.
So every object is treated by itself. An object is a connected region of one foreground class (diagonal neighbours are
connected), or an instance. Its best pixels are those for which its Dice coefficient with the source is highest: with
the shares c₁ ≥ c₂ ≥ … of the pixels that it covers and its area a (both in pixels of the result), the first n pixels
that maximise 2 (c₁ + … + cₙ) / (a + n). For a large object these are the pixels that it covers by about half. For a
thin or small one they are more, and always at least one.

1. A pixel goes to the object that covers most of it. If a foreground class has the majority there, only objects of this
   class compete. If background has it, all objects compete that have the pixel among their best ones.
2. An object that has less than half as many pixels as its best ones takes these from larger objects and from the
   background, the smallest object first. It takes no pixel from a smaller object that has itself taken pixels, or that
   would then have less than half of its best ones. It never takes the last pixel of an object.

An object without a pixel is lost. Lost objects are counted, and so are classes that lose their last object.

Ignored pixels (255) take part in the majority like a class, and so does what lies around an image on a canvas
(`stages.imaging.fitting`). An ignored pixel is never given to an object. Labels that overlap are shrunk one by one. For
all of them a pixel is ignored if more than half of it is. If neither side shrinks, the mask is resized by nearest
neighbour, and nothing is lost.

Only the rectangle of the source that holds all labels is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.errors import UsageError
from stages.imaging.coverage import coverage_of
from stages.imaging.fitting import Canvas
from stages.imaging.object_pixels import TOLERANCE, ObjectPixels, assign_pixels, best_pixels, count_pixels
from stages.imaging.resizing import resize_mask
from stages.settings import Size
from store.records import IGNORE

__all__ = ["MOST_INSTANCES", "ShrunkLabels", "shrink_labels"]

CONNECTED = np.ones((3, 3), dtype=bool)
"""Neighbourhood of the connected regions: sides and corners."""
MOST_LABELS = 7
"""Number of labels that fit in the bits of a multilabel mask."""
MOST_INSTANCES = 65535
STEP = 32
"""Sizes that are recommended are multiples of this, so that they fit every level of the network."""


@dataclass(frozen=True, eq=False)
class ShrunkLabels:
    """Hold the labels of one image at the store's size."""

    mask: NDArray[np.uint8]
    """(row, column) class index, or bits of labels; 255 is ignored."""
    instances: NDArray[np.uint16] | None
    """(row, column) number of the object, from 1; 0 for none. None if the labels have no instances."""
    objects: int
    """Number of objects in the source."""
    lost: int
    """Number of objects without a pixel in the result."""
    lost_classes: tuple[int, ...]
    """Classes, or labels, that the source has and the result lacks."""
    keeping_size: Size | None
    """Smallest recommended size at which every object would have a pixel of its own; None if nothing is lost."""


def shrink_labels(
    mask: NDArray[np.uint8],
    instances: NDArray[np.int32] | None,
    size: Size,
    *,
    multilabel: bool = False,
    canvas: Canvas | None = None,
) -> ShrunkLabels:
    """Shrink the labels of one image to a size.

    Args:
        mask: (height, width) uint8 class index; bits of labels with `multilabel`; 255 is ignored.
        instances: (height, width) number of the object, from 1; 0 for none. None if there are no instances. They lie
            where `mask` is foreground.
        size: (height, width) of the result.
        multilabel: bit k - 1 of `mask` is set where label k is; labels may overlap.
        canvas: The canvas of the image, which is shrunk with it and is ignored; None for an image without one.

    Returns:
        The labels at that size. With instances, `mask` is foreground exactly where an instance is.

    Raises:
        UsageError: a side of `size` is less than 1, or there are more than 65,535 instances.
    """
    if min(size) < 1:
        raise UsageError(f"size {size[0]}x{size[1]}: a mask has at least one row and one column. Give 1x1 or more.")
    if instances is not None and instances.max(initial=0) > MOST_INSTANCES:
        raise UsageError(
            f"one image has {int(instances.max()):,} objects, and a store holds at most {MOST_INSTANCES:,} of each. "
            "Cut the image into tiles (--tile)."
        )
    canvas = canvas or Canvas.around((mask.shape[0], mask.shape[1]), None)
    if multilabel:
        return _shrink_bits(mask, size, canvas)
    if size[0] >= canvas.size[0] and size[1] >= canvas.size[1]:
        return _enlarge(mask, instances, size, canvas)
    return _shrink(_labelled_part(mask, instances, canvas), size, None)


@dataclass(frozen=True, eq=False)
class _Part:
    """Hold the rectangle of the source that has labels or ignored pixels."""

    mask: NDArray[np.uint8]
    instances: NDArray[np.int32] | None
    top: int
    left: int
    canvas: Canvas
    """The whole source. `top` and `left` are counted from its first row and column."""

    @property
    def source(self) -> Size:
        """(height, width) of the whole source, with the padding."""
        return self.canvas.size

    def ignored(self, size: Size) -> NDArray[np.float32]:
        """Return (row, column) the share of every pixel of the result that is ignored, the padding included."""
        ignored = self.coverage(self.mask == IGNORE, size)
        return ignored if self.canvas.size == self.canvas.image else ignored + self.canvas.outside(size)

    def coverage(self, region: NDArray[np.bool_], size: Size) -> NDArray[np.float32]:
        """Return (row, column) the share of every pixel of the result that a region of this part covers."""
        covered = np.zeros(size, np.float32)
        if region.any():
            rows, columns, coverage = coverage_of(region, self.top, self.left, self.source, size)
            covered[rows, columns] = coverage
        return covered

    def objects(self, index: int, size: Size) -> list[ObjectPixels]:
        """Return the objects of a class: its instances, or its connected regions."""
        numbered = self.instances is not None
        if self.instances is not None:
            labels = np.where(self.mask == index, self.instances, 0)
        else:
            labels = ndimage.label(self.mask == index, CONNECTED)[0].astype(np.int32, copy=False)
        places: list[Any] = ndimage.find_objects(labels)
        found = []
        for number, place in enumerate(places, start=1):
            if place is None:  # no such number
                continue
            region = labels[place] == number
            top, left = self.top + place[0].start, self.left + place[1].start
            rows, columns, coverage = coverage_of(region, top, left, self.source, size)
            one = ObjectPixels(
                number=number if numbered else 0,
                rows=rows,
                columns=columns,
                coverage=coverage,
                best=best_pixels(coverage),
                area=float(np.count_nonzero(region)),
            )
            found.append(one)
        return found


def _labelled_part(mask: NDArray[np.uint8], instances: NDArray[np.int32] | None, canvas: Canvas) -> _Part:
    """Return the rectangle with everything above 0; the first pixel if there is nothing."""
    rows, columns = np.flatnonzero(mask.max(axis=1)), np.flatnonzero(mask.max(axis=0))
    place = (slice(0, 1), slice(0, 1))
    if rows.size:
        place = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    return _Part(
        mask=mask[place],
        instances=None if instances is None else instances[place],
        top=canvas.top + place[0].start,
        left=canvas.left + place[1].start,
        canvas=canvas,
    )


def _shrink(part: _Part, size: Size, ignored: NDArray[np.bool_] | None) -> ShrunkLabels:
    """Shrink by the steps that the module describes.

    Args:
        part: The labels.
        size: (height, width) of the result.
        ignored: (row, column) True for the pixels to ignore; None to find them by the majority.
    """
    foreground = _classes(part.mask)
    planes: list[int] = []
    objects: list[ObjectPixels] = []
    coverage = {index: np.zeros(size, np.float32) for index in foreground}
    for index in foreground:
        found = part.objects(index, size)
        planes += [index] * len(found)
        objects += found
        for one in found:
            coverage[index][one.rows, one.columns] += one.coverage
    if ignored is None:
        result = _majority(coverage, part.ignored(size))
    else:
        result = _majority(coverage, np.zeros(size, np.float32))
        result[ignored] = IGNORE
    owner = assign_pixels(objects, planes, result)
    result[(result != IGNORE) & (owner < 0)] = 0
    result[owner >= 0] = np.array([*planes, 0], np.uint8)[owner[owner >= 0]]
    numbers = None
    if part.instances is not None:
        numbers = np.array([*(one.number for one in objects), 0], np.uint16)[owner]  # -1 is the last one
    lost = [one for one, kept in zip(objects, count_pixels(owner, len(objects)), strict=True) if not kept]
    return ShrunkLabels(
        mask=result,
        instances=numbers,
        objects=len(objects),
        lost=len(lost),
        lost_classes=tuple(index for index in foreground if not (result == index).any()),
        keeping_size=_keeping_size(lost, part.source, size),
    )


def _shrink_bits(mask: NDArray[np.uint8], size: Size, canvas: Canvas) -> ShrunkLabels:
    """Shrink every label of a multilabel mask by itself, with the same ignored pixels."""
    skipped = mask == IGNORE
    bits = np.where(skipped, 0, mask)
    labels = [label for label in range(1, MOST_LABELS + 1) if (bits >> (label - 1) & 1).any()]
    result = np.zeros(size, np.uint8)
    parts = {}
    if size[0] >= canvas.size[0] and size[1] >= canvas.size[1]:
        result = resize_mask(canvas.pad(mask, IGNORE), size)
        parts = {label: _enlarge(bits >> np.uint8(label - 1) & np.uint8(1), None, size, canvas) for label in labels}
    else:
        ignored = _labelled_part(mask, None, canvas).ignored(size) > 1 / 2 + TOLERANCE
        for label in labels:
            part = _labelled_part(bits >> np.uint8(label - 1) & np.uint8(1), None, canvas)
            parts[label] = _shrink(part, size, ignored)
            result |= (parts[label].mask == 1).astype(np.uint8) << np.uint8(label - 1)
        result[ignored] = IGNORE
    kept = [part.keeping_size for part in parts.values() if part.keeping_size]
    return ShrunkLabels(
        mask=result,
        instances=None,
        objects=sum(part.objects for part in parts.values()),
        lost=sum(part.lost for part in parts.values()),
        lost_classes=tuple(label for label, part in parts.items() if part.lost_classes),
        keeping_size=max(kept, key=math.prod) if kept else None,
    )


def _enlarge(mask: NDArray[np.uint8], instances: NDArray[np.int32] | None, size: Size, canvas: Canvas) -> ShrunkLabels:
    """Stretch by nearest neighbour. Every pixel of the source has at least one in the result, so nothing is lost."""
    numbers = None
    if instances is None:
        count = sum(int(ndimage.label(mask == index, CONNECTED)[1]) for index in _classes(mask))
    else:
        count = len(np.unique(instances[instances > 0]))
        numbered = canvas.pad(instances, 0)
        high, low = (numbered >> 8).astype(np.uint8), (numbered & 255).astype(np.uint8)
        numbers = resize_mask(high, size).astype(np.uint16) << np.uint16(8) | resize_mask(low, size)
    enlarged = resize_mask(canvas.pad(mask, IGNORE), size)
    return ShrunkLabels(enlarged, numbers, objects=count, lost=0, lost_classes=(), keeping_size=None)


def _classes(mask: NDArray[np.uint8]) -> list[int]:
    """Return the foreground classes in a mask, in rising order."""
    return [int(index) for index in np.unique(mask) if index not in (0, IGNORE)]


def _majority(coverage: dict[int, NDArray[np.float32]], ignored: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the class that covers most of every pixel; at equal shares foreground, then the lower index."""
    most = 1 - ignored - sum(coverage.values())
    result = np.zeros(ignored.shape, np.uint8)
    for position, (index, covered) in enumerate(sorted(coverage.items())):
        wins = covered >= most - TOLERANCE if position == 0 else covered > most + TOLERANCE
        wins |= (result == 0) & (covered >= most - TOLERANCE)
        wins &= covered > 0
        result[wins], most = index, np.where(wins, covered, most)
    result[ignored > most + TOLERANCE] = IGNORE
    return result


def _keeping_size(lost: list[ObjectPixels], source: Size, size: Size) -> Size | None:
    """Return the smallest recommended size at which the lost objects have an area of one pixel.

    If they have that area at `size` already, they lost their pixels to neighbours. Then the recommended size has twice
    as many pixels along each side, but at most those of the source.
    """
    if not lost:
        return None
    smallest = min(one.area for one in lost)
    room = math.prod(size) / math.prod(source)
    step = math.sqrt(smallest if smallest * room < 1 else 1 / (4 * room))
    step = max(1, step)
    height, width = (math.ceil(side / step / STEP) * STEP for side in source)
    return height, width
