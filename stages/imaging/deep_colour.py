"""Read colour pictures of 16 bits per channel in full.

Pillow opens such a picture in 8 bits: its raw mode (`RGB;16B`: big-endian) keeps the high byte of every value. A camera
or scanner of 12 bits leaves most of that byte empty, and the picture becomes black. Here the file is decoded twice. The
second time its raw mode has the opposite byte order, so Pillow keeps the low byte. Both bytes together are the value.

Raw modes are part of Pillow's documented interface for decoders. A test compares the result with another reader.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

__all__ = ["byte_modes", "is_deep_in_planes", "join_bytes", "raw_mode", "set_raw_mode"]

ORDERS = {"L": "B", "B": "L"}
"""The other byte order."""
NATIVE = "L" if sys.byteorder == "little" else "B"
PREMULTIPLIED = "RGBa"
GREY_WITH_ALPHA = "LA;16B"
EIGHT = 8  # bits
IN_PLANES = 2  # value of TIFF's tag PlanarConfiguration
COLOURS = ("RGB", "RGBX", "RGBA", PREMULTIPLIED)


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Return the raw mode of a picture that is not loaded; an empty text if it has none."""
    args: Any = image.tile[0].args if image.tile else ""
    raw = args[0] if isinstance(args, tuple) and args else args
    return raw if isinstance(raw, str) else ""


def byte_modes(image: ImageFile.ImageFile) -> tuple[str, str] | None:
    """Return the raw modes that give the high and the low byte of a colour picture of 16 bits; None for any other.

    Args:
        image: A picture that is opened but not loaded.
    """
    raw = raw_mode(image)
    if raw == GREY_WITH_ALPHA:
        return "RGBA", "RGBA"  # the four bytes of a pixel: both of grey, then both of alpha
    colours, _, depth = raw.partition(";16")
    if colours not in COLOURS or depth not in {"L", "B", "N"}:
        return None
    # Read as plain RGBA, or Pillow would divide the low byte of a colour by the low byte of alpha.
    channels = "RGBA" if colours == PREMULTIPLIED else colours
    order = NATIVE if depth == "N" else depth
    return f"{channels};16{order}", f"{channels};16{ORDERS[order]}"


def set_raw_mode(image: ImageFile.ImageFile, raw: str) -> None:
    """Make Pillow decode an opened picture by another raw mode."""
    image.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw) for tile in image.tile
    ]


def join_bytes(raw: str, high: Image.Image, low: Image.Image) -> NDArray[np.uint16]:
    """Return the full values of a picture whose two bytes were decoded apart.

    Args:
        raw: The raw mode of the file, as `byte_modes` saw it.
        high: The picture with the high bytes, loaded.
        low: The same with the low bytes.

    Returns:
        (height, width, 3) uint16 RGB; (height, width, 4) with alpha if the colours are not multiplied by it already.
    """
    upper, lower = (np.asarray(half).astype(np.uint16) for half in (high, low))
    if raw == GREY_WITH_ALPHA:
        grey, alpha = (upper[..., at] << np.uint16(8) | upper[..., at + 1] for at in (0, 2))
        return np.stack([grey, grey, grey, alpha], axis=2)
    values: NDArray[np.uint16] = upper << np.uint16(8) | lower
    return values if raw.startswith("RGBA") else values[..., :3]


def is_deep_in_planes(image: Image.Image) -> bool:
    """Return True for a TIFF of 16-bit channels that are stored one after the other: Pillow reads wrong values."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, ())
    return len(bits) > 1 and max(bits) > EIGHT and tags.get(ExifTags.Base.PlanarConfiguration) == IN_PLANES
