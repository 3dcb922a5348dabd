"""Define what a reader of volumes offers: facts from the header, and the values of one plane at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    def elsewhere(self, labels: Volume) -> str | None:
        """Return how the place of a label file differs from that of this image, with the remedy; None if it does not.

        Args:
            labels: The opened label file, cut along the same axis. It has as many planes as this image.
        """
        del labels
        return None

    def along(self, axis: str) -> Volume:
        """Return the same file cut along another axis than `axial`; the file itself if it has one direction only.

        Args:
            axis: `coronal`, `sagittal`, `0`, `1` or `2`.

        Raises:
            InputProblemsError: the file cannot be cut along this axis.
        """
        del axis
        return self
