"""Decode a mask file to class indices.

A mask gives the class of every pixel as a value. A `ClassMap` says which value is which class:

**Binary** (no mapping given), for masks in black and white. If no value exceeds 1, the values are 0 and 1. Otherwise
128 and above is foreground. Some grey is accepted, because smooth edges and JPEG cause it. A mask that looks like
class indices is rejected, because guessing could swap classes:

- nothing reaches 128, although something is above 1: `{0, 2}`, `{0, 1, 2, 3}`
- more than a tenth of the pixels is strictly between 16 and 239
- values in 1-15 and none in 16-254, in a file that is not JPEG: `{0, 1, 255}`

**Mapped**, for everything else. Each class has one value, and a pixel with any other value is an error.

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

from stages.imaging.classes import HIGHEST_VALUE, IGNORE, ClassMap
from stages.imaging.opening import Picture, deep_values, open_picture, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from stages.settings import Size

__all__ = ["IGNORE", "ClassMap", "read_mask"]

FOREGROUND_FROM = 128
BLACK_UP_TO, WHITE_FROM = 16, 239
MOST_GREY = 0.1
UNLISTED = 254  # no `ClassMap` has this class index
MOST_VALUES_LISTED = 5  # in a message
REMEDY = "say what the values mean with --classes, e.g. --classes skin=0,lesion=255"


def read_mask(path: Path, classes: ClassMap, expected_size: Size) -> NDArray[np.uint8]:
    """Read a mask file.

    Args:
        path: A PNG, JPEG, BMP or TIFF file. The format is detected from the content.
        classes: Meaning of the values in the file.
        expected_size: (height, width) of the upright image that the mask belongs to.

    Returns:
        (height, width) uint8 indices into `classes.names`; 255 is ignored.

    Raises:
        InputProblemsError: the file cannot be read as a picture, has another size than its image, or holds values
            that `classes` does not list. The error has one problem, which says what is wrong.
    """
    picture = open_picture(path)
    _check_size(path, (picture.image.height, picture.image.width), expected_size)
    if not classes.values:
        return _binary(path, picture)
    if classes.in_colour:
        values = _packed_colours(path, picture.image)
    else:
        values = _require_one_channel(path, _single_channel(picture.image))
    return _mapped(path, values, classes)


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
        refuse(path, f"{_list_values(values)}: these look like class indices, not black and white; {REMEDY}")
    if counts[BLACK_UP_TO + 1 : WHITE_FROM].sum() > MOST_GREY * levels.size:
        refuse(path, f"{_list_values(values)}: too many pixels are neither black nor white; {REMEDY}")
    lossless = picture.image.format not in {"JPEG", "MPO"}
    if lossless and counts[1:BLACK_UP_TO].any() and not counts[BLACK_UP_TO:255].any():
        refuse(path, f"{_list_values(values)}: small values beside white look like class indices; {REMEDY}")
    return (levels >= FOREGROUND_FROM).astype(np.uint8)


def _mapped(path: Path, values: NDArray[Any], classes: ClassMap) -> NDArray[np.uint8]:
    """Replace every value by the index of its class; ignored pixels become 255."""
    indices = np.full(values.shape, UNLISTED, np.uint8)
    for index, value in enumerate(classes.values):
        indices[values == value] = index
    if classes.ignore is not None:
        indices[values == classes.ignore] = IGNORE
    unknown = values[indices == UNLISTED]
    if unknown.size:
        listed = ", ".join(f"{name}={classes.format_value(value)}" for name, value in classes.items())
        found = _list_values(unknown, classes)
        refuse(path, f"{found} not in {listed}; add them to --classes (the name `ignore` leaves pixels out) or fix it")
    return indices


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
