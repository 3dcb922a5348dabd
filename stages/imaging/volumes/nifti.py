"""Read NIfTI files (`.nii`, `.nii.gz`): scans with their place in the patient, cut into planes as viewers show them.

| the file holds                               | the result                                                          |
|----------------------------------------------|---------------------------------------------------------------------|
| whole numbers or fractions                   | value = stored value × slope + intercept, as the header says        |
| RGB of 8 bits                                | its colours                                                         |
| two axes                                     | one plane                                                           |
| three axes, or further ones of length 1      | the planes along the axis that is asked for (`geometry`)            |
| several times, shear, complex numbers, RGBA  | refused                                                             |

An uncompressed file is mapped: only the planes that are read are in memory. A compressed file is unpacked whole when
its first plane is read, and its values stay in memory for a while (`stages.imaging.volumes.unpacked`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.parts import AXIAL, region
from stages.imaging.volumes.nifti_header import COLOURS, NiftiHeader, is_compressed, read_header, unpacked
from stages.imaging.volumes.unpacked import Unpacked
from stages.imaging.volumes.volume import Volume, VolumeFacts, name_of_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["NiftiVolume", "open_file"]

BLOCK = 2**22
"""Bytes that are unpacked at a time."""


class _Values:
    """Read the stored values of a file when they are first needed."""

    def __init__(self, path: Path, header: NiftiHeader) -> None:
        self._path, self._header = path, header
        self._unpacked = Unpacked(self._unpack) if is_compressed(path) else None
        self._mapped: NDArray[Any] | None = None

    def get(self) -> NDArray[Any]:
        """Return the stored values in the shape of the file.

        Raises:
            InputProblemsError: the file cannot be read, or is cut off or damaged.
        """
        if self._unpacked is not None:
            return self._unpacked.get()
        if self._mapped is None:
            self._mapped = self._map()
        return self._mapped

    def _map(self) -> NDArray[Any]:
        header = self._header
        try:
            return np.memmap(self._path, header.dtype, "r", header.start, header.geometry.shape, order="F")
        except (OSError, ValueError) as error:  # ValueError: it became shorter
            refuse(self._path, explain_unreadable(error) if isinstance(error, OSError) else f"is cut off ({error})")

    def _unpack(self) -> NDArray[Any]:
        path, header = self._path, self._header
        values = np.empty(header.size, np.uint8)
        with unpacked(path) as file:
            file.read(header.start)
            found = 0
            while block := file.read(min(BLOCK, header.size - found)):
                values[found : found + len(block)] = np.frombuffer(block, np.uint8)
                found += len(block)
            further = file.read(1)  # at the end of the file its checksum is verified
        if found != header.size or further:
            where = "more" if further else f"{found:,}"
            what = f"is damaged (its header promises {header.size:,} bytes of values, and it holds {where})"
            refuse(path, f"{what}; restore it from its source")
        return values.view(header.dtype).reshape(header.geometry.shape, order="F")


class NiftiVolume(Volume):
    """Read the planes of one file along one axis."""

    def __init__(self, path: Path, header: NiftiHeader, axis: str = AXIAL, values: _Values | None = None) -> None:
        """Take the file's header. Files that are cut along several axes share their values."""
        self._path, self.header, self.axis = path, header, axis
        self._values = values or _Values(path, header)
        self._cuts: dict[str, NiftiVolume] = {}
        self.turned = header.geometry.turns(axis)
        coloured = header.dtype.names is not None
        self.facts = VolumeFacts(
            planes=header.geometry.planes(axis),
            size=header.geometry.size(axis),
            channels=len(COLOURS) if coloured else 1,
            deep=not coloured and (header.dtype != np.uint8 or header.scaled),
            spacing_mm=header.geometry.spacing(axis) if header.placed else None,
            values="8-bit" if coloured else f"{name_of_type(header.dtype)}{', scaled' * header.scaled}",
            orientation=header.geometry.orientation(axis) if header.placed else "",
        )

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane; see `Volume.read`."""
        values = region(self.header.geometry.cut(self._values.get(), self.axis)[plane], box)
        if values.dtype.names is not None:
            return np.stack([values[name] for name in COLOURS], axis=-1)
        if not self.header.scaled:
            return np.array(values, values.dtype.newbyteorder("="))
        with np.errstate(over="ignore", invalid="ignore"):  # the caller refuses values that are not finite
            return np.array(values, np.float64) * self.header.slope + self.header.intercept

    def along(self, axis: str) -> NiftiVolume:
        """Return the same file cut along another axis."""
        # The same object each time, because what is computed from it is kept with it.
        return self._cuts.setdefault(axis, NiftiVolume(self._path, self.header, axis, self._values))

    def elsewhere(self, labels: Volume) -> str | None:
        """Return how the voxels of a label file differ from those of this scan; see `Volume.elsewhere`."""
        if not isinstance(labels, NiftiVolume):
            return None
        mine, theirs = self.header.geometry, labels.header.geometry
        if self.axis.isdecimal() and mine.name(self.axis) != theirs.name(self.axis):
            named = f"{theirs.name(self.axis)}, and that of its image is {mine.name(self.axis)}"
            return f"has its axes in another order: axis {self.axis} is {named}; give the axis by its name"
        found = mine.elsewhere(theirs)
        return None if found is None else f"{found}; save the labels with the voxels and the affine of the image"


def open_file(path: Path) -> NiftiVolume:
    """Open a NIfTI file; only its header is read.

    Raises:
        InputProblemsError: it cannot be read, is no NIfTI file, is damaged, or holds no single scan of numbers.
    """
    return NiftiVolume(path, read_header(path))
