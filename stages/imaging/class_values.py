"""Parse the values of one class in mask files: numbers, ranges, comparisons and colours.

| text | values |
|---|---|
| `255` | this value |
| `1-255` | all values from 1 to 255 |
| `>0`, `>=1`, `<10`, `<=9` | all values on that side |
| `1+2`, `1+4-9` | several of these together |
| `#ff0000` | a colour; `#ff0000+#00ff00`: several |

In `params.yaml` a list does the same as `+`: `[1, 2]`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stages.errors import UsageError

__all__ = ["HIGHEST_VALUE", "ClassValue", "Values", "parse_values"]

HIGHEST_VALUE, HIGHEST_GREY = 65535, 255
NO_LIMIT = 2**32 - 1
"""Upper end of `>0`: the highest value that a file can hold."""
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
NUMBER = re.compile(r"[0-9]{1,5}")
RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")
COMPARISON = re.compile(r"(>=|>|<=|<)([0-9]{1,5})")

ClassValue = int | str | Sequence[int | str]
"""The values of a class as users write them."""


@dataclass(frozen=True)
class Values:
    """Hold the values of one class: closed ranges of numbers, or of colours as 0xrrggbb."""

    ranges: tuple[tuple[int, int], ...]
    """Lowest and highest value of each range."""
    in_colour: bool
    """True if any value was given as a colour."""

    @property
    def first(self) -> int:
        """The value that the user gave first."""
        return self.ranges[0][0]

    @property
    def is_single(self) -> bool:
        """True if the class has one value only."""
        return len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]

    def holds(self, value: int) -> bool:
        """Return True if a value belongs to the class."""
        return any(low <= value <= high for low, high in self.ranges)

    def overlap(self, other: Values) -> int | None:
        """Return a value that is in both; None if there is none."""
        for low, high in self.ranges:
            for other_low, other_high in other.ranges:
                if max(low, other_low) <= min(high, other_high):
                    return max(low, other_low)
        return None

    def as_colours(self, name: str) -> Values:
        """Return the same values as colours; a number is a grey.

        Raises:
            UsageError: a number is no grey, or a range of numbers cannot be read as colours.
        """
        if self.in_colour:
            return self
        for low, high in self.ranges:
            if low != high or high > HIGHEST_GREY:
                what = f"{name}: a number beside colours is a single grey in 0-{HIGHEST_GREY}, not {_shown(low, high)}"
                raise UsageError(f"classes: {what}. Give all classes as numbers, or this one as #rrggbb.")
        return Values(tuple((low * 0x010101, low * 0x010101) for low, _ in self.ranges), in_colour=True)

    def __str__(self) -> str:
        if self.in_colour:
            return "+".join(f"#{low:06x}" for low, _ in self.ranges)
        return "+".join(_shown(low, high) for low, high in self.ranges)


def parse_values(name: str, value: ClassValue) -> Values:
    """Parse the values of the class `name`.

    Raises:
        UsageError: they are malformed or out of range, or numbers and colours are mixed in one class.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [_parse(name, one) for one in value]
    else:
        parts = [_parse(name, one) for one in (value.split("+") if isinstance(value, str) else [value])]
    if not parts:
        raise _malformed(name, value)
    if len({part.in_colour for part in parts}) > 1:
        raise UsageError(f"classes: {name}={value}: has numbers and colours. Give all as numbers, or all as #rrggbb.")
    return Values(tuple(one for part in parts for one in part.ranges), parts[0].in_colour)


def _parse(name: str, value: int | str) -> Values:
    if isinstance(value, str):
        if COLOUR.fullmatch(value):
            colour = int(value[1:], 16)
            return Values(((colour, colour),), in_colour=True)
        low, high = _range_of_text(name, value)
    elif isinstance(value, bool) or not isinstance(value, int):
        raise _malformed(name, value)
    else:
        low = high = value
    if not (0 <= low <= HIGHEST_VALUE and low <= high <= NO_LIMIT):
        raise _malformed(name, value)
    return Values(((low, high),), in_colour=False)


def _range_of_text(name: str, text: str) -> tuple[int, int]:
    if NUMBER.fullmatch(text):
        return int(text), int(text)
    if found := RANGE.fullmatch(text):
        low, high = int(found[1]), int(found[2])
        if high > HIGHEST_VALUE:
            raise _malformed(name, text)
        return low, high
    if found := COMPARISON.fullmatch(text):
        bound = int(found[2])
        return {
            ">": (bound + 1, NO_LIMIT),
            ">=": (bound, NO_LIMIT),
            "<": (0, bound - 1),
            "<=": (0, bound),
        }[found[1]]
    raise _malformed(name, text)


def _malformed(name: str, value: object) -> UsageError:
    what = f"{value!r} is neither an integer in 0-{HIGHEST_VALUE}, nor a range, nor a colour"
    return UsageError(
        f"classes: {name}={what}. Write e.g. lesion=255, gland=1-255, vessel=1+2, lesion=>0 or lesion=#ff0000."
    )


def _shown(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f">={low}" if high == NO_LIMIT else f"{low}-{high}"
