"""Hold one sample, or a batch of samples, as they are written to a store and read from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Mask value of ignored pixels: they count neither in the loss nor in a metric."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Hold one image with its mask and its attention maps."""

    id: str
    image: NDArray[np.uint8]
    """(row, column, 3) RGB."""
    mask: NDArray[np.uint8]
    """(row, column) class index; 255 is ignored. All 255 when the image has no mask."""
    attention: NDArray[np.float16]
    """(head, grid_row, grid_column) probability × number of keys: uniform attention is 1.0."""
    digest: str
    """SHA-256 of the image file's bytes, in hexadecimal."""
    height: int
    """Rows of the original image."""
    width: int
    """Columns of the original image."""
    group: str
    """The patient or lesion of the sample. All samples of a group are in one split. If none was given, it is the id."""
    labelled: bool
    """True if a mask was given."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Hold some samples' arrays, stacked along a first dimension in the order of the request."""

    indices: NDArray[np.int64]
    """(sample,) positions in the store."""
    image: NDArray[np.uint8]
    """(sample, row, column, 3) RGB."""
    mask: NDArray[np.uint8]
    """(sample, row, column) class index; 255 is ignored."""
    attention: NDArray[np.float16]
    """(sample, head, grid_row, grid_column) probability × number of keys."""
