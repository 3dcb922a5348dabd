"""Composite the colours of a TIFF on black by their opacity, as Pillow does it for pictures.

| tag ExtraSamples          | the fourth value is                       | the result            |
|---------------------------|-------------------------------------------|-----------------------|
| 2 (not associated)        | an opacity that was not applied yet       | colours times opacity |
| 1 (associated)            | an opacity by which colours are multiplied | the colours           |
| 0 (not specified), or none | no opacity                                | the colours           |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["on_black"]

COLOURS = 3
NOT_ASSOCIATED = 2


def on_black(values: NDArray[Any], extra_samples: Sequence[int]) -> NDArray[Any]:
    """Return colours without their opacity.

    Args:
        values: (row, column, 3 or more) of any numeric type.
        extra_samples: Values of the tag ExtraSamples, one for each value of a pixel beyond red, green and blue.

    Returns:
        (row, column, 3), of the same type.
    """
    if values.shape[2] == COLOURS:
        return values
    colours = values[..., :COLOURS]
    if not extra_samples or int(extra_samples[0]) != NOT_ASSOCIATED or values.dtype.kind != "u":
        return np.ascontiguousarray(colours)
    opacity = values[..., COLOURS : COLOURS + 1] / np.float32(np.iinfo(values.dtype).max)
    return np.rint(colours * opacity).astype(values.dtype)
