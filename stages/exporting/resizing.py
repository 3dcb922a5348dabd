"""Resize images inside a graph exactly as Pillow does: bilinear with antialias, in 8 bits.

The pipeline resizes with Pillow (`stages.imaging.resizing`). The resize of ONNX and that of torch round differently.
Here every pass is a product with a constant matrix, which all runtimes have:

    image (row, column)  →  image · horizontalᵀ, rounded to 8 bits  →  vertical · image, rounded to 8 bits

Which pass comes first depends on the sizes and on the version of Pillow, so the installed one is asked.

The coefficients are those of Pillow's `src/libImaging/Resample.c`: a triangle over `max(1, scale)` source pixels,
normalised, in units of 2⁻²². A sum of 8-bit values times 22-bit coefficients does not fit into float32. So each
coefficient is split into two parts of 11 bits, whose sums are whole numbers below 2²⁴ and therefore exact:

    floor((2¹¹ high + low + 2²¹) / 2²²) = floor((high + 2¹⁰ + floor(low / 2¹¹)) / 2¹¹)

So the bytes are those of Pillow, in float32 alone, as long as fewer than 33 source pixels make one pixel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from stages.settings import Size

__all__ = ["PillowResize", "coefficients"]

BITS = 22
"""Binary digits of a coefficient in Pillow: `PRECISION_BITS` for 8-bit images."""
HALF = 2 ** (BITS // 2)
"""Values of one of the two parts of a coefficient."""
ENOUGH = 2048
"""Pixels of noise that show which pass comes first."""


class PillowResize(nn.Module):
    """Resize images of one size to another one.

    Args:
        size: (rows, columns) of the images that come.
        target: (rows, columns) of the images that leave.
        box: (left, top, right, bottom) of the region to resize, in pixels, fractions allowed; None for all.
    """

    def __init__(self, size: Size, target: Size, box: tuple[float, float, float, float] | None = None) -> None:
        super().__init__()
        left, top, right, bottom = box or (0.0, 0.0, float(size[1]), float(size[0]))
        self.horizontal = _Pass(coefficients(size[1], target[1], left, right).T)
        self.vertical = _Pass(coefficients(size[0], target[0], top, bottom))
        self.vertical_first = self._differing(size, target, box, vertical_first=True) < self._differing(
            size, target, box, vertical_first=False
        )

    def _differing(
        self, size: Size, target: Size, box: tuple[float, float, float, float] | None, *, vertical_first: bool
    ) -> int:
        """Return the number of pixels that differ from those of Pillow, for images of noise.

        In a small image both orders may give the same bytes by chance, so there are more of them.
        """
        self.vertical_first = vertical_first
        count = 1 + ENOUGH // (target[0] * target[1])
        noise = np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8)
        wanted = [Image.fromarray(one).resize(target[::-1], Image.Resampling.BILINEAR, box) for one in noise]
        found = self(torch.from_numpy(noise)[:, None].float())[:, 0].numpy()
        return int((found != np.stack(list(map(np.asarray, wanted)))).sum())

    def forward(self, image: Tensor) -> Tensor:
        """Return (batch, channel, *target) float32 whole numbers in [0, 255].

        Args:
            image: (batch, channel, *size) float32 whole numbers in [0, 255].
        """
        if self.vertical_first:
            image = self.vertical(image, from_left=True)
        image = self.horizontal(image, from_left=False)
        return image if self.vertical_first else self.vertical(image, from_left=True)


class _Pass(nn.Module):
    """Multiply with a matrix of coefficients, and round as Pillow does. An identity changes nothing."""

    high: Tensor
    low: Tensor

    def __init__(self, matrix: NDArray[np.int64]) -> None:
        super().__init__()
        high, low = np.divmod(matrix, HALF)
        self.identity = matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(matrix)) * 2**BITS).all())
        self.register_buffer("high", torch.from_numpy(high.astype(np.float32)), persistent=False)
        self.register_buffer("low", torch.from_numpy(low.astype(np.float32)), persistent=False)

    def forward(self, image: Tensor, *, from_left: bool) -> Tensor:
        """Return the product with the matrix on the left, or with the image on the left, in whole numbers."""
        if self.identity:
            return image
        high, low = (part @ image if from_left else image @ part for part in (self.high, self.low))
        rounded: Tensor = ((high + HALF // 2 + (low / HALF).floor()) / HALF).floor()
        return rounded.clamp(0, 255)


def coefficients(pixels: int, target: int, start: float, end: float) -> NDArray[np.int64]:
    """Return Pillow's coefficients of one axis, (target, pixels) in units of 2⁻²².

    Args:
        pixels: of the axis that is resized.
        target: pixels of the result.
        start: where the region begins, in pixels.
        end: where it ends.
    """
    scale = (end - start) / target
    support = max(scale, 1.0)
    matrix = np.zeros((target, pixels), np.int64)
    for position in range(target):
        centre = start + (position + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), pixels)
        weights = [max(0.0, 1.0 - abs((at - centre + 0.5) / support)) for at in range(first, last)]
        total = math.fsum(weights)
        matrix[position, first:last] = [int(0.5 + weight / total * 2**BITS) for weight in weights]
    return matrix
