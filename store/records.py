"""What goes into a store and comes out of it: one sample, or a batch of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = 255
"""Mask value of pixels that count for nothing: neither in the loss nor in a metric."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image with its mask and its attention maps."""

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
    """What may not be torn apart by a split: a patient, a lesion. The id where nothing else was given."""
    labelled: bool
    """Whether a mask was given."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some samples' arrays, stacked along a first dimension in the order they were asked for."""

    indices: NDArray[np.int64]
    """(sample,) positions in the store."""
    image: NDArray[np.uint8]
    """(sample, row, column, 3) RGB."""
    mask: NDArray[np.uint8]
    """(sample, row, column) class index; 255 is ignored."""
    attention: NDArray[np.float16]
    """(sample, head, grid_row, grid_column) probability × number of keys."""


AnyArray = NDArray[Any]
