"""Add up areas and confidences of the classes of one image, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.pixel_sizes import pixel_area
from stages.prediction.table import Row
from stages.segmentation.decisions import region_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.tile_grid import TileGrid
    from stages.segmentation.metrics import PixelSize

__all__ = ["Totals"]


class Totals:
    """Hold the sums over the rows that were seen so far."""

    def __init__(self, grid: TileGrid, classes: int, *, multilabel: bool) -> None:
        """Start with nothing seen.

        Args:
            grid: Gives the pixels of the image that a pixel of the grid covers.
            classes: Number of classes, the background included.
            multilabel: Masks hold one bit for each label.
        """
        self._heights = np.diff(grid.row_edges)
        self._widths = np.diff(grid.column_edges)
        self._size = grid.size
        self._multilabel = multilabel
        self._areas = np.zeros(classes, np.int64)
        self._confidences = np.zeros(classes, np.float64)
        self._row = 0

    def add(self, probabilities: NDArray[np.float32], mask: NDArray[np.uint8]) -> None:
        """Add rows.

        Args:
            probabilities: (class, row, column).
            mask: (row, column) the decision.
        """
        heights = self._heights[self._row : self._row + len(mask)]
        for index in range(1, len(self._areas)):
            region = region_of(mask, index, multilabel=self._multilabel)
            self._areas[index] += int(heights @ (region @ self._widths))
            sure = np.where(region, probabilities[index], np.float32(0)) @ self._widths.astype(np.float64)
            self._confidences[index] += float(heights @ sure)
        self._row += len(mask)

    def row(self, identifier: str, name: str, index: int, *, objects: int, pixel_mm: PixelSize | None) -> Row:
        """Return the row of the table for one class; see `stages.prediction.table`."""
        area = int(self._areas[index])
        return Row(
            id=identifier,
            class_name=name,
            area_px=area,
            area_mm2=None if pixel_mm is None else area * pixel_area(pixel_mm),
            share=area / (self._size[0] * self._size[1]),
            objects=objects,
            mean_confidence=self._confidences[index] / area if area else None,
        )
