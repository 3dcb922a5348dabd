"""Draw the attention of every head as one picture: a row per image, a column per head.

Brightness is the logarithm of attention, stretched from the 2nd to the 98th percentile of each map. So a head that puts
nearly all its attention on a few patches still shows the rest of its map. Brightness cannot be compared between maps;
`pipeline inspect --stats` prints numbers for that. Patches are drawn as squares and not smoothed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stages.pictures.marked import heads_mark
from store.records import IGNORE

__all__ = ["draw_heads"]

TILE = 128
"""Longer side of an image or a map in the picture, in pixels."""
GAP, TITLE = 4, 16
LOWEST_ATTENTION = 1e-4
"""Lower bound of attention before the logarithm, relative to the mean of the map."""
UNKNOWN = (70, 90, 160)
"""Colour of ignored pixels and of images without a mask: blue, because greys are classes."""


def draw_heads(
    images: NDArray[np.uint8],
    maps: NDArray[np.floating],
    *,
    heads: Sequence[str],
    masks: NDArray[np.uint8] | None = None,
) -> bytes:
    """Draw images and their attention maps.

    Args:
        images: (n, row, column, 3) uint8 RGB.
        maps: (n, head, grid_row, grid_column) float, 0 or more, in any unit.
        heads: Name of each head, written above its column.
        masks: (n, row, column) uint8 class index, drawn between image and maps; 255 is ignored and drawn in blue, as
            is all of an image without a mask. None for no column of masks.

    Returns:
        The bytes of a PNG with the mark of `stages.pictures.marked`.
    """
    rows, columns = images.shape[1:3]
    tile = (round(TILE * rows / max(rows, columns)), round(TILE * columns / max(rows, columns)))
    titles = ["", *([] if masks is None else ["mask"]), *heads]
    sheet = Image.new(
        "RGB", ((tile[1] + GAP) * len(titles) + GAP, (tile[0] + GAP) * len(images) + TITLE + GAP), (24, 24, 24)
    )
    pen = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        pen.text((GAP + (tile[1] + GAP) * column, 2), title, fill=(220, 220, 220))
    for row, image in enumerate(images):
        shown = [Image.fromarray(image).resize(tile[::-1], Image.Resampling.BILINEAR)]
        if masks is not None:
            shown.append(Image.fromarray(_class_colours(masks[row])).resize(tile[::-1], Image.Resampling.NEAREST))
        shown += [
            Image.fromarray(_stretch_contrast(one)).resize(tile[::-1], Image.Resampling.NEAREST) for one in maps[row]
        ]
        for column, picture in enumerate(shown):
            sheet.paste(picture, (GAP + (tile[1] + GAP) * column, TITLE + GAP + (tile[0] + GAP) * row))
    content = io.BytesIO()
    sheet.save(content, format="PNG", pnginfo=heads_mark())
    return content.getvalue()


def _class_colours(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return class indices (row, column) as evenly spread greys, (row, column, 3) uint8; ignored pixels in blue."""
    ignored = mask == IGNORE
    highest = max(int(mask[~ignored].max(initial=0)), 1)
    greys = (mask.astype(np.float32) * (255 / highest)).clip(0, 255).astype(np.uint8)
    colours = np.repeat(greys[..., np.newaxis], 3, axis=-1)
    colours[ignored] = UNKNOWN
    return colours


def _stretch_contrast(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    attention = values.astype(np.float64)
    logarithm = np.log(
        np.maximum(attention, max(float(attention.mean()), np.finfo(np.float64).tiny) * LOWEST_ATTENTION)
    )
    low, high = np.percentile(logarithm, [2, 98])
    spread: NDArray[np.float64] = ((logarithm - low) / max(high - low, 1e-12)).clip(0, 1)
    return np.rint(spread * 255).astype(np.uint8)
