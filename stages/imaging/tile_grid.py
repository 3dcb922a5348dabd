"""Map an image to the coarser grid on which its tiles are predicted.

Tiles are predicted at the resolution of their rule. Together they make a picture of the whole image at that resolution:
the grid. A pixel of the grid covers `reduction` pixels of the image along each side. The last row and the last column
cover what remains, which may be less or, by up to half a pixel of the grid, more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.tiling import TileRule, tile_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["TileGrid", "rows_of_boxes", "sliding_boxes"]

OVERLAP = 0.25
"""Share of a tile that neighbouring windows have in common, at least; the default of MONAI's sliding windows."""


@dataclass(frozen=True)
class TileGrid:
    """Describe the grid of one image."""

    size: Size
    """(rows, columns) of the image in its full resolution."""
    reduction: float
    """Pixels of the image along one side of a pixel of the grid, at least 1."""
    tile: Size
    """(rows, columns) of a tile, in pixels of the grid."""

    @cached_property
    def shape(self) -> Size:
        """(rows, columns) of the grid, at least 1."""
        return max(1, round(self.size[0] / self.reduction)), max(1, round(self.size[1] / self.reduction))

    @cached_property
    def row_edges(self) -> NDArray[np.int64]:
        """(rows + 1,) first row of the image in every row of the grid, and the image's height at the end."""
        return _edges(self.size[0], self.shape[0], self.reduction)

    @cached_property
    def column_edges(self) -> NDArray[np.int64]:
        """(columns + 1,) first column of the image in every column of the grid, and the image's width at the end."""
        return _edges(self.size[1], self.shape[1], self.reduction)

    def place(self, box: Box) -> tuple[int, int]:
        """Return the (row, column) in the grid at which a tile starts.

        Args:
            box: Region of the image, as `tile_boxes` returns it. Its place is rounded to the nearest pixel of the grid.
        """
        row, column = (
            min(round(start / self.reduction), max(0, side - tile))
            for start, side, tile in zip(box[:2], self.shape, self.tile, strict=True)
        )
        return max(0, row), max(0, column)

    def source_rows(self, rows: int) -> NDArray[np.int64]:
        """Return, for a picture of the image with this many rows, the row of the grid that each shows, (rows,)."""
        return _nearest(rows, self.size[0], self.row_edges)

    def source_columns(self, columns: int) -> NDArray[np.int64]:
        """Return, for a picture of the image with this many columns, the column of the grid of each, (columns,)."""
        return _nearest(columns, self.size[1], self.column_edges)


def sliding_boxes(size: Size, rule: TileRule) -> list[Box]:
    """Return the regions of the windows that are predicted: the tiles of the rule, with enough overlap to blend them.

    Args:
        size: (rows, columns) of the image.
        rule: With a reduction. A smaller overlap than a quarter of the tile is raised to that.
    """
    overlap = max(rule.overlap, round(OVERLAP * min(rule.size)))
    return tile_boxes(size, replace(rule, overlap=min(overlap, min(rule.size) - 1)))


def rows_of_boxes(boxes: Sequence[Box]) -> list[list[Box]]:
    """Return boxes by their first row, from the top, each row from left to right."""
    rows: dict[int, list[Box]] = {}
    for box in sorted(boxes):
        rows.setdefault(box[0], []).append(box)
    return list(rows.values())


def _edges(side: int, cells: int, reduction: float) -> NDArray[np.int64]:
    edges: NDArray[np.int64] = np.minimum(np.rint(np.arange(cells + 1) * reduction).astype(np.int64), side)
    edges[-1] = side
    return edges


def _nearest(pixels: int, side: int, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    centres = ((np.arange(pixels) + 0.5) * side / pixels).astype(np.int64)
    cells: NDArray[np.int64] = np.searchsorted(edges, centres, side="right") - 1
    inside: NDArray[np.int64] = np.minimum(cells, len(edges) - 2)
    return inside
