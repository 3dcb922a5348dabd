"""Resize images, masks and probabilities, all on the same sampling grid.

Sizes are (height, width). The whole picture is stretched to the new size without keeping its aspect, like the reference
preprocessing of DINO; `stages.imaging.fitting` keeps the aspect. Pixel centres are at half-integers in every function
here, so shapes keep their place, and image, mask and probabilities stay aligned.

    image           bilinear with antialias, in 8 bits, like torchvision's `Resize` on a PIL image
    mask            nearest neighbour: no new value appears, not even next to 255 (ignore)
    probabilities   bilinear with antialias, in float32: the weights sum to 1, so the probabilities still do
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["resize_image", "resize_mask", "resize_probabilities"]


def resize_image(
    pixels: NDArray[np.uint8] | Image.Image, size: Size, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Stretch an image to a size. The bytes equal those of `torchvision.transforms.Resize(size)` on a PIL image.

    Args:
        pixels: (height, width, 3) uint8 RGB, or an image of mode L, RGB or RGBX. An image is not copied first.
        size: (height, width) of the result, at least 1 x 1.
        box: (left, top, right, bottom) of the region to stretch, in pixels, fractions allowed; None for all.

    Returns:
        (size[0], size[1], 3) uint8 RGB.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    resized = np.array(image.resize(_columns_rows(size), Image.Resampling.BILINEAR, box))
    if resized.ndim == 2:  # noqa: PLR2004 - grey
        return np.repeat(resized[..., None], 3, axis=2)
    return resized if resized.shape[2] == 3 else np.ascontiguousarray(resized[..., :3])  # noqa: PLR2004 - RGB


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Stretch a mask to a size by nearest neighbour.

    Args:
        mask: (height, width) uint8 class indices.
        size: (height, width) of the result, at least 1 x 1.

    Returns:
        (size[0], size[1]) uint8; every value in it occurs in `mask`.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    return np.array(Image.fromarray(mask).resize(_columns_rows(size), Image.Resampling.NEAREST))


def resize_probabilities(
    probabilities: NDArray[np.float32], size: Size, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    """Stretch class probabilities to a size, for example to the original size of the image.

    Args:
        probabilities: (classes, height, width) float32.
        size: (height, width) of the result, at least 1 x 1.
        box: (left, top, right, bottom) of the region to stretch, in pixels, fractions allowed; None for all. The result
            is the same as if everything were stretched and then cut.

    Returns:
        (classes, size[0], size[1]) float32 within the range of `probabilities`. If the classes of every pixel summed to
        1, they still do, up to rounding.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    target = _columns_rows(size)
    maps = [Image.fromarray(one).resize(target, Image.Resampling.BILINEAR, box) for one in probabilities]
    return np.stack([np.asarray(one) for one in maps])


def _columns_rows(size: Size) -> tuple[int, int]:
    """Return the size in Pillow's order, (width, height), after checking it."""
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"size {height}x{width}: a picture has at least one row and one column. Give 1x1 or more.")
    return width, height
