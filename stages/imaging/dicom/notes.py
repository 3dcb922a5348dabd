"""Say in the output what DICOM files became, where a user may not expect it."""

from __future__ import annotations

from collections.abc import Sequence

from stages.errors import InputProblemsError
from stages.imaging.dicom.headers import Facts, read_facts
from stages.imaging.dicom.segments import SegmentPath
from stages.imaging.dicom.series import SeriesPath
from stages.imaging.samples import SourceSample

__all__ = ["dicom_notes"]


def dicom_notes(samples: Sequence[SourceSample]) -> list[str]:
    """Return sentences about the series, their labels, and a PatientID that all of them share."""
    series = [sample for sample in samples if isinstance(sample.image, SeriesPath)]
    labelled = sum(any(isinstance(mask.path, SegmentPath) for mask in sample.masks) for sample in samples)
    notes = []
    if series:
        files = sum(len(sample.image.files) for sample in series if isinstance(sample.image, SeriesPath))
        notes.append(f"{files:,} DICOM files are the slices of {len(series)} series")
    if labelled:
        notes.append(f"labels of {labelled} images are from DICOM SEG, by the series that each file refers to")
    patients = {facts.patient for sample in series if not sample.grouped and (facts := _facts(sample))}
    if len(series) > 1 and len(patients) == 1 and patients != {""}:
        remedy = "if they are of several patients, say so with --group-pattern"
        notes.append(f"all {len(series)} DICOM series have the same PatientID, so they are one group: {remedy}")
    return notes


def _facts(sample: SourceSample) -> Facts | None:
    """Return the facts of a series' first file; None if it cannot be read, which is reported when it is opened."""
    try:
        return read_facts(sample.image.files[0]) if isinstance(sample.image, SeriesPath) else None
    except InputProblemsError:
        return None
