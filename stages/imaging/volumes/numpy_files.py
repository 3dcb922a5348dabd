"""Read NumPy arrays (`.npy`): one image, or a stack of images along the first axis.

| shape                       | meaning                                   |
|-----------------------------|-------------------------------------------|
| (row, column)               | one grey image                            |
| (row, column, 3)            | one colour image                          |
| (plane, row, column)        | a stack of grey images                    |
| (plane, row, column, 3)     | a stack of colour images                  |

An array whose last axis has three entries is in colour. The file is mapped: only the planes that are read are in
memory. Nothing in it is executed: arrays of objects are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.parts import region
from stages.imaging.volumes.volume import Volume, VolumeFacts, name_of_type
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["NumpyVolume", "is_probabilities", "open_file"]

COLOURS = 3


class NumpyVolume(Volume):
    """Read the planes of a mapped array."""

    def __init__(self, values: NDArray[Any]) -> None:
        """Take an array of one of the shapes above."""
        coloured = values.ndim > 2 and values.shape[-1] == COLOURS  # noqa: PLR2004 - more than one grey image
        one = values.ndim == (3 if coloured else 2)
        self._planes = values[None] if one else values
        self.facts = VolumeFacts(
            planes=self._planes.shape[0],
            size=(self._planes.shape[1], self._planes.shape[2]),
            channels=COLOURS if coloured else 1,
            deep=values.dtype != np.uint8,
            values=name_of_type(values.dtype),
        )

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane; see `Volume.read`."""
        return np.array(region(self._planes[plane], box))


def is_probabilities(path: Path) -> bool:
    """Return True if a file has the form of the probabilities that `predict` writes: (class, row, column) float16.

    A file that cannot be read has not; it is reported when it is opened.
    """
    if path.suffix.lower() != ".npy":
        return False
    try:
        with open_regular(path) as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except (OSError, ValueError):
        return False
    return dtype == np.dtype("<f2") and len(shape) == 3  # noqa: PLR2004 - axes


def open_file(path: Path) -> NumpyVolume:
    """Open a `.npy` file.

    Raises:
        InputProblemsError: it cannot be read, holds objects or complex numbers, is cut off, or has another shape.
    """
    try:
        with open_regular(path) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read(file)
            start = file.tell()
        if dtype.hasobject or dtype.kind not in "buif":
            refuse(path, f"holds values of the type {dtype}; save whole numbers or fractions")
        if len(shape) not in {2, 3, 4} or (len(shape) == 4 and shape[-1] != COLOURS) or 0 in shape:  # noqa: PLR2004
            refuse(path, f"has the shape {shape}; an image is (row, column[, 3]), a stack (plane, row, column[, 3])")
        expected, size = start + int(np.prod(shape)) * dtype.itemsize, path.stat().st_size
        if size != expected:
            refuse(path, f"is damaged ({size:,} bytes and not {expected:,}); restore it from its source")
        mapped = np.memmap(path, dtype, "r", start, shape, order="F" if by_columns else "C")
    except OSError as error:
        refuse(path, explain_unreadable(error))
    except ValueError as error:
        refuse(path, f"is damaged or no NumPy array ({error}); restore it from its source")
    return NumpyVolume(mapped)
