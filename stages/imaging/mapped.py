"""Replace the values of a mask by class indices.

In a lossless file every value must belong to a class. In a lossy file (JPEG), whose compression changes values, a pixel
gets the class with the nearest value. The pixel is unclear unless the second nearest class is at least three times as
far away as the nearest one. Too many unclear pixels are an error: the classes are probably not the ones in the file.
Where two classes touch, compression makes values in between. There a third class can gain an edge of one pixel. Only
lossless files are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.class_values import Values
from stages.imaging.classes import IGNORE, ClassMap
from stages.imaging.mask_values import list_values
from stages.imaging.opening import refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MOST_UNCLEAR", "map_lossy_values", "map_values"]

MOST_UNCLEAR = 0.05
"""Largest share of unclear pixels in a lossy file."""
CLEAR = 3
"""A pixel is clear if the second nearest class is at least this many times as far away as the nearest one."""
NOISE = 16
"""Largest change of a value that is put down to compression."""
WHITE = 255
UNLISTED = 254  # no `ClassMap` has this class index


def map_values(path: Path, values: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Replace every value by the index of its class.

    Args:
        path: Names the file in messages.
        values: (height, width) numbers, or colours as 0xrrggbb if `classes.in_colour`.
        classes: With values.

    Returns:
        (height, width) uint8 class index; 255 for ignored pixels.

    Raises:
        InputProblemsError: a value belongs to no class.
    """
    indices = _listed(values, classes)
    unknown = values[indices == UNLISTED]
    if unknown.size:
        found, listed = list_values(unknown, classes), _list_classes(classes)
        refuse(path, f"{found} not in {listed}; add them to --classes (the name `ignore` leaves pixels out) or fix it")
    return indices


def map_lossy_values(
    path: Path, values: NDArray[Any], classes: ClassMap, most_unclear: float = MOST_UNCLEAR
) -> NDArray[np.uint8]:
    """Replace every value by the index of the class with the nearest value.

    Distances are differences of values, or straight distances between colours.

    Args:
        path: Names the file in messages.
        values: (height, width) numbers, or colours as 0xrrggbb if `classes.in_colour`.
        classes: With values.
        most_unclear: Largest share of unclear pixels, 0 to 1.

    Returns:
        (height, width) uint8 class index; 255 for ignored pixels.

    Raises:
        InputProblemsError: too many pixels are unclear.
    """
    indices = _listed(values, classes)
    if not classes.in_colour:
        _undo_noise(values, indices, classes)
    rest = indices == UNLISTED
    found, where, counts = np.unique(values[rest], return_inverse=True, return_counts=True)
    if not found.size:
        return indices
    held = _indices_with_values(classes)
    distances = np.stack([_distance(found, one, in_colour=classes.in_colour) for _, one in held])
    nearest, second = np.sort(distances, axis=0)[:2]
    share = float(counts[CLEAR * nearest > second].sum() / values.size)
    if share > most_unclear:
        refuse(
            path,
            f"is lossy (JPEG), and {100 * share:.1f} % of its pixels are far from every value in "
            f"{_list_classes(classes)}; correct --classes, save masks as PNG, or raise --unclear to {share + 0.01:.2f}",
        )
    indices[rest] = np.array([index for index, _ in held], np.uint8)[np.argmin(distances, axis=0)][where]
    return indices


def _undo_noise(values: NDArray[Any], indices: NDArray[np.uint8], classes: ClassMap) -> None:
    """Give values that a range holds only because of compression to the class with a single value beside the range.

    Compression turns 0 into values such as 3, and `1-255` would take them for foreground. Beside black, a range that
    ends in white is cut in the middle, as for masks in black and white. Other ranges lose `NOISE` values.
    """
    singles = [(index, held.first) for index, held in _indices_with_values(classes) if held.is_single]
    ranges = [(low, high) for _, held in _indices_with_values(classes) for low, high in held.ranges if low != high]
    for index, value in singles:
        for low, high in ranges:
            reach = WHITE // 2 if value == 0 and low <= WHITE <= high else NOISE
            near = (np.abs(values.astype(np.int64) - value) <= reach) & (values >= low) & (values <= high)
            indices[near] = index


def _listed(values: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Return the index of the class that holds each value, 255 for ignored pixels, `UNLISTED` where none does."""
    indices = np.full(values.shape, UNLISTED, np.uint8)
    for index, held in _indices_with_values(classes):
        for low, high in held.ranges:
            inside = values == low if low == high else (values >= low) & (values <= high)
            indices[inside] = index
    return indices


def _indices_with_values(classes: ClassMap) -> list[tuple[int, Values]]:
    """Return each class index with its values; those of ignored pixels are last, so that they win over a range."""
    ignored = [] if classes.ignore is None else [(IGNORE, classes.ignore)]
    return [*enumerate(classes.values), *ignored]


def _distance(found: NDArray[Any], held: Values, *, in_colour: bool) -> NDArray[np.float64]:
    """Return the distance of each value, (value,), to the nearest value of a class."""
    if in_colour:
        parts = _parts(found)
        steps = [np.linalg.norm(parts - _parts(np.array([low])), axis=0) for low, _ in held.ranges]
    else:
        numbers = found.astype(np.float64)
        steps = [np.maximum(0, np.maximum(low - numbers, numbers - high)) for low, high in held.ranges]
    distance: NDArray[np.float64] = np.min(steps, axis=0)
    return distance


def _parts(colours: NDArray[Any]) -> NDArray[np.float64]:
    """Return red, green and blue of colours 0xrrggbb, (3, colour)."""
    return np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255]).astype(np.float64)


def _list_classes(classes: ClassMap) -> str:
    return ", ".join(f"{name}={values}" for name, values in classes.items())
