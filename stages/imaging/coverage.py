"""Compute how much of each pixel of a resized picture a region of the source covers, exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.settings import Size

__all__ = ["coverage_of"]


def coverage_of(
    region: NDArray[np.bool_], top: int, left: int, source: tuple[int, int], size: Size
) -> tuple[slice, slice, NDArray[np.float32]]:
    """Return the rows and columns of the result that a region touches, and its coverage of them.

    Args:
        region: (height, width) bool; a part of the source, at least 1 x 1.
        top: Its first row in the source.
        left: Its first column in the source.
        source: (height, width) of the source.
        size: (height, width) of the result.

    Returns:
        The slices of rows and columns, and (row, column) float32: the share of each of these pixels that the region
        covers, in [0, 1].
    """
    first_row, by_rows = _sum_rows(region, top, source[0], size[0])
    first_column, by_columns = _sum_rows(by_rows.T, left, source[1], size[1])
    coverage = by_columns.T
    return (
        slice(first_row, first_row + coverage.shape[0]),
        slice(first_column, first_column + coverage.shape[1]),
        np.ascontiguousarray(coverage),
    )


def _sum_rows(
    region: NDArray[np.bool_] | NDArray[np.float32], start: int, source: int, target: int
) -> tuple[int, NDArray[np.float32]]:
    """Add up the rows of a region that fall into each row of the result, by the share that they cover of it.

    The axis is cut at the edges of both kinds of rows. Each piece lies in one row of the source and in one row of the
    result. Lengths are whole numbers of a common unit: a row of the source has `target` units, a row of the result has
    `source` units. So no edge is rounded.

    Args:
        region: (rows, columns); rows `start`, `start` + 1, … of the source.
        start: Its first row in the source.
        source: Number of rows of the source.
        target: Number of rows of the result.

    Returns:
        The first row of the result, and (rows of the result, columns) float32.
    """
    stop = start + len(region)
    first, last = start * target // source, -(-stop * target // source)
    inner = np.arange(first + 1, last) * source
    cuts = np.sort(np.concatenate([np.arange(start, stop + 1) * target, inner]))  # equal cuts give a piece of length 0
    shares = (np.diff(cuts) / source).astype(np.float32)
    pieces = region[cuts[:-1] // target - start] * shares[:, None]
    begins = np.concatenate([[0], np.searchsorted(cuts, inner)])
    return first, np.add.reduceat(pieces, begins, axis=0)
