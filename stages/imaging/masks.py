"""Decode a mask file to class indices.

A mask gives the class of every pixel as a value. A `ClassMap` says which value is which class:

**Binary** (no mapping given), for masks in black and white. If no value exceeds 1, the values are 0 and 1. Otherwise
128 and above is foreground. Some grey is accepted, because smooth edges and JPEG cause it. A mask that looks like
class indices is rejected, because guessing could swap classes:

- nothing reaches 128, although something is above 1: `{0, 2}`, `{0, 1, 2, 3}`
- more than a tenth of the pixels is strictly between 16 and 239
- values in 1-15 and none in 16-254, in a file that is not JPEG: `{0, 1, 255}`

With a threshold, soft masks are read too: foreground is what reaches that share of white. White is 255 in a picture
of 8 bits, 65535 in one of more bits, and 1 if no value of a picture of fractions exceeds 1.

**Mapped**, for everything else. Each class has some values, and a pixel with any other value is an error. Only in a
JPEG, whose compression changes values, does a pixel get the class with the nearest value. It is unclear if the second
nearest class is less than three times as far away. Too large a share of unclear pixels is an error.

**Objects**: every value above 0, or every colour but black, is one object.

The values are those of the only channel:

| the file holds            | its values are                                                                     |
|---------------------------|------------------------------------------------------------------------------------|
| 1 bit                     | 0 and 255                                                                          |
| three equal channels      | those of one channel                                                               |
| a palette of greys only   | the greys                                                                          |
| any other palette         | the indices, or the colours if the mapping is in colours                           |
| an alpha channel          | those of the colours; those of alpha if only alpha varies and there is no mapping  |
| 16 bits, binary           | divided by 257 if any value exceeds 255                                            |

The EXIF orientation is applied, as for images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.class_values import HIGHEST_VALUE
from stages.imaging.classes import IGNORE, ClassMap
from stages.imaging.opening import Picture, deep_values, open_picture, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from stages.settings import Size

__all__ = ["IGNORE", "ClassMap", "map_values", "read_mask", "read_objects"]

FOREGROUND_FROM = 128
BLACK_UP_TO, WHITE_FROM = 16, 239
MOST_GREY = 0.1
UNLISTED = 254  # no `ClassMap` has this class index
MOST_VALUES_LISTED = 5  # in a message
CLEAR = 3
"""A pixel is clear if the second nearest class is at least this many times as far away as the nearest."""
MOST_UNCLEAR = 0.05
LOSSY = {"JPEG", "MPO"}
REMEDY = "say what the values mean with --classes, e.g. --classes skin=0,lesion=255"
OBJECTS_REMEDY = "if every value is an object of its own, --labels instances"


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
        path: A PNG, JPEG, BMP or TIFF file. The format is detected from the content.
        classes: Meaning of the values in the file.
        expected_size: (height, width) of the upright image that the mask belongs to.
        threshold: Share of white from which a pixel is foreground, above 0 and at most 1, for the binary rule.
        unclear: Largest share of unclear pixels in a JPEG with classes.

    Returns:
        (height, width) uint8 indices into `classes.names`; 255 is ignored.

    Raises:
        InputProblemsError: the file cannot be read as a picture, has another size than its image, or holds values
            that `classes` does not list. The error has one problem, which says what is wrong.
    """
    picture = open_picture(path)
    _check_size(path, (picture.image.height, picture.image.width), expected_size)
    if not classes.values:
        return _binary(path, picture) if threshold is None else _thresholded(path, picture, threshold)
    if classes.in_colour:
        values = _packed_colours(path, picture.image)
    else:
        values = _require_one_channel(path, _single_channel(picture.image))
    if picture.image.format in LOSSY:
        return _nearest(path, values, classes, unclear)
    return _mapped(path, values, classes)


def map_values(path: Path, values: NDArray[np.int64], classes: ClassMap) -> NDArray[np.uint8]:
    """Replace the values of an array by the indices of their classes.

    Args:
        path: Names the file in messages.
        values: (height, width) whole numbers.
        classes: Meaning of the values; without any, 0 is background and 1 foreground.

    Raises:
        InputProblemsError: a value is not listed.
    """
    if classes.values:
        return _mapped(path, values, classes)
    if values.max(initial=0) > 1:
        refuse(path, f"{_list_values(values)}: these are class indices; {REMEDY}")
    return values.astype(np.uint8)


def read_objects(path: Path, expected_size: Size) -> NDArray[np.int32]:
    """Read a file in which every value above 0, or every colour but black, is one object.

    Args:
        path: A PNG, BMP or TIFF file; up to 32 bits. JPEG would change the values and is rejected.
        expected_size: (height, width) of the upright image that the objects belong to.

    Returns:
        (height, width) int32: 0 for none; objects are numbered from 1 in the order of their values.

    Raises:
        InputProblemsError: the file cannot be read as a picture, has another size than its image, or is a JPEG.
    """
    picture = open_picture(path)
    _check_size(path, (picture.image.height, picture.image.width), expected_size)
    channel = _single_channel(picture.image)
    values = _packed_colours(path, picture.image) if channel is None else channel
    if picture.image.format in LOSSY and np.unique(values).size > 2:  # noqa: PLR2004 - black and white survive
        refuse(path, "is a JPEG, whose compression changes the numbers of objects; save the objects as PNG or TIFF")
    if values.dtype.kind == "f" or values.min() < 0:
        refuse(path, f"{_list_values(values)}: objects are numbered by whole numbers from 1; 0 is the background")
    found, numbers = np.unique(values, return_inverse=True)
    return (numbers + (0 if found[0] == 0 else 1)).reshape(values.shape).astype(np.int32)


def _thresholded(path: Path, picture: Picture, threshold: float) -> NDArray[np.uint8]:
    """Return 1 where the value reaches a share of white, else 0."""
    values = _require_one_channel(path, _single_channel(picture.image, alpha_may_be_mask=True))
    if values.min() < 0 or values.max() > HIGHEST_VALUE:
        refuse(path, f"{_list_values(values)}: a soft mask has values from 0 to white")
    if values.dtype.kind == "f" and values.max() <= 1:
        white = 1.0
    else:
        white = 255.0 if values.dtype.itemsize == 1 or values.max() <= np.iinfo(np.uint8).max else 65535.0
        if values.max() <= 1:  # a mask of 0 and 1 in whole numbers
            white = 1.0
    return (values >= threshold * white).astype(np.uint8)


def _check_size(path: Path, size: Size, expected: Size) -> None:
    """Reject a mask whose size differs from its image."""
    if size == expected:
        return
    what = f"the mask is {size[0]} x {size[1]} and its image {expected[0]} x {expected[1]} (height x width); "
    if size == expected[::-1]:
        remedy = "the sides are swapped: probably EXIF turns the image and not the mask; turn the mask too"
    else:
        remedy = "export the mask at the image's size"
    refuse(path, what + remedy)


def _binary(path: Path, picture: Picture) -> NDArray[np.uint8]:
    """Return 1 for foreground and 0 for background, by the binary rule of this module."""
    values = _require_one_channel(path, _single_channel(picture.image, alpha_may_be_mask=True))
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > HIGHEST_VALUE:
        refuse(path, f"{_list_values(values)}: these are not black and white; {REMEDY}")
    if values.max() <= 1:
        return values.astype(np.uint8)
    deep = values.max() > np.iinfo(np.uint8).max
    levels = -(-values.astype(np.int64) // 257) if deep else values  # rounded up: a small index does not become 0
    counts = np.bincount(levels.ravel(), minlength=256)
    if not counts[FOREGROUND_FROM:].any():
        what = f"{_list_values(values)}: these look like class indices, not black and white; {REMEDY}"
        refuse(path, f"{what}; {OBJECTS_REMEDY}")
    if counts[BLACK_UP_TO + 1 : WHITE_FROM].sum() > MOST_GREY * levels.size:
        what = f"{_list_values(values)}: too many pixels are neither black nor white; {REMEDY}"
        refuse(path, f"{what}; if the edges are soft, --threshold 0.5; {OBJECTS_REMEDY}")
    lossless = picture.image.format not in LOSSY
    if lossless and counts[1:BLACK_UP_TO].any() and not counts[BLACK_UP_TO:255].any():
        refuse(path, f"{_list_values(values)}: small values beside white look like class indices; {REMEDY}")
    return (levels >= FOREGROUND_FROM).astype(np.uint8)


def _mapped(path: Path, values: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Replace every value by the index of its class; ignored pixels become 255."""
    indices = _listed(values, classes)
    unknown = values[indices == UNLISTED]
    if unknown.size:
        listed = ", ".join(f"{name}={value}" for name, value in classes.items())
        found = _list_values(unknown, classes)
        refuse(path, f"{found} not in {listed}; add them to --classes (the name `ignore` leaves pixels out) or fix it")
    return indices


def _listed(values: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Return the index of the class that holds each value, 255 for ignored pixels, `UNLISTED` where none does."""
    indices = np.full(values.shape, UNLISTED, np.uint8)
    pairs = [*enumerate(classes.values), *([] if classes.ignore is None else [(IGNORE, classes.ignore)])]
    for index, held in pairs:
        for low, high in held.ranges:
            indices[(values >= low) & (values <= high) if low != high else values == low] = index
    return indices


def _nearest(path: Path, values: NDArray[Any], classes: ClassMap, most_unclear: float) -> NDArray[np.uint8]:
    """Replace every value by the index of the class with the nearest value.

    Distances are differences of values, or straight distances between colours.
    """
    indices = _listed(values, classes)
    if not (indices == UNLISTED).any():
        return indices
    found, where = np.unique(values, return_inverse=True)
    pairs = [*enumerate(classes.values), *([] if classes.ignore is None else [(IGNORE, classes.ignore)])]
    distances = np.stack([_distance(found, held.ranges, in_colour=classes.in_colour) for _, held in pairs])
    ordered = np.sort(distances, axis=0)
    unclear = CLEAR * ordered[0] > ordered[1]
    share = float(unclear[where].mean())
    if share > most_unclear:
        listed = ", ".join(f"{name}={value}" for name, value in classes.items())
        refuse(
            path,
            f"is a JPEG, and {100 * share:.1f} % of its pixels are far from every value in {listed}; allow that with "
            f"--unclear, correct --classes, or save masks as PNG",
        )
    nearest = np.array([index for index, _ in pairs], np.uint8)[np.argmin(distances, axis=0)]
    result: NDArray[np.uint8] = nearest[where].reshape(values.shape)
    return result


def _distance(found: NDArray[Any], ranges: Sequence[tuple[int, int]], *, in_colour: bool) -> NDArray[np.float64]:
    """Return the distance of each value to the nearest value of a class, (value,)."""
    if in_colour:
        parts = np.stack([found >> 16 & 255, found >> 8 & 255, found & 255]).astype(np.float64)
        colours = [[low >> 16 & 255, low >> 8 & 255, low & 255] for low, _ in ranges]
        steps = [np.linalg.norm(parts - np.array(colour)[:, None], axis=0) for colour in colours]
    else:
        numbers = found.astype(np.float64)
        steps = [np.maximum(0, np.maximum(low - numbers, numbers - high)) for low, high in ranges]
    distance: NDArray[np.float64] = np.min(steps, axis=0)
    return distance


def _single_channel(image: Image.Image, *, alpha_may_be_mask: bool = False) -> NDArray[Any] | None:
    """Return the only channel, (height, width); None for a picture in colour."""
    deep = deep_values(image)
    if deep is not None:
        # Whole numbers stored as float count as integers. NaN fails the first test, so the cast cannot overflow.
        whole = deep.dtype.kind == "f" and (np.abs(deep) <= HIGHEST_VALUE).all() and (deep % 1 == 0).all()
        return deep.astype(np.int64) if whole else deep
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8) * np.uint8(255)
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        if not _is_grey(palette):
            return np.asarray(image)
    pixels = np.asarray(image.convert("RGBA"))
    colours, alpha = pixels[..., :3], pixels[..., 3]
    if alpha_may_be_mask and _is_constant(colours) and not _is_constant(alpha):
        return alpha
    return colours[..., 0] if _is_grey(colours) else None


def _require_one_channel(path: Path, channel: NDArray[Any] | None) -> NDArray[Any]:
    """Return the channel, or reject a picture that has several."""
    if channel is None:
        refuse(path, "the mask is in colour; say which colour is which class: --classes skin=#000000,lesion=#ff0000")
    return channel


def _packed_colours(path: Path, image: Image.Image) -> NDArray[np.uint32]:
    """Return the colours as 0xrrggbb, (height, width) uint32; alpha is dropped."""
    if deep_values(image) is not None:
        refuse(path, "the mask has one channel of more than 8 bits; give --classes its values, not colours")
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint32)  # "RGB" may warn about transparency
    return pixels[..., 0] << np.uint32(16) | pixels[..., 1] << np.uint32(8) | pixels[..., 2]


def _is_grey(colours: NDArray[np.uint8]) -> bool:
    return bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all())


def _is_constant(pixels: NDArray[np.uint8]) -> bool:
    return bool((pixels == pixels[0, 0]).all())


def _list_values(values: NDArray[Any], classes: ClassMap | None = None) -> str:
    """Return the most frequent values with their counts, for a message."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES_LISTED]
    listed = [(classes.format_value(found[i]) if classes else str(found[i]), counts[i]) for i in order]
    more = f" and {found.size - MOST_VALUES_LISTED} more" if found.size > MOST_VALUES_LISTED else ""
    return f"holds the values {', '.join(f'{value} ({count} pixels)' for value, count in listed)}{more}"
