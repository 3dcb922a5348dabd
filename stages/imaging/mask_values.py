"""Turn a mask picture into values: one number per pixel, or one colour per pixel.

| the file holds            | its values are                                                                     |
|---------------------------|------------------------------------------------------------------------------------|
| 1 bit                     | 0 and 255                                                                          |
| three equal channels      | those of one channel; in a lossy file the channels may differ a little             |
| a palette of greys only   | the greys                                                                          |
| any other palette         | the indices, or the colours if colours are asked for                               |
| an alpha channel          | those of the colours; those of alpha if only alpha varies and alpha may be the mask|
| 16-bit colours            | as above in 16 bits; as colours only if 8 bits hold them                           |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.class_values import HIGHEST_VALUE
from stages.imaging.deep_values import deep_values
from stages.imaging.opening import Picture, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.imaging.classes import ClassMap

__all__ = ["list_values", "packed_colours", "require_one_channel", "single_channel"]

MOST_VALUES_LISTED = 5  # in a message
LOSSY_DIFFERENCE = 4
"""Largest difference between the channels of a grey pixel in a lossy file."""
DEEP_WHITE, WHITE = 65535, 255


def single_channel(picture: Picture, *, alpha_may_be_mask: bool = False) -> NDArray[Any] | None:
    """Return the only channel, (height, width); None for a picture in colour.

    Whole numbers in a float file become int64. Other floats stay float32.
    """
    image = picture.image
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
    pixels = _pixels(picture)
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if alpha_may_be_mask and alpha.size and _is_constant(colours) and not _is_constant(alpha):
        return alpha[..., 0]
    return colours[..., 0] if _is_grey(colours, LOSSY_DIFFERENCE if picture.lossy else 0) else None


def require_one_channel(path: Path, channel: NDArray[Any] | None) -> NDArray[Any]:
    """Return the channel, or raise an error for a picture in colour."""
    if channel is None:
        refuse(
            path,
            "the mask is in colour; say which colour is which class: --classes skin=#000000,lesion=#ff0000; if every "
            "colour is an object of its own: --labels instances",
        )
    return channel


def packed_colours(path: Path, picture: Picture) -> NDArray[np.uint32]:
    """Return the colours as 0xrrggbb, (height, width) uint32; alpha is dropped.

    Raises:
        InputProblemsError: the file has one channel of more than 8 bits, or colours that 8 bits do not hold.
    """
    if deep_values(picture.image) is not None:
        refuse(path, "the mask has one channel of more than 8 bits; give --classes its values, not colours")
    pixels = _pixels(picture)
    if pixels.dtype == np.uint16:
        if (pixels % (DEEP_WHITE // WHITE)).any():
            refuse(path, "holds colours of 16 bits that 8 bits do not hold, and classes are colours of 8; save it in 8")
        pixels = pixels // np.uint16(DEEP_WHITE // WHITE)
    packed = pixels[..., :3].astype(np.uint32)
    return packed[..., 0] << np.uint32(16) | packed[..., 1] << np.uint32(8) | packed[..., 2]


def list_values(values: NDArray[Any], classes: ClassMap | None = None) -> str:
    """Return the most frequent values with their counts, for a message."""
    found, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_VALUES_LISTED]
    listed = [(classes.format_value(found[i]) if classes else str(found[i]), counts[i]) for i in order]
    more = f" and {found.size - MOST_VALUES_LISTED} more" if found.size > MOST_VALUES_LISTED else ""
    return f"holds the values {', '.join(f'{value} ({count} pixels)' for value, count in listed)}{more}"


def _pixels(picture: Picture) -> NDArray[Any]:
    """Return (height, width, 3 or 4) RGB or RGBA: uint16 of a picture of 16 bits, else uint8."""
    if picture.deep_colours is not None:
        return picture.deep_colours
    return np.asarray(picture.image.convert("RGBA"))  # "RGB" may warn about transparency


def _is_grey(colours: NDArray[Any], difference: int = 0) -> bool:
    """Return True if no two channels of a pixel differ by more than `difference`."""
    first, *others = np.moveaxis(colours, -1, 0)
    if not difference:
        return all(bool((first == other).all()) for other in others)
    return all(int(np.abs(first.astype(np.int32) - other).max(initial=0)) <= difference for other in others)


def _is_constant(pixels: NDArray[Any]) -> bool:
    return bool((pixels == pixels[0, 0]).all())
