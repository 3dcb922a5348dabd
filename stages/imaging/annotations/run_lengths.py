"""Decode and encode the run lengths of COCO and CVAT: runs of background and object in turn, background first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.settings import Size

__all__ = ["decode_columns", "decode_rows", "decode_text", "encode_columns"]

FIRST, BITS = 48, 6
"""Code of the character for 0, and bits per character: five of the number, and one set if another character follows."""
LONGEST = 12
"""Largest number of characters of one run."""


def decode_text(text: str) -> list[int]:
    """Decode COCO's compressed run lengths: five bits per character, and differences to the run before the last.

    Raises:
        ValueError: the text ends within a number, or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - FIRST
        if not 0 <= bits < 1 << BITS or shift >= 5 * LONGEST:
            raise ValueError(f"has damaged run lengths (at the character {character!r})")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign of the last five bits
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # noqa: PLR2004 - COCO starts at the fourth run
        value = shift = 0
    if shift:
        raise ValueError("has run lengths that end within a number")
    return runs


def decode_columns(runs: Sequence[Any], size: Size) -> NDArray[np.bool_]:
    """Return (height, width) bool for run lengths down the columns, as in COCO.

    Raises:
        ValueError: the runs do not fill the picture.
    """
    height, width = size
    return decode_rows(runs, (width, height)).T


def decode_rows(runs: Sequence[Any], size: Size) -> NDArray[np.bool_]:
    """Return (height, width) bool for run lengths along the rows, as in CVAT.

    Raises:
        ValueError: the runs do not fill the window.
    """
    if any(type(run) is not int or run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        raise ValueError(f"has run lengths that do not fill its {size[0] * size[1]} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)


def encode_columns(region: NDArray[np.bool_]) -> str:
    """Return COCO's compressed run lengths of a (height, width) region: the inverse of the two functions above."""
    values = region.T.ravel()
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    bounds = np.concatenate([[0], edges, [values.size]])
    runs = np.diff(bounds).tolist()
    if values.size and values[0]:  # the first run is one of background
        runs.insert(0, 0)
    return "".join(_encode(run - (runs[at - 2] if at > 2 else 0)) for at, run in enumerate(runs))  # noqa: PLR2004 - as above


def _encode(value: int) -> str:
    characters = []
    while True:
        bits = value & 31
        value >>= 5
        more = value != (-1 if bits & 16 else 0)
        characters.append(chr(FIRST + bits + 32 * more))
        if not more:
            return "".join(characters)
