"""Read stacks from array files: `.npz` with the arrays `image` and `label`, or with one array of any name.

The shapes are those of `stages.imaging.volumes.numpy_files`. An array is unpacked as a whole when its first plane is
read, because an archive cannot be read in part; it stays in memory for a while (`stages.imaging.volumes.unpacked`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import InputProblemsError
from stages.imaging.arrays import IMAGE, LABEL, read_stack, stack_header
from stages.imaging.opening import refuse
from stages.imaging.volumes.numpy_files import COLOURS, NumpyVolume
from stages.imaging.volumes.unpacked import Unpacked
from stages.imaging.volumes.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["ArchiveVolume", "open_file"]

STACK_OF_COLOURS = 4
"""Dimensions."""


class ArchiveVolume(Volume):
    """Read the planes of the arrays of one file."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Take the shape and the type of the main array."""
        self._arrays = {name: Unpacked(partial(read_stack, path, name)) for name in (IMAGE, LABEL)}
        self.facts = NumpyVolume(np.broadcast_to(np.zeros((), dtype), shape)).facts  # no memory for the values

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane of the image; see `Volume.read`."""
        return self._array(IMAGE).read(plane, box)

    def read_labels(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane of the labels; see `Volume.read_labels`."""
        return self._array(LABEL).read(plane, box)

    def _array(self, name: str) -> NumpyVolume:
        return NumpyVolume(self._arrays[name].get())


def open_file(path: Path) -> ArchiveVolume:
    """Open an array file with a stack.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or image and labels have different shapes.
    """
    image, label = _header(path, IMAGE), _header(path, LABEL)
    main = image or label
    if main is None:
        stack_header(path)  # it raises the error
        refuse(path, f"has no array `{IMAGE}`")
    shape, dtype = main
    if len(shape) == STACK_OF_COLOURS and shape[-1] != COLOURS:
        refuse(path, f"has the shape {shape}; an image is (row, column[, 3]), a stack (plane, row, column[, 3])")
    if image is not None and label is not None:
        coloured = shape[-1] == COLOURS and len(shape) > 2  # noqa: PLR2004 - more than one grey image
        if label[0] != (shape[:-1] if coloured else shape):
            refuse(path, f"its labels are {label[0]} and its image {shape}; both must have the same planes")
    return ArchiveVolume(path, shape, dtype)


def _header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    try:
        return stack_header(path, name)
    except InputProblemsError:
        return None
