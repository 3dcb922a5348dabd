"""Convert values of more than 8 bits to 8 bits by one rule for all images of a store.

| rule                   | black and white are                                                                        |
|------------------------|--------------------------------------------------------------------------------------------|
| `percentiles`          | the 0.5th and the 99.5th percentile of all values of the file; see `PERCENTILES`           |
| `percentiles:LOW:HIGH` | two other percentiles of the file                                                          |
| `minmax`               | the lowest and the highest value of the image; the rule of stores that record none         |
| `file`                 | what the file says, such as the window of a DICOM file; `percentiles` where it says none   |
| `LOW:HIGH`             | these two values                                                                           |

Values in between are scaled linearly; values outside become 0 or 255.

If both percentiles are the same value, as in an image that is black except for a few pixels, the lowest and the highest
value are used in their place, so that these pixels are not lost. All pixels of a constant image become black. Colours
are converted together: the percentiles are those of all channels. In a large image every n-th row and column counts.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AUTO",
    "MINMAX",
    "MOST_VALUES",
    "PERCENTILES",
    "RULES",
    "IntensityRule",
    "spread_values",
    "to_8_bits",
    "window_for",
]

PERCENTILES = (0.5, 99.5)
RULES = ("percentiles", "minmax", "file")
AUTO = "auto"
"""Word by which a user leaves the choice to the program; no rule by itself."""
VALUES_AT_A_TIME = 2**20
MOST_VALUES = 2**20
"""Values of one image, or of one plane, from which percentiles are computed."""
WHITE = 255.0
FULL = 100
"""The percentile of the highest value."""
SCALE_OF_HUGE = 2.0**-12
"""Factor for values whose differences, times 255, are infinite in 64-bit floats."""


@dataclass(frozen=True, kw_only=True)
class IntensityRule:
    """Hold the rule by which values become 8-bit values."""

    name: str = "minmax"
    """A name in `RULES`, or `values`."""
    low: float | None = None
    """The value that becomes 0; with `values` only."""
    high: float | None = None
    """The value that becomes 255; with `values` only."""
    percentiles: tuple[float, float] = PERCENTILES
    """The percentiles that become 0 and 255; with `percentiles`, and with `file` where a file says nothing."""

    @classmethod
    def parse(cls, text: str) -> IntensityRule:
        """Return the rule that the user writes: a name, `LOW:HIGH`, or `percentiles:LOW:HIGH`.

        Raises:
            UsageError: it is none of these, or the two numbers are not in order or not in their range.
        """
        if text in RULES:
            return cls(name=text)
        by_percentiles = text.startswith("percentiles:")
        pair = _two_numbers(text.removeprefix("percentiles:"))
        if pair is None or (by_percentiles and not 0 <= pair[0] < pair[1] <= FULL):
            names = ", ".join((AUTO, *RULES))
            raise UsageError(
                f"--window {text}: is neither one of {names} nor two values LOW:HIGH, the lower one first, such as "
                "-160:240.\n  Other percentiles, from 0 to 100, are written percentiles:1:99."
            )
        if by_percentiles:
            return cls(name="percentiles", percentiles=pair)
        return cls(name="values", low=pair[0], high=pair[1])

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{_exact(self.low)}:{_exact(self.high)}"
        if self.percentiles != PERCENTILES:
            return f"{self.name}:{':'.join(map(_exact, self.percentiles))}"
        return self.name

    @property
    def sentence(self) -> str:
        """Return the rule in words, to follow "shown"."""
        low, high = map(_ordinal, self.percentiles)
        percentiles = f"from the {low} to the {high} percentile of each file"
        return {
            "percentiles": percentiles,
            "minmax": "from the lowest to the highest value of each image",
            "file": f"by the window that each file names, else {percentiles}",
        }.get(self.name) or f"from {_exact(self.low or 0)} to {_exact(self.high or 0)}"

    def range_of(self, values: NDArray[Any]) -> tuple[float, float]:
        """Return the values that become black and white in an image that is read whole and names no window itself.

        Args:
            values: (row, column) or (row, column, 3), finite.
        """
        if self.low is not None and self.high is not None:
            return self.low, self.high
        lowest, highest = float(values.min()), float(values.max())
        if self.name == "minmax":
            return lowest, highest
        return self.range_of_sampled(spread_values(values), lowest, highest)

    def range_of_sampled(self, sampled: NDArray[Any], lowest: float, highest: float) -> tuple[float, float]:
        """Return the percentiles of some values of a file.

        Args:
            sampled: (value,) finite, at least one.
            lowest: The lowest value of the file.
            highest: The highest value of the file.

        Returns:
            The two percentiles; `lowest` and `highest` if both percentiles are the same value.
        """
        low, high = (float(one) for one in np.percentile(sampled, self.percentiles))
        return (low, high) if low < high else (lowest, highest)

    def key_of_maps(self, digest: str) -> str:
        """Return the memo's key for the attention of an image that this rule converted.

        Args:
            digest: SHA-256 of the image, in hexadecimal.
        """
        return hashlib.sha256(f"{digest} window {self}".encode()).hexdigest()


MINMAX = IntensityRule()
"""The rule where none is given: that of stores that record none."""


def window_for(text: str, *, deep: bool) -> IntensityRule:
    """Return the rule of a data set.

    Args:
        text: What the user writes: a rule, or `auto` for the percentiles.
        deep: True if any image has values of more than 8 bits. Without such an image there is nothing to convert, and
            the rule is the one that is not recorded.

    Raises:
        UsageError: the text is no rule.
    """
    rule = IntensityRule.parse("percentiles" if text == AUTO else text)
    return rule if deep else MINMAX


def spread_values(values: NDArray[Any], most: int = MOST_VALUES) -> NDArray[Any]:
    """Return the values of every n-th row and column, so that about `most` of them are left at most.

    Args:
        values: (row, column) or (row, column, 3).
        most: Number of values.

    Returns:
        (value,) float32 where this type holds the values exactly, else float64.
    """
    step = max(1, math.ceil(math.sqrt(values.size / most)))
    exact = values.dtype.itemsize <= 2 or values.dtype == np.float32  # noqa: PLR2004 - bytes: 16 bits
    return values[::step, ::step].ravel().astype(np.float32 if exact else np.float64)


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
    factor = 1.0 if math.isfinite((high - low) * WHITE) else SCALE_OF_HUGE
    low, high = low * factor, high * factor
    step = max(1, VALUES_AT_A_TIME // (values.size // len(values)))
    for row in range(0, len(values), step):  # a few rows at a time: 64-bit floats of a whole image would be large
        part = np.clip(values[row : row + step].astype(np.float64) * factor, low, high)
        part = np.rint((part - low) * WHITE / (high - low)).astype(np.uint8)
        scaled[row : row + step] = part if part.ndim == 3 else part[..., None]  # noqa: PLR2004 - with channels
    return scaled


def _two_numbers(text: str) -> tuple[float, float] | None:
    """Return `LOW:HIGH` as two finite numbers in order; None if the text is anything else."""
    first, _, second = text.partition(":")
    try:
        low, high = float(first), float(second)
    except ValueError:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) and low < high else None


def _exact(number: float) -> str:
    """Return a number with the fewest digits that give it again, without `.0`."""
    return repr(number).removesuffix(".0")


def _ordinal(number: float) -> str:
    """Return a number as in "the 1st", "the 99.5th"."""
    teens = 10 < number % 100 < 14  # noqa: PLR2004 - 11th, 12th, 13th
    ending = "th" if teens else {1.0: "st", 2.0: "nd", 3.0: "rd"}.get(number % 10, "th")
    return f"{_exact(number)}{ending}"
