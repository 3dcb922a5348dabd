"""Compute the share of every pixel that a region of a larger picture covers, exactly, with fractions of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

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
    first_row, by_row = _weights(top, top + region.shape[0], source[0], size[0])
    first_column, by_column = _weights(left, left + region.shape[1], source[1], size[1])
    coverage = (by_column @ (by_row @ region.astype(np.float32)).T).T
    return (
        slice(first_row, first_row + coverage.shape[0]),
        slice(first_column, first_column + coverage.shape[1]),
        np.ascontiguousarray(coverage),
    )


def _weights(start: int, stop: int, source: int, target: int) -> tuple[int, sparse.csr_array]:
    """Return how source positions `start` to `stop` of an axis fall into the pixels of the result.

    The axis is cut at the edges of both kinds of pixels. Each piece lies in one position of the source and in one pixel
    of the result. Lengths are counted in units in which both pixels have whole lengths: a position of the source has
    `target` units, a pixel of the result has `source` units. So no edge is rounded.

    Returns:
        The first pixel of the result, and (pixels, stop - start) float32: the share of each pixel of the result that
        each source position covers.
    """
    first, last = start * target // source, -(-stop * target // source)
    inner = np.arange(first + 1, last) * source
    cuts = np.union1d(np.arange(start, stop + 1) * target, inner)
    shares = (np.diff(cuts) / source).astype(np.float32)
    columns = cuts[:-1] // target - start
    ends = np.searchsorted(cuts[:-1], np.append(inner, stop * target))  # the pieces of a pixel are neighbours
    pointers = np.concatenate([[0], ends])
    return first, sparse.csr_array((shares, columns, pointers), shape=(last - first, stop - start))
