"""Write the predictions of a DICOM series, or of one DICOM file, as a DICOM SEG.

The SEG has one binary segment for each class but the background, named like the class. It refers to the slices by their
SOPInstanceUIDs, so viewers show it on the images. Slices on which a segment is empty have no frame. Patient and study
are those of the images, as the standard demands for objects of one study. All segments have the category and the type
"Tissue" of SNOMED CT, because a class has a name and no code.

The program and its version are the manufacturer and the algorithm. By the manufacturer's model name this program knows
its own files. The UIDs follow from the images and the labels, so the same prediction has the same UIDs.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.errors import InputProblemsError, UsageError
from stages.imaging.dicom.elements import text
from stages.imaging.dicom.headers import SCANNERS, SEGMENTATIONS, dataset_of, read_facts
from stages.imaging.dicom.series import SeriesVolume
from stages.imaging.opening import refuse
from stages.imaging.volumes.opened import open_volume
from stages.prediction.mask_files import SOFTWARE
from store.disk.regular import disk_fails

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from stages.prediction.parents import Gathered

__all__ = ["encode", "is_ours", "require_package"]

SERIES_NUMBER = 9000
"""SeriesNumber of predictions: behind those of scanners."""
LONGEST_LABEL = 64
"""Characters of a SegmentLabel (value representation LO)."""
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Elements that every object has, also if nothing is known."""


def require_package() -> None:
    """Make sure that a SEG can be written.

    Raises:
        UsageError: the extra `dicom` is not installed.
    """
    if find_spec("highdicom") is None:
        raise UsageError(
            "predictions of DICOM files are written as DICOM SEG, and the package highdicom is not installed.\n"
            "  Install it: pip install 'diamant-pipeline[dicom]'"
        )


def fits(image: Path) -> bool:
    """Return True if a SEG can refer to an image: the places of its slices are known, or it is a single image.

    Frames without a place, as of ultrasound, and slices without one have a picture each.
    """
    volume = open_volume(image)
    if isinstance(volume, SeriesVolume):
        return all(one.place.known and one.frame_of_reference for one in volume.slices)
    dicom = read_facts(Path(image))
    if dicom.frames > 1:
        return bool(dicom.frame_of_reference and dicom.frame_places) and all(one.known for one in dicom.frame_places)
    placed = dicom.place.known or dicom.modality in SCANNERS
    return bool(dicom.frame_of_reference) or not placed


def encode(gathered: Gathered, *, label: int | None) -> bytes:
    """Return the bytes of a SEG.

    Args:
        gathered: The planes of the image.
        label: None; one SEG holds all labels, also those that overlap.

    Raises:
        InputProblemsError: the image can no longer be read, or no SEG can refer to it.
        UsageError: the extra `dicom` is not installed.
    """
    del label
    require_package()
    sources = _sources(gathered.source)
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names of patients that are written in an unusual way
            _segmentation(gathered, sources).save_as(content)
    except Exception as error:  # noqa: BLE001 - highdicom raises exceptions of many kinds for images that lack something
        what = " ".join(str(error).split())[:160] or type(error).__name__
        refuse(gathered.source, f"no DICOM SEG can refer to it ({what}); convert it to NIfTI or PNG first")
    return content.getvalue()


def is_ours(path: Path) -> bool:
    """Return True if this program wrote the file; False for a file that is damaged or no DICOM SEG.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        header = dataset_of(path, only=("SOPClassUID", "ManufacturerModelName"), pixels=False)
    except InputProblemsError as error:
        if isinstance(error.__context__, OSError) and disk_fails(error.__context__):
            raise error.__context__ from None
        return False
    return text(header, "SOPClassUID") in SEGMENTATIONS and text(header, "ManufacturerModelName") == SOFTWARE


def _sources(image: Path) -> list[Dataset]:
    """Return the headers of the slices in the order of the planes; one for a file with several frames.

    Raises:
        InputProblemsError: a file can no longer be read.
    """
    volume = open_volume(image)
    paths = [one.path for one in volume.slices] if isinstance(volume, SeriesVolume) else [image]
    sources = [dataset_of(path, pixels=False) for path in paths]
    for source in sources:
        for keyword in MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, "")
    return sources


def _segmentation(gathered: Gathered, sources: list[Dataset]) -> Dataset:
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=SOFTWARE, family=codes.DCM.ArtificialIntelligence, version=_version()
    )
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:LONGEST_LABEL],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(gathered.classes[1:], start=1)
    ]
    values = _values(gathered)
    digest = _digest(values, gathered.classes, sources)
    segmentation: Dataset = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=values,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=_uid("series", digest),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid("instance", digest),
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions=_version(),
        device_serial_number="0",
        content_description="Predicted segmentation",
        series_description="Predicted segmentation",
        omit_empty_frames=bool(values.any()),
    )
    return segmentation


def _values(gathered: Gathered) -> NDArray[np.uint8]:
    """Return the classes, (plane, row, column); with labels that overlap, (plane, row, column, label) of 0 and 1."""
    if gathered.content != "labels":
        return gathered.values.astype(np.uint8, copy=False)
    labels = [gathered.label(index) for index in range(1, len(gathered.classes))]
    return np.stack(labels, axis=-1).astype(np.uint8)


def _digest(values: NDArray[np.uint8], classes: Any, sources: list[Dataset]) -> str:
    """Return a SHA-256 over the images that a SEG refers to, the names of the classes, and the labels."""
    named = "\n".join([*(text(source, "SOPInstanceUID") for source in sources), *classes])
    return hashlib.sha256(named.encode() + np.packbits(values).tobytes()).hexdigest()


def _uid(kind: str, digest: str) -> str:
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=[SOFTWARE, kind, digest]))


@cache
def _version() -> str:
    try:
        return version(SOFTWARE)
    except PackageNotFoundError:
        return "0"
