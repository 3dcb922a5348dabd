"""Images, masks and probabilities to another size, all on the same sampling grid.

Sizes are (height, width) and the whole picture is stretched to them: the reference preprocessing of
DINO does not keep the aspect. Pixel centres lie at half-integers in every function here, so a shape
stays where it is, and image, mask and probabilities stay on top of each other.

    image           bilinear, widened when shrinking (antialias), in 8 bits: torchvision's `Resize` on a PIL image
    mask            nearest: no class is invented, 255 (ignore) included
    probabilities   bilinear in float32, widened when shrinking: weights sum to 1, so probabilities still do
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
    pixels: NDArray[np.uint8], size: Size, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    """Stretch an image to a size, byte for byte as `torchvision.transforms.Resize(size)` does to a PIL image.

    Args:
        pixels: (height, width, 3) uint8 RGB.
        size: (height, width) of the result, at least 1 x 1.
        box: (left, top, right, bottom) of what to stretch, in pixels of `pixels` and parts of them; None for all.

    Returns:
        (size[0], size[1], 3) uint8 RGB.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    return np.array(Image.fromarray(pixels).resize(_columns_rows(size), Image.Resampling.BILINEAR, box))


def resize_mask(mask: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Stretch a mask to a size by taking the nearest pixel.

    Args:
        mask: (height, width) uint8 class indices.
        size: (height, width) of the result, at least 1 x 1.

    Returns:
        (size[0], size[1]) uint8, holding no value that `mask` does not hold.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    return np.array(Image.fromarray(mask).resize(_columns_rows(size), Image.Resampling.NEAREST))


def resize_probabilities(probabilities: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Stretch maps of class probabilities to a size, as when a prediction goes back to its image's original size.

    Args:
        probabilities: (classes, height, width) float32.
        size: (height, width) of the result, at least 1 x 1.

    Returns:
        (classes, size[0], size[1]) float32, within the range of `probabilities`; where classes summed to 1 they still
        do, to rounding.

    Raises:
        UsageError: a side of `size` is less than 1.
    """
    target = _columns_rows(size)
    maps = [Image.fromarray(one).resize(target, Image.Resampling.BILINEAR) for one in probabilities]
    return np.stack([np.asarray(one) for one in maps])


def _columns_rows(size: Size) -> tuple[int, int]:
    """The size in Pillow's order."""
    height, width = size
    if height < 1 or width < 1:
        raise UsageError(f"size {height}x{width}: a picture has at least one row and one column. Give HEIGHTxWIDTH.")
    return width, height
