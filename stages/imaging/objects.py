"""Read a file in which every value, or every colour, is one object.

The values are numbers from 1, or any other numbers above 0; they need not be consecutive. 0, or black, is no object. An
object may have several pieces: its value says what belongs to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.mask_values import list_values, packed_colours, single_channel
from stages.imaging.opening import Picture, refuse

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["number_objects", "read_objects"]

MOST_COUNTED = 2**24
"""Values up to this one, and with them all colours, are numbered by a table; higher ones by sorting."""
WHITE, MIDDLE = 255, 128
BLACK_UP_TO, WHITE_FROM = 16, 239
FEWEST_GREYS = 8
"""A picture of fewer values has no soft edges."""


def read_objects(path: Path, picture: Picture) -> NDArray[np.int32]:
    """Return the objects of a label picture.

    Args:
        path: Names the file in messages.
        picture: With one channel of up to 32 bits, or in colour.

    Returns:
        (height, width) int32: 0 for none; objects are numbered from 1 in the order of their values.

    Raises:
        InputProblemsError: the values are no numbers of objects, or compression changed them.
    """
    channel = single_channel(picture)
    values = packed_colours(path, picture) if channel is None else channel
    if values.dtype.kind == "f" or values.min() < 0:
        refuse(path, f"{list_values(values)}: objects have whole numbers from 1; 0 is none")
    white = _is_one_white_object(values)
    if picture.lossy and white:
        return (values >= MIDDLE).astype(np.int32)
    if picture.lossy:
        refuse(path, "is a lossy file (JPEG), whose compression changes the numbers of objects; save it as PNG or TIFF")
    if white and np.unique(values).size > FEWEST_GREYS:
        what = "this looks like one white object with soft edges, not like numbers of objects"
        refuse(path, f"{list_values(values)}: {what}; save it in black and white without soft edges")
    return number_objects(values)


def number_objects(values: NDArray[Any]) -> NDArray[np.int32]:
    """Number the values above 0 from 1, in their order.

    Args:
        values: (height, width) integers, 0 or more.

    Returns:
        (height, width) int32; 0 stays 0.
    """
    if int(values.max(initial=0)) <= MOST_COUNTED:
        found = np.bincount(values.ravel()) > 0
        found[0] = False
        table: NDArray[np.int32] = np.cumsum(found, dtype=np.int32)
        numbered: NDArray[np.int32] = table[values]
        return numbered
    numbers, where = np.unique(values, return_inverse=True)
    return (where.reshape(values.shape) + (0 if numbers[0] == 0 else 1)).astype(np.int32)


def _is_one_white_object(values: NDArray[Any]) -> bool:
    """Return True for a picture of 8 bits in which most of what is not black is white."""
    if int(values.max(initial=0)) > WHITE:
        return False
    return bool(2 * np.count_nonzero(values >= WHITE_FROM) > np.count_nonzero(values > BLACK_UP_TO))
