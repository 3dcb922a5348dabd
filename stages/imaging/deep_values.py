"""Read the values of pictures with one channel of more than 8 bits, or of signed or fractional values.

The header is enough to know that a picture is of this kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image

from stages.imaging.deep_colour import byte_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import ImageFile

__all__ = ["deep_values", "is_deep", "values_name"]

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
    if not _has_deep_grey(image):
        return None
    if image.mode == "L":
        return np.asarray(image).view(np.int8)
    tags, sample_format = getattr(image, "tag_v2", {}), _sample_format(image)
    values = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and sample_format == UNSIGNED:
        values = values.view(np.uint32)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO:
        values = -values if image.mode == "F" else ~values  # ~v is maximum - v for unsigned integers
    return values


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Return True for a picture whose values a rule of intensities converts, grey or in colour.

    Args:
        image: A picture that is opened but not loaded.
    """
    return _has_deep_grey(image) or byte_modes(image) is not None


def values_name(image: ImageFile.ImageFile) -> str:
    """Return the type of a picture's values in words, such as "8-bit" or "32-bit float".

    Args:
        image: A picture that is opened but not loaded.
    """
    if not is_deep(image):
        return "8-bit"
    if image.mode == "F":
        return "32-bit float"
    bits = 8 if image.mode == "L" else 32 if image.mode == "I" else 16
    stored = getattr(image, "tag_v2", {}).get(ExifTags.Base.BitsPerSample, (bits,))[0]
    signed = _sample_format(image) == SIGNED
    return f"{stored}-bit signed" if signed else f"{stored}-bit"


def _has_deep_grey(image: Image.Image) -> bool:
    signed_bytes = image.mode == "L" and _sample_format(image) == SIGNED
    return signed_bytes or image.mode in {"I", "F"} or image.mode.startswith("I;16")


def _sample_format(image: Image.Image) -> int:
    return int(getattr(image, "tag_v2", {}).get(SAMPLE_FORMAT, (UNSIGNED,))[0])
