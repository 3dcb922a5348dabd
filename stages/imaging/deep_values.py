"""Read the values of pictures with one channel of more than 8 bits, or of signed or fractional values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["deep_values"]

SAMPLE_FORMAT = 339  # TIFF tag; 1 is unsigned, 2 is signed, 3 is float
UNSIGNED, SIGNED = 1, 2
WHITE_IS_ZERO = 0  # value of TIFF's tag PhotometricInterpretation


def deep_values(image: Image.Image) -> NDArray[Any] | None:
    """Return the values of a single-channel picture that has more than 8 bits or is signed or float.

    Corrects three things that Pillow gets wrong: it returns unsigned 32-bit values as signed, returns signed 8-bit
    values as unsigned, and does not invert deep pictures in which white is zero.

    Args:
        image: A picture from `open_picture`.

    Returns:
        (height, width) int8, uint16, int32, uint32 or float32; None for a picture of any other kind.
    """
    tags = getattr(image, "tag_v2", {})
    sample_format = tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0]
    if image.mode == "L" and sample_format == SIGNED:
        return np.asarray(image).view(np.int8)
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and sample_format == UNSIGNED:
        values = values.view(np.uint32)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO:
        values = -values if image.mode == "F" else ~values  # ~v is maximum - v for unsigned integers
    return values
