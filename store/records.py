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
    """(row, column) class index; 255 is ignored. All 255 when the image has no mask. In a store whose labels may
    overlap, bit k - 1 is set where label k is."""
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
    instances: NDArray[np.uint16] | None = None
    """(row, column) number of the object of each pixel, from 1; 0 where there is none. None in a store without them."""
    objects: int | None = None
    """Number of separate objects in the source mask, over all foreground classes."""
    lost_objects: int | None = None
    """Number of those that have no pixel in `mask`, because they are too small for the store's size."""
    lost_classes: str | None = None
    """Indices of the classes that the source mask has and `mask` has not, such as `1,3`; "" if there are none."""
    perceptual_hash: str | None = None
    """Hash of the image's coarse structure, 16 hexadecimal digits: images that look the same differ in few bits."""
    parent: str | None = None
    """Id of the larger image or volume that the sample is a part of."""
    slice: int | None = None
    """Position of the sample's slice in the parent, from 0."""
    row: int | None = None
    """Row of the sample's first pixel in the parent, in the parent's pixels; negative if it begins before it."""
    column: int | None = None
    """Column of the sample's first pixel in the parent."""
    pixel_mm: str | None = None
    """Millimetres between rows and between columns of the original image, such as `0.75 0.5`; "" if not known."""
    mask_digest: str | None = None
    """Digest of the files that hold the sample's labels, 64 hexadecimal digits; "" without labels."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Hold some samples' arrays, stacked along a first dimension in the order of the request."""

    indices: NDArray[np.int64]
    """(sample,) positions in the store."""
    image: NDArray[np.uint8]
    """(sample, row, column, 3) RGB."""
    mask: NDArray[np.uint8]
    """(sample, row, column) class index, or one bit for each label; 255 is ignored."""
    attention: NDArray[np.float16]
    """(sample, head, grid_row, grid_column) probability × number of keys."""
