"""Define what a reader of volumes offers: facts from the header, and the values of one plane at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.imaging.volumes.averaging import average_to, reduced_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["Spacing", "Volume", "VolumeFacts"]

Spacing = tuple[float, float, float | None]
"""Millimetres between the centres of neighbouring rows, columns and planes; None for planes whose distance is not
known."""


@dataclass(frozen=True, kw_only=True)
class VolumeFacts:
    """Hold what the header of a file says."""

    planes: int
    """Number of slices or pages; 1 for a file that holds one image."""
    size: Size
    """(rows, columns) of every plane."""
    channels: int
    """1 for grey, 3 for red, green and blue."""
    deep: bool
    """False for 8-bit values that are shown as they are; True for all others, which a rule of intensities converts."""
    spacing_mm: Spacing | None = None
    """None if the file does not say it."""
    patient: str = ""
    """Text that identifies the patient or the specimen; "" if the file has none."""
    window: tuple[float, float] | None = None
    """(low, high) values that the file itself says to show as black and white; None if it says none."""


class Volume(ABC):
    """Read one file. Planes can be read from several threads at the same time."""

    facts: VolumeFacts

    @abstractmethod
    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane, in the unit that the file defines, such as Hounsfield units.

        Args:
            plane: Position of the plane, from 0.
            box: Region of the plane, inside it; None for all of it.

        Returns:
            (row, column) for grey, (row, column, 3) for red, green, blue; a numeric type.

        Raises:
            InputProblemsError: the plane is damaged.
        """

    def read_reduced(self, plane: int, box: Box, reduction: float) -> NDArray[Any]:
        """Return a region at a lower resolution: every pixel is the mean over `reduction` x `reduction` pixels.

        A format that holds the plane at several resolutions reads the nearest finer one.

        Args:
            plane: Position of the plane, from 0.
            box: Region of the plane at full resolution, inside it.
            reduction: Pixels of the plane for one pixel of the result along each side, at least 1.

        Returns:
            As `read`, of the size `reduced_size((rows, columns), reduction)`.

        Raises:
            InputProblemsError: the plane is damaged.
        """
        return average_to(self.read(plane, box), reduced_size((box[2], box[3]), reduction))
