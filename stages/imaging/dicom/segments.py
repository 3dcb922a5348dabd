"""Read one class of a DICOM SEG as the labels of an image: a series, or a file with one or several frames.

A SEG holds frames, each with one segment on one slice. A frame belongs to the slice that it refers to by
SOPInstanceUID; without such a reference, to the slice at its position. Slices without a frame have no foreground.

| SegmentationType | the values that are read                                                                      |
|------------------|-----------------------------------------------------------------------------------------------|
| BINARY           | 0 and 255                                                                                     |
| FRACTIONAL       | 0, or 2 to 255: the share of MaximumFractionalValue; `--threshold` says what is foreground     |
| LABELMAP         | 255 where the value is the segment's number                                                   |
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.dicom.elements import number, text
from stages.imaging.dicom.frames import Target, plane_of_frame, targets_of
from stages.imaging.dicom.headers import dataset_of
from stages.imaging.dicom.pixels import read_frame
from stages.imaging.opening import refuse
from stages.imaging.volumes.opened import hash_file
from stages.imaging.volumes.paths import VolumePath
from stages.imaging.volumes.volume import Volume, VolumeFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom import Dataset

    from stages.imaging.parts import Box

__all__ = ["SegmentPath", "SegmentVolume", "Segmentation", "read_segmentation"]

WHITE = 255


@dataclass(frozen=True, kw_only=True)
class Segmentation:
    """Hold what a SEG says without its pixels."""

    labels: dict[str, tuple[int, ...]]
    """Numbers of the segments of every class; classes are named by SegmentLabel."""
    series: frozenset[str]
    """UIDs of the series that it refers to."""
    instances: frozenset[str]
    """UIDs of the files that it refers to."""
    frame_of_reference: str


class SegmentPath(VolumePath):
    """Path of a SEG, with the segments of one class and the image that they are read for."""

    numbers: tuple[int, ...]
    """Numbers of the segments."""
    image: Path
    """The series or the file to whose planes the frames belong."""

    def __init__(self, path: Path, numbers: Sequence[int], image: Path) -> None:
        """Take the SEG, the segments and the image."""
        super().__init__(path)
        self.numbers = tuple(numbers)
        self.image = image

    def __reduce__(self) -> tuple[type[SegmentPath], tuple[str, tuple[int, ...], Path]]:
        return SegmentPath, (str(self), self.numbers, self.image)

    def absolute(self) -> SegmentPath:
        """Return the labels with absolute paths of the SEG and of the image; see `VolumePath.absolute`."""
        return SegmentPath(Path(self).absolute(), self.numbers, self.image.absolute())

    def open_volume(self) -> SegmentVolume:
        """Open the labels; see `VolumePath.open_volume`."""
        return SegmentVolume(self)

    def content_digest(self) -> str:
        """Return the SHA-256 of the file's bytes."""
        return hash_file(Path(self))

    @property
    def identity(self) -> Hashable:
        """Return what distinguishes this image from others at the same path."""
        image = self.image.identity if isinstance(self.image, VolumePath) else str(self.image)
        return ("segment", str(self), self.numbers, image)


class SegmentVolume(Volume):
    """Read the labels of one class for every plane of an image."""

    def __init__(self, path: SegmentPath) -> None:
        """Read the header, and find the frames of every plane.

        Raises:
            InputProblemsError: the file cannot be used, or does not fit the image.
        """
        self._path = Path(path)
        self._numbers = path.numbers
        self._header = _header_of(self._path)
        self._kind = text(self._header, "SegmentationType").upper()
        targets = targets_of(path.image)
        spacing = targets[0].place.spacing
        self.facts = VolumeFacts(
            planes=len(targets),
            size=targets[0].size,
            channels=1,
            deep=False,
            spacing_mm=None if spacing is None else (*spacing, None),
            values="8-bit",
        )
        size = (number(self._header, "Rows") or 0, number(self._header, "Columns") or 0)
        if size != targets[0].size:
            what = f"its frames are {size[0]} x {size[1]} and its image {path.image.name} {targets[0].size[0]} x "
            refuse(self._path, f"{what}{targets[0].size[1]} (height x width); export it at the image's size")
        self._frames = self._by_plane(targets)

    @property
    def fractional(self) -> bool:
        """Return True if the labels are fractions."""
        return self._kind == "FRACTIONAL"

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the labels of a plane, (row, column) uint8 from 0 to 255; see the table above."""
        labels = np.zeros(self.facts.size, np.uint8)
        for frame in self._frames.get(plane, ()):
            np.maximum(labels, self._values(frame), out=labels)
        if box is None:
            return labels
        row, column, rows, columns = box
        return labels[row : row + rows, column : column + columns]

    def _values(self, frame: int) -> NDArray[np.uint8]:
        stored = read_frame(self._path, frame, self._header)
        if self._kind == "LABELMAP":
            return np.isin(stored, self._numbers).astype(np.uint8) * np.uint8(WHITE)
        highest = (number(self._header, "MaximumFractionalValue") or WHITE) if self._kind == "FRACTIONAL" else 1
        labels: NDArray[np.uint8] = np.rint(np.minimum(stored / highest, 1) * WHITE).astype(np.uint8)
        labels[labels == 1] = 2  # a mask of 0 and 1 would be black and white
        return labels

    def _by_plane(self, targets: Sequence[Target]) -> dict[int, list[int]]:
        """Return the frames of every plane, from 0.

        Raises:
            InputProblemsError: a frame belongs to no plane.
        """
        frames = self._header.get("PerFrameFunctionalGroupsSequence") or ()
        shared = (self._header.get("SharedFunctionalGroupsSequence") or [None])[0]
        planes: dict[int, list[int]] = defaultdict(list)
        for index, frame in enumerate(frames):
            if self._kind != "LABELMAP" and _segment_of(frame, shared) not in self._numbers:
                continue
            planes[plane_of_frame(self._path, self._header, index, targets)].append(index)
        if len(frames) != (number(self._header, "NumberOfFrames") or 1):
            refuse(self._path, "does not say to which image its frames belong; export it from its program once more")
        return dict(planes)


def read_segmentation(path: Path) -> Segmentation:
    """Return what a SEG says, without its pixels.

    Raises:
        InputProblemsError: the file cannot be read or names no segments.
    """
    header = _header_of(Path(path))
    labels: dict[str, list[int]] = defaultdict(list)
    for segment in header.get("SegmentSequence") or ():
        found = number(segment, "SegmentNumber")
        if found is None:
            refuse(path, "has a segment without a number; export it from its program once more")
        labels[" ".join(text(segment, "SegmentLabel").split()) or f"segment {found}"].append(found)
    if not labels:
        refuse(path, "is a DICOM SEG without segments; remove it")
    series = list(header.get("ReferencedSeriesSequence") or ())
    instances = {text(one, "ReferencedSOPInstanceUID") for one in _sources(header)}
    for one in series:
        instances |= {text(item, "ReferencedSOPInstanceUID") for item in one.get("ReferencedInstanceSequence") or ()}
    return Segmentation(
        labels={label: tuple(found) for label, found in labels.items()},
        series=frozenset(filter(None, (text(one, "SeriesInstanceUID") for one in series))),
        instances=frozenset(filter(None, instances)),
        frame_of_reference=text(header, "FrameOfReferenceUID"),
    )


def _sources(header: Dataset) -> list[Dataset]:
    """Return the references of all frames to their source images."""
    groups = [*(header.get("SharedFunctionalGroupsSequence") or ())]
    groups += [*(header.get("PerFrameFunctionalGroupsSequence") or ())]
    return [
        source
        for group in groups
        for derivation in group.get("DerivationImageSequence") or ()
        for source in derivation.get("SourceImageSequence") or ()
    ]


def _segment_of(frame: Dataset, shared: Dataset | None) -> int | None:
    """Return the number of the segment that a frame shows."""
    for group in (frame, shared):
        for item in (group.get("SegmentIdentificationSequence") or ()) if group is not None else ():
            return number(item, "ReferencedSegmentNumber")
    return None


_TURN = threading.Lock()


def _header_of(path: Path) -> Dataset:
    """Return the data set of a SEG without its pixels; the last ones are kept, because every class asks for it."""
    status = path.stat()
    with _TURN:
        return _read_header(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_header(name: str, size: int, changed: int) -> Dataset:  # noqa: ARG001 - a replaced file is read again
    return dataset_of(Path(name), pixels=False)
