"""Open one DICOM file as a volume: a single image, or one with several frames."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.imaging.dicom.geometry import PLANES, distance_of
from stages.imaging.dicom.headers import Facts, read_facts
from stages.imaging.dicom.pixels import header_of, read_frame, require_decoder
from stages.imaging.opening import refuse
from stages.imaging.parts import region
from stages.imaging.volumes.volume import Spacing, Volume, VolumeFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from stages.imaging.parts import Box

__all__ = ["DicomVolume", "open_file", "require_axis", "volume_facts"]

BITS = 8
SAMPLES = {1, 3}
"""Numbers of channels that are read: grey, and three colours."""


class DicomVolume(Volume):
    """Read the frames of one file."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            InputProblemsError: the file holds no image, or one that is not read.
        """
        self._path = path
        self.dicom = read_facts(path)
        self.facts = volume_facts(self.dicom)
        self._places = self.dicom.frame_places or (self.dicom.place,)
        placed = len(self._places) == self.dicom.frames and all(one.known for one in self._places)
        self.turned = False if placed else None  # planes are shown as they are stored

    @cached_property
    def _header(self) -> Dataset:
        return header_of(self._path)

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one frame; see `Volume.read`."""
        values = read_frame(self._path, plane, self._header)
        if values.shape[:2] != self.facts.size:
            refuse(self._path, f"frame {plane + 1} has the size {values.shape}; restore the file from its source")
        return region(values, box)

    def along(self, axis: str) -> Volume:
        """Return the file itself; see `Volume.along`."""
        require_axis(self._path, self.facts.orientation, axis)
        return self

    def elsewhere(self, labels: Volume) -> str | None:
        """Return how the place of a label file differs from that of the image; see `Volume.elsewhere`."""
        if self.turned is None or labels.turned is None:
            return None
        from stages.imaging.dicom.voxels import label_fault  # here, because it is needed for labels in NIfTI only

        return label_fault(self._places, self.facts.size, labels)


def open_file(path: Path) -> DicomVolume:
    """Open a DICOM file with an image.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or holds no image.
        UsageError: its compression needs the extra `dicom`.
    """
    return DicomVolume(Path(path))


def require_axis(path: Path, orientation: str, axis: str) -> None:
    """Make sure that slices have the orientation that is asked for: DICOM slices are read as they are stored.

    Args:
        path: The file or the series.
        orientation: As in `VolumeFacts`.
        axis: As in `Volume.along`.

    Raises:
        InputProblemsError: they have another one.
    """
    if axis in PLANES and orientation not in {axis, "oblique", ""}:
        what = f"holds {orientation} slices, and {axis} ones are asked for; slices of DICOM are not cut anew"
        refuse(path, f"{what}: leave --axis out, or convert the series to NIfTI")


def volume_facts(dicom: Facts) -> VolumeFacts:
    """Return the facts of a file as those of a volume.

    Raises:
        InputProblemsError: the file holds no image, or one that is not read.
        UsageError: its compression needs the extra `dicom`.
    """
    if dicom.is_segmentation:
        refuse(dicom.path, "holds labels (DICOM SEG) and no image; give it with --masks")
    if not dicom.has_image:
        refuse(dicom.path, f"is a DICOM {dicom.sop_class_name} and holds no image; remove it")
    require_decoder(dicom.path, dicom.transfer_syntax)
    if dicom.samples not in SAMPLES:
        refuse(dicom.path, f"has {dicom.samples} channels; grey and RGB are read")
    grey = dicom.samples == 1 and not dicom.palette
    return VolumeFacts(
        planes=dicom.frames,
        size=(dicom.rows, dicom.columns),
        channels=1 if grey else 3,
        deep=not dicom.palette and (dicom.bits != BITS or (grey and (dicom.rescaled or dicom.signed))),
        spacing_mm=_spacing(dicom),
        patient=dicom.patient,
        window=dicom.window,
        values=f"{dicom.bits}-bit{' signed' if dicom.signed else ''}",
        orientation=(dicom.frame_places or [dicom.place])[0].orientation,
    )


def _spacing(dicom: Facts) -> Spacing | None:
    place = dicom.place
    if dicom.frame_places and place.spacing is None:
        place = replace(dicom.frame_places[0], position=place.position)
    if place.spacing is None:
        return None
    places = [one for one in dicom.frame_places if one.known]
    between = place.between_slices
    if len(places) > 1:
        between = distance_of(sorted(one.depth(places[0].normal) for one in places)) or between
    return (*place.spacing, between if dicom.frames > 1 else None)
