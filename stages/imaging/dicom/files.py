"""Open one DICOM file as a volume: a single image, or one with several frames."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.imaging.dicom.geometry import distance_of
from stages.imaging.dicom.headers import Facts, dataset_of, read_facts
from stages.imaging.dicom.pixels import mirror_of, read_frame, require_decoder
from stages.imaging.opening import refuse
from stages.imaging.volumes.volume import Spacing, Volume, VolumeFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from stages.imaging.parts import Box

__all__ = ["DicomVolume", "open_file", "volume_facts"]

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

    @cached_property
    def _header(self) -> Dataset:
        return dataset_of(self._path, pixels=False)

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one frame; see `Volume.read`."""
        values = read_frame(self._path, plane, self._header)
        if values.shape[:2] != self.facts.size:
            refuse(self._path, f"frame {plane + 1} has the size {values.shape}; restore the file from its source")
        if box is None:
            return values
        row, column, rows, columns = box
        return values[row : row + rows, column : column + columns]


def open_file(path: Path) -> DicomVolume:
    """Open a DICOM file with an image.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or holds no image.
        UsageError: its compression needs the extra `dicom`.
    """
    return DicomVolume(Path(path))


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
    header = dataset_of(dicom.path, only=GREY, pixels=False)
    if int(header.get("SamplesPerPixel") or 1) not in SAMPLES:
        refuse(dicom.path, f"has {header.SamplesPerPixel} channels; grey and RGB are read")
    signed = bool(header.get("PixelRepresentation"))
    window = dicom.window
    mirror = mirror_of(header)
    if window is not None and mirror is not None:
        window = (mirror - window[1], mirror - window[0])
    palette = "PALETTE" in str(header.get("PhotometricInterpretation"))
    return VolumeFacts(
        planes=dicom.frames,
        size=(dicom.rows, dicom.columns),
        channels=3 if dicom.colours else 1,
        deep=not palette and (dicom.bits != 8 or (not dicom.colours and (dicom.rescaled or signed))),  # noqa: PLR2004 - bits
        spacing_mm=_spacing(dicom),
        patient=dicom.patient,
        window=window,
    )


GREY = (
    *("SOPClassUID", "SamplesPerPixel", "PixelRepresentation", "PhotometricInterpretation", "BitsStored"),
    *("BitsAllocated", "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence"),
)
"""Elements that say how values are stored."""


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
