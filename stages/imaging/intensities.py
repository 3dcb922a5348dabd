"""Convert values of more than 8 bits to 8 bits by one rule for all images of a store.

| rule              | black and white are                                                                            |
|-------------------|------------------------------------------------------------------------------------------------|
| `percentiles`     | the 0.5th and the 99.5th percentile of all values of the file; see `PERCENTILES`               |
| `minmax`          | the lowest and the highest value of the image; the rule of stores that record none             |
| `file`            | what the file itself says, such as the window of a DICOM file; `percentiles` where it says none |
| `LOW:HIGH`        | these two values                                                                               |

Values in between are scaled linearly; values outside become 0 or 255.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MINMAX", "PERCENTILES", "RULES", "IntensityRule", "to_8_bits"]

PERCENTILES = (0.5, 99.5)
RULES = ("percentiles", "minmax", "file")
VALUES_AT_A_TIME = 2**20


@dataclass(frozen=True, kw_only=True)
class IntensityRule:
    """Hold the rule by which values become 8-bit values."""

    name: str = "minmax"
    """A name in `RULES`, or `values`."""
    low: float | None = None
    """The value that becomes 0; with `values` only."""
    high: float | None = None
    """The value that becomes 255; with `values` only."""

    @classmethod
    def parse(cls, text: str) -> IntensityRule:
        """Return the rule that the user writes: a name, or `LOW:HIGH`.

        Raises:
            UsageError: it is neither, or the two values are not in order.
        """
        if text in RULES:
            return cls(name=text)
        first, found, second = text.partition(":")
        try:
            low, high = float(first), float(second)
        except ValueError:
            found = ""
        if not found or not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(
                f"--window {text}: is neither {', '.join(RULES)} nor two values LOW:HIGH, the lower one first, such as "
                "-160:240."
            )
        return cls(name="values", low=low, high=high)

    def __str__(self) -> str:
        return self.name if self.low is None else f"{self.low:g}:{self.high:g}"


MINMAX = IntensityRule()
"""The rule where none is given: that of stores that record none."""


def to_8_bits(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Convert values to RGB of 8 bits: `low` becomes 0, `high` 255, and what lies outside is cut.

    Args:
        values: (row, column) or (row, column, 3), finite.
        low: The value that becomes black.
        high: The value that becomes white; if it is not above `low`, all pixels become black.

    Returns:
        (row, column, 3) uint8.
    """
    scaled = np.zeros((*values.shape[:2], 3), np.uint8)
    if high <= low:
        return scaled
    step = max(1, VALUES_AT_A_TIME // (values.size // len(values)))
    for row in range(0, len(values), step):  # a few rows at a time: 64-bit floats of a whole image would be large
        part = np.rint((values[row : row + step].astype(np.float64) - low) * 255.0 / (high - low))
        part = np.clip(part, 0, 255).astype(np.uint8)
        scaled[row : row + step] = part if part.ndim == 3 else part[..., None]  # noqa: PLR2004 - with channels
    return scaled
