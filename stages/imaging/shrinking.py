"""Shrink labels to the store's size by area, and count the objects that are too small for it.

A mask is stretched to the store's size like its image. Every pixel of the result covers a rectangle of the source, in
general with fractions of pixels at its edges. It gets the class that covers most of it. At equal shares foreground wins
over background, and the lower class index over the higher one.

The majority alone would remove what is smaller or thinner than a pixel: small lesions, vessels, the tips of nuclei. So
every object is looked at. An object is a connected region of one foreground class (diagonal neighbours are connected),
or an instance. Its best pixels are those with which its Dice coefficient with the source is highest: with the shares
c₁ ≥ c₂ ≥ … of the pixels that it covers and its area a (both in pixels of the result), the first n pixels that
maximise 2 (c₁ + … + cₙ) / (a + n). For a large object these are the pixels that it covers by about half. For a thin or
small one they are more, and always at least one.

1. A pixel goes to the object that covers most of it, among those whose class has the majority there and those of whose
   best pixels it is one.
2. An object that has less than half as many pixels as its best ones takes these from larger objects and from the
   background, the smallest object first. It takes no pixel from a smaller object that did the same, and none that is
   the last one of its object.

An object without a pixel is lost. Lost objects are counted, and so are classes that lose their last object.

Ignored pixels (255) take part in the majority like a class. A pixel that is to be ignored is never given to an object.
If neither side shrinks, the result is that of the nearest neighbour, and nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from stages.errors import UsageError
from stages.imaging.coverage import coverage_of
from stages.imaging.resizing import resize_mask
from stages.settings import Size
from store.records import IGNORE

__all__ = ["ShrunkLabels", "shrink_labels"]

KEPT_SHARE = 0.5
"""Share of its best pixels below which an object takes pixels from others."""
CONNECTED = np.ones((3, 3), dtype=bool)
"""Neighbourhood of the connected regions: sides and corners."""
MOST_LABELS = 7
"""Number of labels that fit in the bits of a multilabel mask."""
MOST_INSTANCES = 65535
TOLERANCE = 1e-5
"""Largest difference between two shares that count as equal: sums of float32 differ by less."""
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
    """Classes, or labels, that the source has and the result has not."""
    keeping_size: Size | None
    """Smallest recommended size at which every object would have a pixel of its own; None if nothing is lost."""


@dataclass(frozen=True, eq=False)
class _Object:
    """Hold one object and the pixels of the result that it touches."""

    number: int
    """Instance, or 0."""
    rows: slice
    columns: slice
    """Window in the result."""
    coverage: NDArray[np.float32]
    """(row, column) share of each pixel of the window that the object covers, in [0, 1]."""
    best: NDArray[np.bool_]
    """(row, column) True for the best pixels; see the module."""
    area: float
    """In pixels of the source."""


def shrink_labels(
    mask: NDArray[np.uint8], instances: NDArray[np.int32] | None, size: Size, *, multilabel: bool = False
) -> ShrunkLabels:
    """Shrink the labels of one image to a size.

    Args:
        mask: (height, width) uint8 class index; bits of labels with `multilabel`; 255 is ignored.
        instances: (height, width) number of the object, from 1; 0 for none. None if there are no instances. They lie
            where `mask` is foreground.
        size: (height, width) of the result.
        multilabel: bit k - 1 of `mask` is set where label k is; labels may overlap.

    Returns:
        The labels at that size. With instances, `mask` is foreground exactly where an instance is.

    Raises:
        UsageError: a side of `size` is less than 1, or there are more than 65,535 instances.
    """
    if instances is not None and instances.max(initial=0) > MOST_INSTANCES:
        raise UsageError(f"{int(instances.max())} instances in one image; a store holds at most {MOST_INSTANCES}.")
    nearest = resize_mask(mask, size)
    if multilabel:
        return _shrink_bits(mask, nearest, size)
    foreground = [int(index) for index in np.unique(mask) if index not in (0, IGNORE)]
    ignored = mask == IGNORE
    if size[0] >= mask.shape[0] and size[1] >= mask.shape[1]:
        objects = [one for index in foreground for one in _regions(mask == index, size)] if instances is None else []
        enlarged = None if instances is None else _enlarge(instances, size)
        count = len(objects) if instances is None else len(np.unique(instances[instances > 0]))
        return ShrunkLabels(nearest, enlarged, objects=count, lost=0, lost_classes=(), keeping_size=None)
    result = _majority({index: _coverage(mask == index, size) for index in foreground}, _coverage(ignored, size))
    planes: list[int] = []
    objects = []
    for index in foreground:
        found = list(_regions(mask == index, size) if instances is None else _instances(instances, mask == index, size))
        planes += [index] * len(found)
        objects += found
    owner = _assign(objects, planes, result)
    result[(result != IGNORE) & (owner < 0)] = 0
    result[owner >= 0] = np.array([*planes, 0], np.uint8)[owner[owner >= 0]]
    lost = [one for one, kept in zip(objects, _pixels_of(owner, len(objects)), strict=True) if not kept]
    numbers = None
    if instances is not None:
        numbers = np.where(owner >= 0, np.array([one.number for one in objects] + [0], np.uint16)[owner], 0)
        numbers = numbers.astype(np.uint16)
    return ShrunkLabels(
        mask=result,
        instances=numbers,
        objects=len(objects),
        lost=len(lost),
        lost_classes=tuple(index for index in foreground if not (result == index).any()),
        keeping_size=_keeping_size(lost, mask.shape),
    )


def _shrink_bits(mask: NDArray[np.uint8], nearest: NDArray[np.uint8], size: Size) -> ShrunkLabels:
    """Shrink every label of a multilabel mask by itself; ignored pixels are those of the majority."""
    ignored = mask == IGNORE
    parts = {
        label: shrink_labels(np.where(ignored, IGNORE, mask >> (label - 1) & 1).astype(np.uint8), None, size)
        for label in range(1, MOST_LABELS + 1)
    }
    result = np.zeros_like(nearest)
    for label, part in parts.items():
        result |= (part.mask == 1).astype(np.uint8) << np.uint8(label - 1)
    result[parts[1].mask == IGNORE] = IGNORE  # the same pixels for every label
    kept = [part.keeping_size for part in parts.values() if part.keeping_size]
    return ShrunkLabels(
        mask=result,
        instances=None,
        objects=sum(part.objects for part in parts.values()),
        lost=sum(part.lost for part in parts.values()),
        lost_classes=tuple(label for label, part in parts.items() if part.lost_classes),
        keeping_size=max(kept, key=math.prod) if kept else None,
    )


def _enlarge(instances: NDArray[np.int32], size: Size) -> NDArray[np.uint16]:
    """Stretch instances by nearest neighbour, as `resize_mask` does with classes."""
    high, low = (instances >> 8).astype(np.uint8), (instances & 255).astype(np.uint8)
    return resize_mask(high, size).astype(np.uint16) << np.uint16(8) | resize_mask(low, size)


def _coverage(region: NDArray[np.bool_], size: Size) -> NDArray[np.float32]:
    """Return (row, column) the share of every pixel of the result that a region of the source covers."""
    covered = np.zeros(size, np.float32)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if rows.size:
        box = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        at_rows, at_columns, coverage = coverage_of(box, int(rows[0]), int(columns[0]), region.shape, size)
        covered[at_rows, at_columns] = coverage
    return covered


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


def _regions(region: NDArray[np.bool_], size: Size) -> Iterator[_Object]:
    """Yield the connected regions of a class."""
    labels, _ = ndimage.label(region, CONNECTED)
    yield from _objects(labels.astype(np.int32, copy=False), size, numbered=False)


def _instances(instances: NDArray[np.int32], where: NDArray[np.bool_], size: Size) -> Iterator[_Object]:
    """Yield the instances of a class."""
    yield from _objects(np.where(where, instances, 0), size, numbered=True)


def _objects(labels: NDArray[np.int32], size: Size, *, numbered: bool) -> Iterator[_Object]:
    places: list[Any] = ndimage.find_objects(labels)
    for number, place in enumerate(places, start=1):
        if place is None:  # no such number
            continue
        region = labels[place] == number
        rows, columns, coverage = coverage_of(region, place[0].start, place[1].start, labels.shape, size)
        yield _Object(
            number=number if numbered else 0,
            rows=rows,
            columns=columns,
            coverage=coverage,
            best=_best_pixels(coverage),
            area=float(np.count_nonzero(region)),
        )


def _best_pixels(coverage: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the pixels with which an object's Dice with its source is highest, (row, column) bool."""
    shares = np.sort(coverage, axis=None)[::-1]
    shares = shares[shares > 0]
    overlap = np.cumsum(shares, dtype=np.float64)
    dice = 2 * overlap / (overlap[-1] + np.arange(1, len(shares) + 1))
    best: NDArray[np.bool_] = coverage >= shares[np.argmax(dice)]
    return best


def _assign(objects: list[_Object], planes: list[int], result: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the object of every pixel, (row, column), -1 for none, by the two steps that the module describes."""
    owner = np.full(result.shape, -1, np.int64)
    most = np.zeros(result.shape, np.float32)
    for at, (one, plane) in enumerate(zip(objects, planes, strict=True)):
        place = (one.rows, one.columns)
        wanted = ((result[place] == plane) | one.best) & (result[place] != IGNORE) & (one.coverage > most[place])
        # Where another class has the majority, it keeps the pixel unless this object covers more.
        wanted &= (result[place] == plane) | (result[place] == 0)
        owner[place][wanted] = at
        most[place][wanted] = one.coverage[wanted]
    kept = _pixels_of(owner, len(objects))
    served: set[int] = set()
    for at in sorted(range(len(objects)), key=lambda number: (objects[number].area, number)):
        one = objects[at]
        if kept[at] >= KEPT_SHARE * np.count_nonzero(one.best):
            continue
        place = (one.rows, one.columns)
        for row, column in np.argwhere(one.best & (owner[place] != at) & (result[place] != IGNORE)):
            before = int(owner[place][row, column])
            if before >= 0 and (before in served or kept[before] == 1):
                continue
            owner[place][row, column] = at
            kept[at] += 1
            if before >= 0:
                kept[before] -= 1
        served.add(at)
    return owner


def _pixels_of(owner: NDArray[np.int64], objects: int) -> NDArray[np.int64]:
    """Return the number of pixels of every object."""
    return np.bincount(owner[owner >= 0], minlength=objects)


def _keeping_size(lost: list[_Object], source: tuple[int, ...]) -> Size | None:
    """Return the smallest recommended size at which the lost objects have an area of one pixel."""
    if not lost:
        return None
    step = math.sqrt(min(one.area for one in lost))
    height, width = (math.ceil(side / step / STEP) * STEP for side in source)
    return height, width
