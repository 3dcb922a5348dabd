"""Turn files with several planes into samples, one for each plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stages.errors import InputProblemsError, Problem
from stages.imaging.parts import AXIAL, Part
from stages.imaging.samples import LabelFile, SourceSample, id_problem, printable
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.imaging.volumes.volume import Volume

__all__ = ["plane_id", "split_into_planes"]

MOST_PLANES = 100_000
"""Planes of one file. The header of a small file can promise billions, which would fill the memory."""
DIGITS = 3
"""Digits of a plane's number in an id, at least."""


def plane_id(parent: str, plane: int, planes: int) -> str:
    """Return the id of a plane's sample: `scan_z007`. The number has as many digits as the last one needs."""
    return f"{parent}_z{plane:0{max(DIGITS, len(str(planes - 1)))}d}"


def split_into_planes(samples: Sequence[SourceSample], axis: str = AXIAL) -> tuple[list[SourceSample], list[Problem]]:
    """Return one sample for every plane, in the order of the files, and the problems of files that cannot be used.

    The planes of a file are one group: the one that the user gives, else the patient that the file names, else the
    file. A file with one plane remains one sample. Only headers are read.

    Args:
        samples: Files with their labels.
        axis: Axis along which scans are cut; see `stages.imaging.parts.Part`.
    """
    result: list[SourceSample] = []
    problems: list[Problem] = []
    for sample in samples:
        try:
            if not is_volume_file(sample.image):
                _require_picture_labels(sample, axis)
                result.append(sample)
                continue
            result += _planes_of(sample, axis)
        except InputProblemsError as error:
            problems += error.problems
    return result, problems


def _planes_of(sample: SourceSample, axis: str) -> list[SourceSample]:
    """Return the samples of one file.

    Raises:
        InputProblemsError: image or labels cannot be read, or have different numbers of planes or places.
    """
    image = open_volume(sample.image, axis)
    facts = image.facts
    if facts.planes > MOST_PLANES:
        what = f"promises {facts.planes:,} planes, and at most {MOST_PLANES:,} are read; restore or divide the file"
        raise InputProblemsError([Problem(printable(sample.image), what)])
    group = facts.patient if facts.patient and not sample.grouped else sample.group
    for label in sample.masks:
        _require_same_place(label, sample.image, image, axis)
    if facts.planes == 1:
        whole = Part(axis=axis)
        masks = tuple(replace(label, part=whole) for label in sample.masks)
        return [replace(sample, part=whole, masks=masks, group=group)]
    parts = []
    for plane in range(facts.planes):
        identifier = plane_id(sample.id, plane, facts.planes)
        if (fault := id_problem(identifier)) is not None:
            raise InputProblemsError([Problem(printable(sample.image), fault)])
        part = Part(plane=plane, axis=axis)
        masks = tuple(replace(label, part=part) for label in sample.masks)
        parts.append(replace(sample, id=identifier, part=part, parent=sample.id, masks=masks, group=group))
    return parts


def _require_same_place(label: LabelFile, image_file: Path, image: Volume, axis: str) -> None:
    """Make sure that a label file has the planes of its image, at the same place.

    Raises:
        InputProblemsError: it has not, or cannot be read.
    """
    labels = open_volume(label.path, axis) if is_volume_file(label.path) else None
    planes, expected = 1 if labels is None else labels.facts.planes, image.facts.planes
    fault = (None if labels is None else image.elsewhere(labels)) or _turned(image, labels)
    if planes != expected:
        fault = f"has {planes} planes and its image {image_file.name} {expected}; export it with all planes"
    if fault is not None:
        raise InputProblemsError([Problem(printable(label.path), fault)])


def _require_picture_labels(sample: SourceSample, axis: str) -> None:
    """Make sure that labels with a place in the patient are not turned against a picture, which has none.

    Raises:
        InputProblemsError: they are, or cannot be read.
    """
    for label in sample.masks:
        labels = open_volume(label.path, axis) if is_volume_file(label.path) else None
        if (fault := _turned(None, labels)) is not None:
            raise InputProblemsError([Problem(printable(label.path), fault)])


def _turned(image: Volume | None, labels: Volume | None) -> str | None:
    """Return why labels may be turned or mirrored: only one of both files has a place in the patient.

    Args:
        image: The opened image; None for a picture.
        labels: The opened labels; None for a picture.
    """
    of_image, of_labels = (None if one is None else one.turned for one in (image, labels))
    if of_image is None and of_labels:
        what = "its affine turns or mirrors the planes, and its image has no place in the patient"
        return f"{what}; save the labels in the format of the image"
    if of_image and of_labels is None:
        what = "has no place in the patient, and the affine of its image turns or mirrors the planes"
        return f"{what}; save the labels as NIfTI with the affine of the image"
    return None
