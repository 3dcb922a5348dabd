"""Turn files with several planes into samples, one for each plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stages.errors import InputProblemsError, Problem
from stages.imaging.parts import Part
from stages.imaging.samples import LabelFile, SourceSample, id_problem, printable
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file

__all__ = ["plane_id", "split_into_planes"]

DIGITS = 3
"""Digits of a plane's number in an id, at least."""


def plane_id(parent: str, plane: int, planes: int) -> str:
    """Return the id of a plane's sample: `scan_z007`. The number has as many digits as the last one needs."""
    return f"{parent}_z{plane:0{max(DIGITS, len(str(planes - 1)))}d}"


def split_into_planes(samples: Sequence[SourceSample]) -> tuple[list[SourceSample], list[Problem]]:
    """Return one sample for every plane, in the order of the files, and the problems of files that cannot be used.

    The planes of a file are one group: the one that the user gives, else the patient that the file names, else the
    file. A file with one plane remains one sample. Only headers are read.
    """
    result: list[SourceSample] = []
    problems: list[Problem] = []
    for sample in samples:
        if not is_volume_file(sample.image):
            result.append(sample)
            continue
        try:
            result += _planes_of(sample)
        except InputProblemsError as error:
            problems += error.problems
    return result, problems


def _planes_of(sample: SourceSample) -> list[SourceSample]:
    """Return the samples of one file.

    Raises:
        InputProblemsError: image or labels cannot be read, or have different numbers of planes.
    """
    facts = open_volume(sample.image).facts
    group = facts.patient if facts.patient and sample.group == sample.id else sample.group
    if facts.planes == 1:
        return [replace(sample, group=group)]
    for label in sample.masks:
        planes = open_volume(label.path).facts.planes if is_volume_file(label.path) else 1
        if planes != facts.planes:
            what = f"has {planes} planes and its image {sample.image.name} {facts.planes}; export it with all planes"
            raise InputProblemsError([Problem(printable(label.path), what)])
    parts = []
    for plane in range(facts.planes):
        identifier = plane_id(sample.id, plane, facts.planes)
        if (fault := id_problem(identifier)) is not None:
            raise InputProblemsError([Problem(printable(sample.image), fault)])
        masks = tuple(_label_plane(label, plane) for label in sample.masks)
        parts.append(replace(sample, id=identifier, part=Part(plane=plane), parent=sample.id, masks=masks, group=group))
    return parts


def _label_plane(label: LabelFile, plane: int) -> LabelFile:
    return replace(label, part=Part(plane=plane))
