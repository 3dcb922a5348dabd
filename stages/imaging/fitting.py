"""Keep the aspect of an image: place it on a black canvas that has the aspect of the store.

    canvas, in pixels of the file            the same at the store's size
    +----------------------------+           +-------------+
    |            black           |           |    black    |
    |----------------------------|   --->    |-------------|
    |            image           |           |    image    |
    |----------------------------|           |-------------|
    |            black           |           |    black    |
    +----------------------------+           +-------------+

The canvas is larger than the image along one axis only, by whole pixels of the file, and the image lies in its middle.
The whole canvas is stretched to every size: that of the store, that of the transformer's input, and back. So images,
masks, maps and predictions stay aligned as exactly as without a canvas. The aspect of the canvas is that of the store
up to the rounding to a whole pixel of the file.

The canvas itself is never in memory: the image is first shrunk along the axis that is not padded.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.imaging.resizing import resize_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["Canvas", "fit_image", "key_on_canvas"]

Rectangle = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels, with fractions."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Hold the place of an image on its canvas. All values are in pixels of the file."""

    image: Size
    """(height, width) of the image."""
    size: Size
    """(height, width) of the canvas; not less than the image along both axes, and the same along one."""

    @classmethod
    def around(cls, image: Size, aspect: Size | None) -> Canvas:
        """Return the canvas of an image.

        Args:
            image: (height, width).
            aspect: (height, width) of any picture with the aspect that the canvas shall have; None for the image's own.
        """
        if aspect is None:
            return cls(image=image, size=image)
        (height, width), (rows, columns) = image, aspect
        high, wide = max(height, round(width * rows / columns)), max(width, round(height * columns / rows))
        return cls(image=image, size=(high, width) if high > height else (height, wide))

    @property
    def top(self) -> int:
        """Row of the canvas at which the image begins."""
        return (self.size[0] - self.image[0]) // 2

    @property
    def left(self) -> int:
        """Column of the canvas at which the image begins."""
        return (self.size[1] - self.image[1]) // 2

    def box(self, size: Size) -> Rectangle:
        """Return the place of the image in a picture of the whole canvas.

        Args:
            size: (height, width) of the picture.
        """
        down, across = size[0] / self.size[0], size[1] / self.size[1]
        top, left = self.top * down, self.left * across
        bottom, right = (self.top + self.image[0]) * down, (self.left + self.image[1]) * across
        return left, top, right, bottom

    def outside(self, size: Size) -> NDArray[np.float32]:
        """Return the share of every pixel of a picture of the whole canvas that is not covered by the image.

        Args:
            size: (height, width) of the picture.

        Returns:
            (row, column) float32 in [0, 1].
        """
        left, top, right, bottom = self.box(size)
        return (1 - np.outer(_covered(top, bottom, size[0]), _covered(left, right, size[1]))).astype(np.float32)

    def pad(self, pixels: NDArray[Any], value: int) -> NDArray[Any]:
        """Return the whole canvas: (height, width, …) with `value` around the image."""
        if self.size == self.image:
            return pixels
        padded = np.full((*self.size, *pixels.shape[2:]), value, pixels.dtype)
        padded[self.top : self.top + self.image[0], self.left : self.left + self.image[1]] = pixels
        return padded


def fit_image(
    pixels: NDArray[np.uint8] | Image.Image, size: Size, canvas: Canvas, box: Rectangle | None = None
) -> NDArray[np.uint8]:
    """Stretch the canvas of an image to a size. Without padding this is `resize_image`.

    Args:
        pixels: (height, width, 3) uint8 RGB, or an image of mode L, RGB or RGBX; at its own size or reduced.
        size: (height, width) of the result.
        canvas: The canvas of the image.
        box: The place of the image in `pixels`; None for all of them.

    Returns:
        (size[0], size[1], 3) uint8 RGB, black around the image.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    if canvas.size == canvas.image or min(size) < 1:
        return resize_image(pixels, size, box)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    left, top, right, bottom = box or (0, 0, *image.size)
    if canvas.size[0] > canvas.image[0]:
        image = image.resize((size[1], image.height), Image.Resampling.BILINEAR, (left, 0, right, image.height))
        place = _place(top, bottom, image.height, canvas.top, canvas.image[0], canvas.size[0])
        padded = Image.new(image.mode, (image.width, place.pixels))
        padded.paste(_faded(image, top, bottom, axis=0), (0, place.before))
        return resize_image(padded, size, (0, place.start, padded.width, place.end))
    image = image.resize((image.width, size[0]), Image.Resampling.BILINEAR, (0, top, image.width, bottom))
    place = _place(left, right, image.width, canvas.left, canvas.image[1], canvas.size[1])
    padded = Image.new(image.mode, (place.pixels, image.height))
    padded.paste(_faded(image, left, right, axis=1), (place.before, 0))
    return resize_image(padded, size, (place.start, 0, place.end, padded.height))


def key_on_canvas(key: str, aspect: Size | None) -> str:
    """Return the memo's key for the attention of an image on a canvas.

    Args:
        key: The key of the image without a canvas, in hexadecimal.
        aspect: As in `Canvas.around`.
    """
    if aspect is None:
        return key
    divisor = math.gcd(*aspect)
    return hashlib.sha256(f"{key} aspect {aspect[0] // divisor}:{aspect[1] // divisor}".encode()).hexdigest()


@dataclass(frozen=True)
class _Place:
    """Hold a padded axis, in pixels of the picture that is padded."""

    before: int
    """Black pixels before the picture."""
    pixels: int
    """Pixels of the axis with the black ones."""
    start: float
    """Position at which the canvas begins."""
    end: float
    """Position at which the canvas ends."""


def _faded(image: Image.Image, first: float, last: float, *, axis: int) -> Image.Image:
    """Return a picture in which pixels are dark by the share of them that lies outside of the image.

    Args:
        image: A picture; a reduction may have left pixels at its border of which the image covers a part.
        first: Where the image begins along the axis.
        last: Where it ends.
        axis: 0 for rows, 1 for columns.
    """
    pixels = np.asarray(image)
    covered = _covered(first, last, pixels.shape[axis])
    if (covered == 1).all():
        return image
    shape = [1] * pixels.ndim
    shape[axis] = len(covered)
    return Image.frombytes(image.mode, image.size, np.rint(pixels * covered.reshape(shape)).astype(np.uint8).tobytes())


def _place(first: float, last: float, pixels: int, margin: int, side: int, canvas: int) -> _Place:
    """Return how an axis is padded.

    Args:
        first: Where the image begins in the picture.
        last: Where it ends.
        pixels: Pixels of the picture along this axis.
        margin: Pixels of the file before the image.
        side: Pixels of the file of the image.
        canvas: Pixels of the file of the canvas.
    """
    scale = (last - first) / side
    before = math.ceil(margin * scale)
    start = first + before - margin * scale
    end = start + canvas * scale
    return _Place(before, max(before + pixels, math.ceil(end)), start, end)


def _covered(low: float, high: float, pixels: int) -> NDArray[np.float64]:
    """Return the share of every pixel of an axis that lies from `low` to `high`."""
    edges = np.arange(pixels + 1, dtype=np.float64)
    covered: NDArray[np.float64] = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0, 1)
    return covered
