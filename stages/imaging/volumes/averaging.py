"""Average values over the pixels of a coarser grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.settings import Size

__all__ = ["average_to", "reduced_size"]


def reduced_size(size: Size, reduction: float) -> Size:
    """Return the (rows, columns) of a picture at a reduction: the nearest whole numbers, at least 1."""
    return max(1, round(size[0] / reduction)), max(1, round(size[1] / reduction))


def average_to(values: NDArray[Any], size: Size, box: tuple[float, float, float, float] | None = None) -> NDArray[Any]:
    """Shrink values to a size by the mean over the area of each pixel of the result.

    Args:
        values: (row, column) or (row, column, 3), a numeric type.
        size: (rows, columns) of the result.
        box: (left, top, right, bottom) of the region to shrink, in pixels, fractions allowed; None for all.

    Returns:
        (*size) or (*size, 3), of the type of `values`; float32 for types other than 8-bit, 16-bit and 32-bit numbers.
        Whole numbers are rounded.
    """
    if box is None and values.shape[:2] == tuple(size):
        return values
    target = (size[1], size[0])
    if values.dtype == np.uint8:
        return np.asarray(Image.fromarray(values).resize(target, Image.Resampling.BOX, box))
    channels = values[..., None] if values.ndim == 2 else values  # noqa: PLR2004 - grey
    means = [
        np.asarray(Image.fromarray(channels[..., at].astype(np.float32)).resize(target, Image.Resampling.BOX, box))
        for at in range(channels.shape[2])
    ]
    result = np.stack(means, axis=2)
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:  # noqa: PLR2004 - bytes
        result = np.rint(result).astype(values.dtype)
    return result[..., 0] if values.ndim == 2 else result  # noqa: PLR2004 - grey
