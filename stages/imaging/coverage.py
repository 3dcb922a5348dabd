"""Compute the share of every pixel that a region of a larger picture covers, exactly, with fractions of pixels."""

from __future__ import annotations

import math
from itertools import pairwise

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
        region: (height, width) bool; a part of the source.
        top: Its first row in the source.
        left: Its first column in the source.
        source: (height, width) of the source.
        size: (height, width) of the result.
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

    Returns:
        The first pixel of the result, and (pixels, stop - start) float32: the share of each pixel of the result that
        each source position covers.
    """
    step = source / target
    first, last = int(start / step), min(target, math.ceil(stop / step))
    edges = np.arange(first, last + 1) * step
    rows, columns, shares = [], [], []
    for row, (low, high) in enumerate(pairwise(edges)):
        positions = np.arange(max(start, math.floor(low)), min(stop, math.ceil(high)))
        overlap = np.minimum(positions + 1, high) - np.maximum(positions, low)
        rows.append(np.full(len(positions), row))
        columns.append(positions - start)
        shares.append(overlap / step)
    entries = (np.concatenate(shares).astype(np.float32), (np.concatenate(rows), np.concatenate(columns)))
    return first, sparse.csr_array(entries, shape=(last - first, stop - start))
