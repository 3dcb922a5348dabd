"""Encode the layers of a case as small image files, and fit the image into the bytes that are left.

A page embeds files as base64, so every byte of a file takes 4/3 bytes of the page. `embedded` counts them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["ImageFile", "embedded", "encode_image", "encode_maps", "encode_probability", "stretch"]

SIDES = (1024, 768, 576, 448, 320, 256, 192, 128, 96, 64)
"""Longest side of an image in pixels, tried from the largest on."""
QUALITIES = (82, 70, 55)
"""Qualities of WebP, 0 to 100, tried at every side."""
PROBE = 256
"""Longest side at which a large image is encoded first, to find the sides that are worth a try."""
PROBABILITY_SIDE = 96
GREY_LEVELS = 64
"""Grey levels of the attention maps, if there is room."""


@dataclass(frozen=True)
class ImageFile:
    """Hold an image as the bytes of a WebP file."""

    content: bytes
    size: tuple[int, int]
    """(height, width) in pixels."""


def embedded(content: bytes) -> int:
    """Return the characters that a file takes in a page, as base64."""
    return (len(content) + 2) // 3 * 4


def encode_image(image: NDArray[np.uint8], aspect: tuple[int, int], *, limit: int) -> ImageFile:
    """Encode an image as WebP, as large and as good as the limit allows.

    Args:
        image: (row, column, 3) uint8 RGB.
        aspect: (height, width) of any unit; the image is stretched to this aspect. It is never enlarged along both
            axes, and the longest side has at most 1,024 pixels.
        limit: Characters that it may take in the page. The smallest file is returned even if it takes more.
    """
    own = min(max(stretch(image.shape[:2], aspect)), SIDES[0])
    whole = Image.fromarray(image)
    sides = [own, *(side for side in SIDES if side < own)]
    if own > PROBE:
        taken = embedded(_webp(whole, _fit(aspect, PROBE), QUALITIES[1]))
        largest = PROBE * max(1.0, limit / taken) ** 0.7  # files grow a little more slowly than the number of pixels
        sides = [side for side in sides if side <= largest]
    for side in sides:
        for quality in QUALITIES:
            content = _webp(whole, _fit(aspect, side), quality)
            if embedded(content) <= limit:
                return ImageFile(content, _fit(aspect, side))
    return ImageFile(content, _fit(aspect, side))


def _webp(image: Image.Image, size: tuple[int, int], quality: int) -> bytes:
    """Return an image at a (height, width) as WebP."""
    content = io.BytesIO()
    shown = image if image.size == size[::-1] else image.resize(size[::-1], Image.Resampling.LANCZOS)
    shown.save(content, format="WEBP", quality=quality, method=4)
    return content.getvalue()


def stretch(size: tuple[int, ...], aspect: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest (height, width) of an aspect at which no axis of an image of this size is reduced."""
    scale = max(size[0] / aspect[0], size[1] / aspect[1])
    return max(1, round(aspect[0] * scale)), max(1, round(aspect[1] * scale))


def _fit(aspect: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (height, width) of this aspect whose longest side has so many pixels."""
    scale = side / max(aspect)
    return max(1, round(aspect[0] * scale)), max(1, round(aspect[1] * scale))


def encode_probability(probabilities: NDArray[np.float32]) -> bytes:
    """Encode the probability that a pixel is not background as a grey PNG of at most 96 pixels a side.

    Args:
        probabilities: (class, row, column) in [0, 1]; class 0 is the background.

    Returns:
        The bytes of the PNG: 0 is probability 0, 255 is 1. Pixels that are joined are averaged.
    """
    foreground = np.rint(np.clip(1 - probabilities[0], 0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(foreground)
    rows, columns = foreground.shape
    if max(rows, columns) > PROBABILITY_SIDE:
        scale = PROBABILITY_SIDE / max(rows, columns)
        size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
        picture = picture.resize(size, Image.Resampling.BOX)
    return _png(picture)


def encode_maps(
    attention: NDArray[np.floating], *, levels: int = GREY_LEVELS
) -> tuple[bytes, list[float], list[float]]:
    """Encode the attention maps of a sample as one grey PNG, every map on its own scale.

    Args:
        attention: (head, grid_row, grid_column) in the unit of the store; finite.
        levels: Number of grey levels, 2 to 256. Fewer levels make a smaller file.

    Returns:
        The PNG of all maps below each other; the lowest and the highest value of each map. Grey 0 is a map's lowest
        value and 255 its highest; a constant map is 0.
    """
    maps = attention.astype(np.float64)
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    spread = np.where(high > low, high - low, 1.0)
    share = (maps - low[:, None, None]) / spread[:, None, None]
    grey = np.rint(np.rint(share * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)
    return _png(Image.fromarray(grey.reshape(-1, grey.shape[2]))), low.tolist(), high.tolist()


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return content.getvalue()
