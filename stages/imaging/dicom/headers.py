"""Read the facts of a DICOM file that are needed before its pixels: kind, place in its series, geometry, window.

Only the elements listed in `TAGS` are parsed, and reading stops before the pixels. The facts of a file are kept in
memory, because a file is looked at when its folder is listed and again when it is opened.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import InputProblemsError
from stages.imaging.dicom.deflated import require_unpackable
from stages.imaging.dicom.geometry import Place
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["SCANNERS", "SEGMENTATIONS", "Facts", "dataset_of", "header_with_end", "read_facts"]

TAGS = (
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "PatientID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber", "FrameOfReferenceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing"),
    *("NominalScannedPixelSpacing", "SpacingBetweenSlices", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("PhotometricInterpretation", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter"),
    *("WindowWidth", "VOILUTFunction", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""Elements that are parsed, by their DICOM keywords."""
SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""SOP classes of DICOM SEG: segmentation, and label map segmentation."""
NO_IMAGES = (
    *("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.481", "1.2.840.10008.5.1.4.1.1.88"),
    *("1.2.840.10008.5.1.4.1.1.11", "1.2.840.10008.5.1.4.1.1.9", "1.2.840.10008.5.1.4.1.1.104"),
    *("1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.67"),
)
"""Beginnings of the SOP classes that hold no image to segment: DICOMDIR, RT objects, reports, presentation states,
waveforms, documents, raw data, registrations, value maps. RT images (481.1) are images."""
SCANNERS = frozenset({"CT", "MR", "PT"})
"""Modalities whose files are slices, also where they do not say their position."""
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
KEPT = 2**15
"""Files whose facts stay in memory, about 2 KB each."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Hold what the header of a DICOM file says."""

    path: Path
    sop_class: str
    sop_class_name: str
    """Name of the kind of object in the DICOM standard, such as `CT Image Storage`."""
    sop_instance: str
    study: str
    series: str
    series_number: int | None
    instance_number: int | None
    frame_of_reference: str
    modality: str
    patient: str
    """PatientID, without blanks around it."""
    localizer: bool
    """True for a scout image, on which the slices of a scan are planned."""
    rows: int
    columns: int
    frames: int
    place: Place
    transfer_syntax: str
    samples: int
    """Values for each pixel: 1 for grey and for a palette, 3 for colours."""
    palette: bool
    signed: bool
    bits: int
    """Bits of a value that are used."""
    rescaled: bool
    """True if stored values are converted to another unit."""
    window: tuple[float, float] | None = None
    """(low, high) after rescaling; None without one."""
    frame_places: tuple[Place, ...] = field(default=(), repr=False)
    """Places of the frames of a file with several, where it has them."""

    @property
    def has_image(self) -> bool:
        """Return True if the file holds an image, and no labels, report, plan, presentation or other object."""
        if self.sop_class in SEGMENTATIONS or not self.rows or not self.columns:
            return False
        other = any(self.sop_class == one or self.sop_class.startswith(f"{one}.") for one in NO_IMAGES)
        return not other or self.sop_class == RT_IMAGE

    @property
    def is_segmentation(self) -> bool:
        """Return True if the file holds labels of other DICOM files."""
        return self.sop_class in SEGMENTATIONS


def read_facts(path: Path) -> Facts:
    """Return the facts of a DICOM file.

    Raises:
        InputProblemsError: the file cannot be read, is damaged, or is not DICOM.
    """
    try:
        status = path.stat()
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return _read(str(path), status.st_size, status.st_mtime_ns)


def dataset_of(path: Path, *, only: tuple[str, ...] | None = None, pixels: bool = True) -> Dataset:
    """Read a DICOM file.

    Args:
        path: The file.
        only: Keywords of the elements to parse; None for all.
        pixels: Also parse the pixels.

    Raises:
        InputProblemsError: the file cannot be read, is damaged, or is not DICOM.
    """
    return _parse(path, only, pixels=pixels)[0]


def header_with_end(path: Path) -> tuple[Dataset, int]:
    """Return a DICOM file without its pixels, and the position in the file where the element with the pixels begins.

    Raises:
        InputProblemsError: the file cannot be read, is damaged, or is not DICOM.
    """
    return _parse(path, None, pixels=False)


def _parse(path: Path, only: tuple[str, ...] | None, *, pixels: bool) -> tuple[Dataset, int]:
    pydicom = _library()
    tags: Any = None if only is None else list(only)
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            require_unpackable(path, file)
            data: Dataset = pydicom.dcmread(file, force=True, stop_before_pixels=not pixels, specific_tags=tags)
            end = file.tell()
    except OSError as error:
        refuse(path, explain_unreadable(error))
    except InputProblemsError:
        raise
    except Exception as error:  # noqa: BLE001 - pydicom raises exceptions of many kinds for damaged files
        refuse(path, f"is a damaged DICOM file ({_one_line(error)}); restore it from its source")
    if size == 0:
        refuse(path, "is empty (0 bytes); restore it from its source")
    known = any(keyword in data for keyword in ("SOPClassUID", "Rows")) or "MediaStorageSOPClassUID" in data.file_meta
    if not known:
        refuse(path, "is no DICOM file whatever its name says, or it is damaged; restore it from its source")
    return data, end


def _library() -> Any:
    """Return pydicom, set so that it reads files that break small rules of the standard without a warning."""
    import pydicom  # here, because it is needed for DICOM files only

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
    return pydicom


@lru_cache(maxsize=KEPT)
def _read(name: str, size: int, changed: int) -> Facts:  # noqa: ARG001 - a replaced file is read again
    path = Path(name)
    data = dataset_of(path, only=TAGS, pixels=False)
    try:
        return _facts(path, data)
    except Exception as error:  # noqa: BLE001 - values of any kind can stand in a damaged file
        refuse(path, f"is a damaged DICOM file ({_one_line(error)}); restore it from its source")


def _facts(path: Path, data: Dataset) -> Facts:
    from stages.imaging.dicom.elements import frame_places, number, place_of, rescaled, text, window_of

    sop_class = text(data, "SOPClassUID") or text(data.file_meta, "MediaStorageSOPClassUID")
    frames = number(data, "NumberOfFrames")
    return Facts(
        path=path,
        sop_class=sop_class,
        sop_class_name=_name_of(sop_class),
        sop_instance=text(data, "SOPInstanceUID"),
        study=text(data, "StudyInstanceUID"),
        series=text(data, "SeriesInstanceUID"),
        series_number=number(data, "SeriesNumber"),
        instance_number=number(data, "InstanceNumber"),
        frame_of_reference=text(data, "FrameOfReferenceUID"),
        modality=text(data, "Modality"),
        patient=text(data, "PatientID"),
        localizer="LOCALIZER" in [str(part).upper() for part in data.get("ImageType") or ()],
        rows=number(data, "Rows") or 0,
        columns=number(data, "Columns") or 0,
        frames=max(1, frames or 1),
        place=place_of(data),
        transfer_syntax=text(data.file_meta, "TransferSyntaxUID"),
        samples=number(data, "SamplesPerPixel") or 1,
        palette="PALETTE" in text(data, "PhotometricInterpretation"),
        signed=number(data, "PixelRepresentation") == 1,
        bits=number(data, "BitsStored") or number(data, "BitsAllocated") or 8,
        rescaled=rescaled(data),
        window=window_of(data),
        frame_places=frame_places(data) if frames is not None and frames > 1 else (),
    )


def _name_of(sop_class: str) -> str:
    from pydicom.uid import UID

    return UID(sop_class).name if sop_class else "object of an unknown kind"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
