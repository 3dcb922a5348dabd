"""Read the files of one DICOM series as the slices of one volume.

Slices are sorted by their position along their normal, as slices of NIfTI files are: from the feet upward, from back to
front, or from left to right. Files that do not say their position are sorted by InstanceNumber. The order of the files
on disk and their names do not count.

A series that cannot be trusted as a volume is refused when it is opened: slices that are missing, the same position
twice, sizes or orientations that change, several patients.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.imaging.dicom.files import require_axis, volume_facts
from stages.imaging.dicom.geometry import LEAST_DIFFERENCE, distance_of, same_orientation
from stages.imaging.dicom.headers import Facts, read_facts
from stages.imaging.dicom.pixels import read_frame
from stages.imaging.opening import refuse
from stages.imaging.parts import region
from stages.imaging.volumes.opened import hash_file
from stages.imaging.volumes.paths import VolumePath
from stages.imaging.volumes.volume import Volume, VolumeFacts
from stages.runtime.look_ahead import look_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["SeriesPath", "SeriesVolume", "sorted_slices"]

GAP = 1.5
"""A distance between slices that is this many times the usual one is a gap."""
UNEVEN = 0.5
"""Two slices closer than this share of the usual distance overlap."""


class SeriesPath(VolumePath):
    """Path of a series: its folder if nothing else is in there, else its first file."""

    files: tuple[Path, ...]
    """The files of its slices, in any order."""

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        """Take the path that names the series, and the files of its slices."""
        super().__init__(path)
        self.files = tuple(map(Path, files))

    def __reduce__(self) -> tuple[type[SeriesPath], tuple[str, tuple[Path, ...]]]:
        return SeriesPath, (str(self), self.files)

    def absolute(self) -> SeriesPath:
        """Return the series with absolute paths of its files; see `VolumePath.absolute`."""
        return SeriesPath(Path(self).absolute(), [file.absolute() for file in self.files])

    def open_volume(self) -> SeriesVolume:
        """Open the series; see `VolumePath.open_volume`."""
        return SeriesVolume(self)

    def content_digest(self) -> str:
        """Return the SHA-256 of the sorted digests of the files, in hexadecimal, with a line break after each."""
        digests = sorted(look_ahead(hash_file, self.files))
        return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()

    @property
    def identity(self) -> Hashable:
        """Return what distinguishes this image from others at the same path."""
        return ("series", str(self), *map(str, self.files))


class SeriesVolume(Volume):
    """Read the slices of one series."""

    def __init__(self, path: SeriesPath) -> None:
        """Read the headers, sort the slices and check them.

        Raises:
            InputProblemsError: a file cannot be used, or the slices make no volume.
        """
        self.slices: tuple[Facts, ...] = tuple(sorted_slices(path))
        self._path = path
        self.turned = False  # planes are shown as they are stored
        facts = [volume_facts(one) for one in self.slices]
        middle = facts[len(facts) // 2]
        spacing = middle.spacing_mm
        self.facts = VolumeFacts(
            planes=len(self.slices),
            size=middle.size,
            channels=middle.channels,
            deep=any(one.deep for one in facts),
            spacing_mm=None if spacing is None else (spacing[0], spacing[1], _distance(self.slices)),
            patient=middle.patient,
            window=middle.window,
            values=middle.values,
            orientation=middle.orientation,
        )

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one slice; see `Volume.read`."""
        path = self.slices[plane].path
        values = read_frame(path)
        if values.shape[:2] != self.facts.size:
            refuse(path, f"has the size {values.shape}; restore the file from its source")
        return region(values, box)

    def along(self, axis: str) -> Volume:
        """Return the series itself; see `Volume.along`."""
        require_axis(self._path, self.facts.orientation, axis)
        return self

    def elsewhere(self, labels: Volume) -> str | None:
        """Return how the place of a label file differs from that of the series; see `Volume.elsewhere`."""
        from stages.imaging.dicom.segments import SegmentVolume  # here, because segments read the slices of a series
        from stages.imaging.dicom.voxels import label_fault, order_fault

        if isinstance(labels, SegmentVolume):
            return None
        if labels.turned is None:
            return order_fault(self.slices)
        return label_fault([one.place for one in self.slices], self.facts.size, labels)


def sorted_slices(path: SeriesPath) -> list[Facts]:
    """Return the facts of the slices in their order in the volume.

    Raises:
        InputProblemsError: a file cannot be used, or the slices make no volume. The message names the files.
    """
    slices = list(look_ahead(read_facts, path.files))
    for kind, value_of in KINDS.items():
        _require_same(path, slices, kind, value_of)
    first = slices[0]
    for one in slices[1:] if first.place.known else ():
        if not same_orientation(first.place, one.place):
            what = f"{one.path.name} has another orientation than {first.path.name}"
            refuse(path, f"the series changes: {what}; give the slices of each orientation a folder of their own")
    return _by_position(path, slices) if all(one.place.known for one in slices) else _by_number(path, slices)


KINDS: dict[str, Callable[[Facts], object]] = {
    "PatientID": lambda one: one.patient,
    "size (rows, columns)": lambda one: (one.rows, one.columns),
    "spacing of pixels": lambda one: one.place.spacing,
    "kind of colours": lambda one: (one.samples, one.palette),
    "presence of a position": lambda one: one.place.known,
}
"""Facts that all slices of a series have in common."""


def _require_same(path: SeriesPath, slices: Sequence[Facts], kind: str, value_of: Callable[[Facts], object]) -> None:
    """Raise InputProblemsError if the slices differ in a fact; patients are not named, only their files."""
    first = slices[0]
    for one in slices[1:]:
        if value_of(one) != value_of(first):
            values = "" if kind == "PatientID" else f" ({value_of(first)} and {value_of(one)})"
            what = f"the series changes its {kind} between {first.path.name} and {one.path.name}{values}"
            refuse(path, f"{what}; remove the files that do not belong to it")


def _by_position(path: SeriesPath, slices: Sequence[Facts]) -> list[Facts]:
    normal = slices[0].place.normal
    ordered = sorted(slices, key=lambda one: (one.place.depth(normal), one.instance_number or 0, str(one.path)))
    depths = [one.place.depth(normal) for one in ordered]
    usual = distance_of(depths)
    for (lower, low), (upper, high) in pairwise(zip(ordered, depths, strict=True)):
        if usual is None or high - low <= max(LEAST_DIFFERENCE, UNEVEN * usual):
            what = f"{lower.path.name} and {upper.path.name} are at the same position ({low:g} and {high:g} mm)"
            refuse(path, f"{what}; remove one, or give each time point or contrast a folder of its own")
        if high - low > GAP * usual:
            count = max(1, round((high - low) / usual) - 1)
            what = f"{high - low:g} mm between {lower.path.name} and {upper.path.name} in place of {usual:g}"
            refuse(path, f"about {_slices(count)} missing: {what}; restore the series from its source")
    return ordered


def _by_number(path: SeriesPath, slices: Sequence[Facts]) -> list[Facts]:
    if unnumbered := next((one for one in slices if one.instance_number is None), None):
        what = f"{unnumbered.path.name} has neither a position (ImagePositionPatient) nor an InstanceNumber"
        refuse(path, f"the slices have no order: {what}; give the files as single images, in folders of their own")
    ordered = sorted(slices, key=lambda one: (one.instance_number or 0, str(one.path)))
    for lower, upper in pairwise(ordered):
        low, high = lower.instance_number or 0, upper.instance_number or 0
        if low == high:
            refuse(path, f"{lower.path.name} and {upper.path.name} have the same InstanceNumber {low}; remove one")
        if high - low > 1:
            what = f"{lower.path.name} has the InstanceNumber {low} and {upper.path.name} {high}"
            refuse(path, f"{_slices(high - low - 1)} missing: {what}; restore the series from its source")
    return ordered


def _slices(count: int) -> str:
    return "1 slice is" if count == 1 else f"{count} slices are"


def _distance(slices: Sequence[Facts]) -> float | None:
    """Return the distance of neighbouring slices in millimetres."""
    if not slices[0].place.known:
        return slices[0].place.between_slices
    return distance_of([one.place.depth(slices[0].place.normal) for one in slices])
