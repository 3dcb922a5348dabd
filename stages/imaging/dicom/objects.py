"""Read the segments of a DICOM SEG as objects: every segment is one, also if several have the same label."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stages.imaging.dicom.segments import SegmentPath, SegmentVolume
from stages.imaging.opening import refuse
from stages.imaging.volumes.opened import open_volume

if TYPE_CHECKING:
    from stages.imaging.samples import LabelFile

__all__ = ["is_segment", "split_segments"]


def is_segment(file: LabelFile) -> bool:
    """Return True if a label file is a segment of a DICOM SEG."""
    return isinstance(file.path, SegmentPath)


def split_segments(file: LabelFile) -> list[LabelFile]:
    """Return one label file for each segment of a class; any other file as it is.

    Raises:
        InputProblemsError: the segments have fractions, which say nothing about single objects.
    """
    path = file.path
    if not isinstance(path, SegmentPath):
        return [file]
    volume = open_volume(path)
    if isinstance(volume, SegmentVolume) and volume.fractional:
        refuse(path, "has fractional segments, and objects have a border; save it with binary segments")
    return [replace(file, path=SegmentPath(path, (number,), path.image)) for number in path.numbers]
