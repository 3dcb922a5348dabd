"""Define what a reader of volumes offers: facts from the header, and the values of one plane at a time."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stages.imaging.volumes.averaging import average_to, reduced_size
from stages.imaging.volumes.computed import Computed

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["DEEP_VALUES", "Spacing", "Volume", "VolumeFacts", "keep_open", "name_of_type"]

DEEP_VALUES = "more than 8 bits"
"""Words for deep values whose type the reader does not say."""

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
    """1 for grey, 3 for red, green and blue; any number if they are separate."""
    deep: bool
    """False for 8-bit values that are shown as they are; True for all others, which a rule of intensities converts."""
    spacing_mm: Spacing | None = None
    """None if the file does not say it."""
    patient: str = ""
    """Text that identifies the patient or the specimen; "" if the file has none."""
    window: tuple[float, float] | None = None
    """(low, high) values that the file itself says to show as black and white; None if it says none."""
    separate: bool = False
    """True if the channels are signals of their own, such as stains, and not red, green and blue."""
    channel_names: tuple[str, ...] = ()
    """Names of the channels in their order; empty if the file has none, "" for a channel without one."""
    values: str = ""
    """Type of the values in words, such as "16-bit signed"; see `name_of_type`. "" if it is not known."""
    orientation: str = ""
    """Orientation of the planes in the body: axial, coronal, sagittal or oblique; "" if the file does not say it."""


class Volume(ABC):
    """Read one file. Planes can be read from several threads at the same time."""

    facts: VolumeFacts
    reductions: tuple[float, ...] = (1.0,)
    """Reductions of the resolutions that the file holds, rising from 1; see `read_reduced`."""

    turned: bool | None = None
    """True if the file's place in the patient turns or mirrors its planes; None if it has no place."""

    @cached_property
    def computed(self) -> Computed:
        """Results that were computed from this file, kept here because a cache elsewhere would keep the file open."""
        return Computed()

    @abstractmethod
    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane, in the unit that the file defines, such as Hounsfield units.

        Args:
            plane: Position of the plane, from 0.
            box: Region of the plane, inside it; None for all of it.

        Returns:
            (row, column) for grey, (row, column, channel) for several channels; a numeric type.

        Raises:
            InputProblemsError: the plane is damaged.
        """

    def read_channel(self, plane: int, channel: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one channel of a plane, (row, column); the arguments are those of `read`."""
        return self.read(plane, box)[..., channel]

    def read_labels(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of a plane as labels: indices where the image has their colours; else those of `read`."""
        return self.read(plane, box)

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


Made = TypeVar("Made", bound=Volume)


class Closeable(Protocol):
    """Interface of an open file."""

    def close(self) -> object:
        """Close the file."""


def keep_open(file: Closeable, make: Callable[[], Made]) -> Made:
    """Return a volume that reads from an open file. The file is closed with the volume, or if it cannot be made.

    Args:
        file: The open file.
        make: Returns the volume; its errors are raised.
    """
    try:
        volume = make()
    except BaseException:
        file.close()
        raise
    weakref.finalize(volume, file.close)
    return volume


def name_of_type(dtype: np.dtype[Any]) -> str:
    """Return the name of a type of values for messages: "8-bit", "16-bit signed", "32-bit float"."""
    if dtype.kind == "b":
        return "1-bit"
    kind = {"i": " signed", "f": " float"}.get(dtype.kind, "")
    return f"{8 * dtype.itemsize}-bit{kind}"
