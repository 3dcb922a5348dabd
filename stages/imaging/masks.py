"""Decode a mask file to class indices.

A mask gives the class of every pixel as a value. A `ClassMap` says which value is which class:

**Binary** (no mapping given), for masks in black and white. If no value exceeds 1, the values are 0 and 1. Otherwise
128 and above is foreground. Some grey is accepted, because smooth edges and JPEG cause it. A mask that looks like
class indices is rejected, because guessing could swap classes:

- nothing reaches 128, although something is above 1: `{0, 2}`, `{0, 1, 2, 3}`
- more than a tenth of the pixels is strictly between 16 and 239
- values in 1-15 and none in 16-254, in a lossless file: `{0, 1, 255}`
- a block of 3 x 3 pixels (5 x 5 in a lossy file) is of one grey: `{0, 127, 255}`; soft edges have no such blocks

With a threshold, soft masks are read too: a pixel is foreground if it reaches that share of white. White is 255 in a
file of 8 bits and 65535 in a file of 16 bits. In files of 32 bits and floats it is the lowest of 1, 255 and 65535 that
no value exceeds.

**Mapped**, for everything else. Each class has some values; see `stages.imaging.mapped`.

The values of a pixel are defined in `stages.imaging.mask_values`. If a value of a black-and-white mask exceeds 255, all
are divided by 257. The EXIF orientation is applied, as for images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never

import numpy as np

from stages.imaging.class_values import HIGHEST_VALUE
from stages.imaging.classes import IGNORE, ClassMap
from stages.imaging.mapped import MOST_UNCLEAR, map_lossy_values, map_values
from stages.imaging.mask_values import list_values, packed_colours, require_one_channel, single_channel
from stages.imaging.opening import Picture, open_picture, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["IGNORE", "ClassMap", "binary_values", "open_mask", "read_mask"]

FOREGROUND_FROM = 128
BLACK_UP_TO, WHITE_FROM = 16, 239
MOST_GREY = 0.1
REGION, LOSSY_REGION = (3, 0), (5, 8)
"""Side of a block in pixels, and the largest difference between the greys of a region in it."""
WHITE = 255
REMEDY = "say what the values mean with --classes, e.g. --classes skin=0,lesion=255"
OBJECTS_REMEDY = "if every value is an object of its own: --labels instances"
SOFT_REMEDY = "if the edges are soft or the values are probabilities: --threshold 0.5"


def read_mask(
    path: Path,
    classes: ClassMap,
    expected_size: Size,
    *,
    threshold: float | None = None,
    unclear: float = MOST_UNCLEAR,
) -> NDArray[np.uint8]:
    """Read a mask file.

    Args:
        path: A picture, as in `stages.imaging.opening`. The format is detected from the content.
        classes: Meaning of the values in the file.
        expected_size: (height, width) of the upright image that the mask belongs to.
        threshold: Smallest share of white at which a pixel is foreground, above 0 and at most 1, for classes without
            values.
        unclear: Largest share of unclear pixels in a lossy file with classes, 0 to 1.

    Returns:
        (height, width) uint8 indices into `classes.names`; 255 is ignored.

    Raises:
        InputProblemsError: the file cannot be read as a picture, has another size than its image, or holds values
            that `classes` does not list. The error has one problem, which says what is wrong.
    """
    picture = open_mask(path, expected_size)
    if not classes.values:
        channel = require_one_channel(path, single_channel(picture, alpha_may_be_mask=True))
        return binary_values(path, channel, threshold=threshold, lossy=picture.lossy)
    if classes.in_colour:
        values: NDArray[Any] = packed_colours(path, picture)
    else:
        values = require_one_channel(path, single_channel(picture))
    return map_lossy_values(path, values, classes, unclear) if picture.lossy else map_values(path, values, classes)


def open_mask(path: Path, expected_size: Size) -> Picture:
    """Read and decode a mask file, and check its size.

    Raises:
        InputProblemsError: the file cannot be read as a picture, or has another size than `expected_size`.
    """
    picture = open_picture(path)
    size = (picture.image.height, picture.image.width)
    if size != tuple(expected_size):
        _refuse_size(path, size, expected_size)
    return picture


def _refuse_size(path: Path, size: Size, expected_size: Size) -> Never:
    what = f"the mask is {size[0]} x {size[1]} and its image {expected_size[0]} x {expected_size[1]} (height x width); "
    if size == tuple(expected_size[::-1]):
        remedy = "the sides are swapped: probably EXIF turns the image and not the mask; turn the mask too"
    else:
        remedy = "export the mask at the image's size"
    refuse(path, what + remedy)


def binary_values(
    path: Path, values: NDArray[Any], *, threshold: float | None = None, lossy: bool = False
) -> NDArray[np.uint8]:
    """Return 1 for foreground and 0 for background.

    Args:
        path: Names the file in messages.
        values: (height, width) numbers.
        threshold: Smallest share of white at which a value is foreground; None for the binary rule of this module.
        lossy: True if compression may have changed the values.

    Raises:
        InputProblemsError: the values are not black and white; with a threshold, they are below 0 or above 65535.
    """
    return _binary(path, values, lossy=lossy) if threshold is None else _soft(path, values, threshold)


ROUNDED_ONE = 1.05
"""Highest value of a mask of probabilities: resampling may exceed 1 a little."""


def _soft(path: Path, values: NDArray[Any], threshold: float) -> NDArray[np.uint8]:
    """Return 1 where a value reaches a share of white, else 0."""
    if not (values.min() >= 0 and values.max() <= HIGHEST_VALUE):  # NaN fails too
        refuse(path, f"{list_values(values)}: a soft mask has values from 0 to white, at most {HIGHEST_VALUE}")
    highest = float(values.max())
    # A little above 1 is rounding of a probability. 8 bits stored in 16 have their white at 255.
    white = 1 if highest <= ROUNDED_ONE else WHITE if highest <= WHITE else HIGHEST_VALUE
    return (values >= threshold * white).astype(np.uint8)


def _binary(path: Path, values: NDArray[Any], *, lossy: bool) -> NDArray[np.uint8]:
    """Return 1 for foreground and 0 for background, by the binary rule of this module."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > HIGHEST_VALUE:
        refuse(path, f"{list_values(values)}: these are not black and white; {REMEDY}; {SOFT_REMEDY}; {OBJECTS_REMEDY}")
    if values.max() <= 1:
        return values.astype(np.uint8)
    deep = values.max() > WHITE
    levels = -(-values.astype(np.int64) // 257) if deep else values  # rounded up: a small index does not become 0
    counts = np.bincount(levels.ravel(), minlength=256)
    if not counts[FOREGROUND_FROM:].any():
        what = "these look like class indices, not black and white"
        refuse(path, f"{list_values(values)}: {what}; {REMEDY}; {OBJECTS_REMEDY}")
    if counts[BLACK_UP_TO + 1 : WHITE_FROM].sum() > MOST_GREY * levels.size:
        what = "too many pixels are neither black nor white"
        refuse(path, f"{list_values(values)}: {what}; {REMEDY}; {SOFT_REMEDY}; {OBJECTS_REMEDY}")
    if _has_grey_region(levels, lossy=lossy):
        what = "there are regions of grey, which look like a class of their own"
        refuse(path, f"{list_values(values)}: {what}; {REMEDY}; {SOFT_REMEDY}; {OBJECTS_REMEDY}")
    if not lossy and counts[1:BLACK_UP_TO].any() and not counts[BLACK_UP_TO:255].any():
        what = "small values beside white look like class indices"
        refuse(path, f"{list_values(values)}: {what}; {REMEDY}; {OBJECTS_REMEDY}")
    return (levels >= FOREGROUND_FROM).astype(np.uint8)


def _has_grey_region(levels: NDArray[Any], *, lossy: bool) -> bool:
    """Return True if a block of pixels is of one grey; in a lossy file, of nearly one grey."""
    side, spread = LOSSY_REGION if lossy else REGION
    height, width = levels.shape[0] - side + 1, levels.shape[1] - side + 1
    if height < 1 or width < 1:
        return False
    grey = (levels > BLACK_UP_TO) & (levels < WHITE_FROM)
    columns = np.logical_and.reduce([grey[step : step + height] for step in range(side)])
    blocks = np.logical_and.reduce([columns[:, step : step + width] for step in range(side)])
    found = np.lib.stride_tricks.sliding_window_view(levels, (side, side))[blocks]
    return bool((np.ptp(found, axis=(1, 2)) <= spread).any())
