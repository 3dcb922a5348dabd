"""Leave out tiles that show nothing: glass without tissue, or the black border of a scan.

A tile is left out if at least a given share of it is plain. A pixel is plain if all of its channels are at least
`WHITE_FROM`, or all at most `BLACK_UP_TO`. This is decided on a small picture of the image, of which every pixel is the
mean over a square of about 1/32 of a tile. A tile with labels is always kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from stages.imaging.decoding import read_image
from stages.imaging.label_regions import read_labels_of_part
from stages.imaging.levels import read_from_level
from stages.imaging.resizing import resize_image
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.whole_size import whole_image_size
from store.records import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from stages.imaging.image_rules import ImageRules
    from stages.imaging.labels import LabelRules
    from stages.imaging.parts import Box
    from stages.imaging.samples import SourceSample
    from stages.settings import Size

__all__ = ["with_content"]

WHITE_FROM, BLACK_UP_TO = 230, 15
CELLS = 32
"""Squares along the shorter side of a tile."""
AT_A_TIME = 2**25
"""Pixels of an image that are read at a time."""


def with_content(
    tiles: Sequence[SourceSample], share: float, images: ImageRules, labels: LabelRules
) -> list[SourceSample]:
    """Return the tiles of one image that show something, or have labels.

    Args:
        tiles: All tiles of the image.
        share: A tile is left out if at least this share of it is plain white or black.
        images: How the image is read.
        labels: How its labels are read.

    Raises:
        InputProblemsError: the image or its labels cannot be read.
    """
    boxes = [tile.part.box for tile in tiles if tile.part.box is not None]
    plain = _plain_shares(tiles[0], boxes, images)
    return [tile for tile, part in zip(tiles, plain, strict=True) if part < share or _has_labels(tile, labels)]


def _has_labels(tile: SourceSample, rules: LabelRules) -> bool:
    if not tile.masks or tile.part.box is None:
        return False
    mask = read_labels_of_part(tile.masks, rules, tile.part.box[2:]).mask
    return bool(((mask != 0) & (mask != IGNORE)).any())


def _plain_shares(tile: SourceSample, boxes: Sequence[Box], images: ImageRules) -> list[float]:
    """Return for every region the share of it that is plain, 0 to 1."""
    step = max(1, min(boxes[0][2:]) // CELLS)
    plain = _plain_cells(tile, step, images)
    table = np.zeros((plain.shape[0] + 1, plain.shape[1] + 1), np.int64)  # sums of all cells above and to the left
    table[1:, 1:] = plain.cumsum(0, dtype=np.int64).cumsum(1)
    shares = []
    for row, column, rows, columns in boxes:
        top, left = row // step, column // step
        bottom, right = (
            min(-(-(row + rows) // step), plain.shape[0]),
            min(-(-(column + columns) // step), plain.shape[1]),
        )
        inside = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        shares.append(float(inside) / ((bottom - top) * (right - left)))
    return shares


def _plain_cells(tile: SourceSample, step: int, images: ImageRules) -> NDArray[np.bool_]:
    """Return (row, column) True for the squares of `step` x `step` pixels of the whole image that are plain.

    Volumes are read a few rows of squares at a time, from a lower resolution where the file has one.
    """
    size = whole_image_size(tile.image, tile.part)
    rows = size[0]
    if is_volume_file(tile.image):
        rows = max(1, AT_A_TIME // (size[1] * step)) * step
    cells = np.concatenate([_cells(tile, (row, rows), size, step, images) for row in range(0, size[0], rows)])
    plain: NDArray[np.bool_] = (cells.min(axis=2) >= WHITE_FROM) | (cells.max(axis=2) <= BLACK_UP_TO)
    return plain


def _cells(tile: SourceSample, rows: tuple[int, int], size: Size, step: int, images: ImageRules) -> NDArray[np.uint8]:
    """Return the means of the squares in some rows of the image, given as (first row, number of rows)."""
    first, count = rows[0], min(rows[1], size[0] - rows[0])
    part = replace(tile.part, box=(first, 0, count, size[1]))
    wanted = -(-count // step), -(-size[1] // step)
    coarse = read_from_level(tile.image, part, wanted, images.window)
    if coarse is not None:
        return resize_image(coarse, wanted)
    pixels = read_image(tile.image, part, images.window).pixels
    return np.asarray(Image.fromarray(pixels).reduce(step))
