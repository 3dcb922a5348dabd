"""Write DICOM series with known geometry, and DICOM SEG files of them, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

__all__ = ["SPACING", "THICKNESS", "labels_of", "scan", "write_seg", "write_series"]

SPACING, THICKNESS = (0.7, 0.5), 2.5
"""Millimetres between rows and columns, and between slices."""
STUDY = generate_uid(entropy_srcs=["study"])
Change = Callable[[FileDataset, int], object]


def scan(planes: int = 4, size: tuple[int, int] = (22, 30), seed: int = 0) -> NDArray[np.int16]:
    """Return Hounsfield units, (plane, row, column): noise, with a bright disc that grows from slice to slice."""
    values = np.random.default_rng(seed).integers(-1000, 100, (planes, *size)).astype(np.int16)
    values[labels_of(planes, size) == 1] += 600
    return values


def labels_of(planes: int = 4, size: tuple[int, int] = (22, 30)) -> NDArray[np.uint8]:
    """Return 1 in the disc of `scan`, (plane, row, column); none in the first slice."""
    rows, columns = np.indices(size)
    discs = [np.hypot(rows - 9, columns - 12) < 2.5 * plane for plane in range(planes)]
    return np.stack(discs).astype(np.uint8)


def write_series(
    folder: Path,
    values: NDArray[np.int16],
    *,
    name: str = "IM-0001-{:04d}.dcm",
    patient: str = "P-1",
    series: str = "",
    number: int = 3,
    change: Change | None = None,
) -> list[Path]:
    """Write a CT series whose files are numbered against the order of the slices, with a slope of 2.

    Args:
        folder: Made if it does not exist.
        values: (plane, row, column) Hounsfield units; odd values lose 1.
        name: Name of the files by their number from 1.
        patient: PatientID.
        series: SeriesInstanceUID; "" for one that the patient and the number define.
        number: SeriesNumber.
        change: Called with each data set and the position of its slice before the file is written.

    Returns:
        The files, in the order of the slices.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = series or generate_uid(entropy_srcs=["series", patient, str(number)])
    paths = []
    for plane, pixels in enumerate(values):
        data = _slice(pixels, plane, len(values), patient, series)
        data.SeriesNumber = number
        if change is not None:
            change(data, plane)
        path = folder / name.format(len(values) - plane)
        data.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(pixels: NDArray[np.int16], plane: int, planes: int, patient: str, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(plane)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, series
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame", series])
    data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = patient, "Doe^Jane", "19700101", "F"
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = data.ReferringPhysicianName = ""
    data.Modality, data.Manufacturer, data.ImageType = "CT", "test", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.InstanceNumber = planes - plane
    data.ImagePositionPatient = [-10.0, 20.0, -50.0 + THICKNESS * plane]
    data.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    data.PixelSpacing, data.SliceThickness = list(SPACING), THICKNESS
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleSlope, data.RescaleIntercept = 2, -1024
    data.WindowCenter, data.WindowWidth = [40, 600], [400, 1500]
    data.PixelData = ((pixels.astype(np.int32) + 1024) // 2).astype("<u2").tobytes()
    return data


def write_seg(
    path: Path,
    sources: Sequence[Path],
    labels: NDArray[np.uint8],
    names: Sequence[str],
    *,
    fractional: bool = False,
    change: Callable[[pydicom.Dataset], object] | None = None,
) -> Path:
    """Write a DICOM SEG with highdicom.

    Args:
        path: The file.
        sources: The files of the slices, in the order of `labels`.
        labels: (plane, row, column): number of the segment from 1; with `fractional`, 0 to 255 of one segment.
        names: SegmentLabel of each segment.
        fractional: Write fractions in place of black and white.
        change: Called with the data set before the file is written.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    segments = [
        hd.seg.SegmentDescription(
            segment_number=at,
            segment_label=name,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for at, name in enumerate(names, start=1)
    ]
    kind = hd.seg.SegmentationTypeValues.FRACTIONAL if fractional else hd.seg.SegmentationTypeValues.BINARY
    seg = hd.seg.Segmentation(
        source_images=[pydicom.dcmread(one) for one in sources],
        pixel_array=(labels / np.float32(255)) if fractional else labels,
        segmentation_type=kind,
        segment_descriptions=segments,
        series_instance_uid=generate_uid(),
        series_number=100,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        max_fractional_value=255,
    )
    if change is not None:
        change(seg)
    path.parent.mkdir(parents=True, exist_ok=True)
    seg.save_as(path)
    return path
