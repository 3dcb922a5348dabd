"""Turn class indices into the values or colours of the masks that a model was trained on.

`stages.prediction.mask_files` has the table of what is written for which masks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MaskPainter"]

WHITE = 255
HIGHEST_VALUE = 65535
RANGE = re.compile(r"(\d+)-(\d+)")
BOUND = re.compile(r"([<>])(=?)(\d+)")


@dataclass(frozen=True)
class MaskPainter:
    """Turn class indices into the pixels of a mask file."""

    table: NDArray[Any]
    """(256,) uint8 or uint16 value of every index, or (256, 3) uint8 RGB. Indices without a class have 0."""
    named: bool = True
    """False if the values of the masks were not given: black and white, or not recorded."""

    @classmethod
    def of(cls, classes: Sequence[str], values: Mapping[str, int | str] | None) -> MaskPainter:
        """Choose the value of every class.

        Args:
            classes: Names by index; the first is the background.
            values: The value, values or colour of each name in the mask files of the training data, as a store records
                them; None if they were black and white, or are not known.
        """
        binary = len(classes) == 2  # noqa: PLR2004 - background and one class
        if values is None:
            return cls(_fill_table([0, WHITE] if binary else list(range(len(classes)))), named=False)
        texts = [str(values.get(name, 0)) for name in classes]
        if any("#" in text for text in texts):
            return cls(_fill_table([_first_colour(text) for text in texts]))
        ignored = _ranges(str(values["ignore"])) if "ignore" in values else []
        numbers = [_lowest(text, ignored) for text in texts]
        if binary and _holds(_ranges(texts[1]), WHITE) and not _holds(ignored, WHITE):
            numbers[1] = WHITE
        return cls(_fill_table(numbers))

    def paint(self, mask: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the pixels of the file: (height, width) uint8 or uint16, or (height, width, 3) uint8."""
        return self.table[mask]


def _fill_table(values: Sequence[Any]) -> NDArray[Any]:
    """Return the table of a painter: the values by index, and zeros up to 256 entries."""
    used = np.array(values)
    table = np.zeros((256, *used.shape[1:]), np.uint8 if used.max() <= WHITE else np.uint16)
    table[: len(used)] = used
    return table


def _first_colour(text: str) -> tuple[int, int, int]:
    """Return the first colour of a class as RGB; a number beside colours is a grey."""
    first = text.split("+", maxsplit=1)[0].strip()
    if not first.startswith("#"):
        grey = _ranges(first)[0][0]
        return grey, grey, grey
    red, green, blue = bytes.fromhex(first[1:])
    return red, green, blue


def _lowest(text: str, ignored: Sequence[tuple[int, int]]) -> int:
    """Return the lowest value of a class that does not mean ignored pixels; its lowest one if all of them do."""
    ranges = sorted(_ranges(text))
    allowed = (value for low, high in ranges for value in range(low, high + 1) if not _holds(ignored, value))
    return next(allowed, ranges[0][0])


def _holds(ranges: Sequence[tuple[int, int]], value: int) -> bool:
    return any(low <= value <= high for low, high in ranges)


def _ranges(text: str) -> list[tuple[int, int]]:
    """Return the lowest and the highest value of every part of a class's values, such as `1+4-9` or `>0`."""
    ranges = []
    for part in text.replace(" ", "").split("+"):
        if between := RANGE.fullmatch(part):
            ranges.append((int(between[1]), int(between[2])))
        elif bound := BOUND.fullmatch(part):
            number, step = int(bound[3]), 0 if bound[2] else 1
            ranges.append((number + step, HIGHEST_VALUE) if bound[1] == ">" else (0, number - step))
        else:
            ranges.append((int(part), int(part)))
    return ranges
