"""Every head's map on a few images, as one picture to look at: a row per image, a column per head.

Each map is stretched to its own minimum and maximum, so brightness cannot be compared between maps; how strong a
head's contrast is stands in the history. Patches are drawn as squares, not smoothed.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

__all__ = ["draw_heads"]

TILE = 128
"""Side of an image or a map in the picture, in pixels."""
GAP, TITLE = 4, 16


def draw_heads(images: Tensor, maps: Tensor) -> bytes:
    """A PNG of images and their maps.

    Args:
        images: (n, 3, side, side) uint8 RGB.
        maps: (n, heads, rows, columns) float.
    """
    heads = maps.shape[1]
    step = TILE + GAP
    sheet = Image.new("RGB", (step * (heads + 1) + GAP, step * len(images) + TITLE + GAP), (24, 24, 24))
    writing = ImageDraw.Draw(sheet)
    for head in range(heads):
        writing.text((GAP + step * (head + 1), 2), f"H{head}", fill=(220, 220, 220))
    for row, (image, of_image) in enumerate(zip(images.numpy(), maps.numpy(), strict=True)):
        top = TITLE + GAP + step * row
        photo = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        sheet.paste(photo.resize((TILE, TILE), Image.Resampling.BILINEAR), (GAP, top))
        for head, values in enumerate(of_image):
            sheet.paste(
                _stretched(values).resize((TILE, TILE), Image.Resampling.NEAREST), (GAP + step * (head + 1), top)
            )
    content = io.BytesIO()
    sheet.save(content, format="PNG")
    return content.getvalue()


def _stretched(values: NDArray[np.float32]) -> Image.Image:
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))
