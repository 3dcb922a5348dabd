"""An image file to 8-bit RGB, by rules that are written down.

| the file holds                       | it becomes                                                       |
|--------------------------------------|------------------------------------------------------------------|
| 8-bit RGB                            | itself                                                           |
| 8-bit grey; 2 and 4 bits (PNG)       | repeated to three channels; 2 and 4 bits spread over 0-255       |
| 1 bit                                | 0 and 255                                                        |
| palette                              | its colours                                                      |
| alpha or a transparent colour, 8-bit | composited on black                                              |
| CMYK, YCbCr, LAB                     | RGB as Pillow converts it; embedded colour profiles are not used |
| grey in 16 or 32 bits, float, signed | its own minimum-maximum linearly to 0-255; a constant one to 0   |
| 16-bit RGB, RGBA, CMYK, grey + alpha | the high byte of every value: Pillow reads no more               |
| EXIF orientation (TIFF and XMP too)  | applied; height and width are those of the upright image         |

Refused, each with a message that says what to do: NaN or infinity in a float image, several pages or
frames, other formats than PNG, JPEG, BMP and TIFF by content, whatever is empty, truncated, damaged,
unreadable or beyond Pillow's limit against decompression bombs (see `stages.imaging.opening`).

Scaling by the image's own extremes keeps everything a scan in 12 or 16 bits shows, at the price that
brightness can no longer be compared between such images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.imaging.opening import deep_values, open_picture, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["DecodedImage", "read_image"]


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image's pixels, and the digest of the file they came from."""

    pixels: NDArray[np.uint8]
    """(height, width, 3) uint8 RGB, writable and contiguous, upright."""
    digest: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""

    @property
    def height(self) -> int:
        """Rows of the upright image."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of the upright image."""
        return int(self.pixels.shape[1])


def read_image(path: Path) -> DecodedImage:
    """Read an image file by the rules above.

    Args:
        path: a PNG, JPEG, BMP or TIFF file, told by its content.

    Returns:
        Its pixels and its digest, both from the same bytes: the file is read once.

    Raises:
        InputProblemsError: the file cannot be used; holds one problem that says why.
    """
    picture = open_picture(path)
    deep = deep_values(picture.image)
    pixels = _colour(picture.image) if deep is None else _grey(path, deep)
    return DecodedImage(pixels, picture.digest)


def _colour(image: Image.Image) -> NDArray[np.uint8]:
    """An image of 8 bits or fewer as RGB."""
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.array(image.convert("RGB"))  # array, not asarray: a view of Pillow's memory would be read-only


def _grey(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    """A deep single-channel image as RGB, scaled by its own extremes."""
    unusable = int(values.size - np.isfinite(values).sum())
    if unusable:
        refuse(path, f"{unusable} of {values.size} pixels are NaN or infinite; give them a value or drop the image")
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.zeros((*values.shape, 3), np.uint8)
    scaled = (values.astype(np.float64) - low) * 255.0 / (high - low)
    return np.repeat(np.rint(scaled).astype(np.uint8)[..., None], 3, axis=2)
