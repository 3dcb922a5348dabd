"""Find the plane of an image that a frame of a DICOM SEG belongs to: by reference, else by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.imaging.dicom.elements import number, place_of, text
from stages.imaging.dicom.geometry import Place, same_orientation
from stages.imaging.dicom.headers import read_facts
from stages.imaging.opening import refuse
from stages.imaging.volumes.opened import open_volume

if TYPE_CHECKING:
    from pydicom import Dataset

    from stages.settings import Size

__all__ = ["Target", "plane_of_frame", "targets_of"]

OFF = 0.5
"""Largest distance between the first pixels of a frame and of its slice, in pixels."""
BETWEEN = 0.01
"""Largest distance along the normal, in millimetres, at which a frame is on a slice."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Hold one plane of an image that labels can belong to."""

    instance: str
    """SOPInstanceUID of its file."""
    frame: int
    """Position of the frame in the file, from 1."""
    size: Size
    place: Place


def targets_of(image: Path) -> list[Target]:
    """Return the planes of a series, or the frames of a file, in the order of the volume.

    Raises:
        InputProblemsError: the image cannot be used.
    """
    from stages.imaging.dicom.series import SeriesPath, SeriesVolume

    if isinstance(image, SeriesPath):
        volume = open_volume(image)
        slices = volume.slices if isinstance(volume, SeriesVolume) else ()
        return [
            Target(instance=one.sop_instance, frame=1, size=(one.rows, one.columns), place=one.place) for one in slices
        ]
    facts = read_facts(Path(image))
    places = facts.frame_places or [facts.place] * facts.frames
    return [
        Target(instance=facts.sop_instance, frame=at, size=(facts.rows, facts.columns), place=place)
        for at, place in enumerate(places, start=1)
    ]


def plane_of_frame(path: Path, header: Dataset, index: int, targets: Sequence[Target]) -> int:
    """Return the position of the plane that a frame of a SEG belongs to, from 0.

    Args:
        path: The SEG, for messages.
        header: The SEG without its pixels.
        index: Position of the frame, from 0.
        targets: The planes.

    Raises:
        InputProblemsError: there is none, or the frame lies elsewhere in the patient than the plane.
    """
    place = _place_of_frame(header, index)
    referred = _referred(header, index, targets)
    if len(referred) == 1:
        (plane,) = referred
        if place.known and targets[plane].place.known:
            _require_same_place(path, index, place, targets[plane].place)
        return plane
    if not place.known:
        refuse(path, f"frame {index + 1} refers to no slice of its image; give the whole series that it was made from")
    found = next((plane for plane, target in enumerate(targets) if _is_on(place, target.place)), None)
    if found is None:
        what = f"frame {index + 1} lies on no slice of its image, or is turned against it"
        refuse(path, f"{what}; resample the labels to the image")
    _require_same_place(path, index, place, targets[found].place)
    return found


def _is_on(frame: Place, plane: Place) -> bool:
    """Return True if a frame is in the same plane of the patient as a slice."""
    near = plane.known and same_orientation(frame, plane)
    return near and abs(frame.depth(frame.normal) - plane.depth(frame.normal)) <= BETWEEN


def _referred(header: Dataset, index: int, targets: Sequence[Target]) -> set[int]:
    """Return the positions of the planes that a frame names as its sources."""
    planes = {(one.instance, one.frame): plane for plane, one in enumerate(targets)}
    frames = header.get("PerFrameFunctionalGroupsSequence") or ()
    found = set()
    for derivation in frames[index].get("DerivationImageSequence") or ():
        for source in derivation.get("SourceImageSequence") or ():
            key = (text(source, "ReferencedSOPInstanceUID"), number(source, "ReferencedFrameNumber") or 1)
            if key in planes:
                found.add(planes[key])
    return found


def _place_of_frame(header: Dataset, index: int) -> Place:
    place = place_of(header, index)
    return place if place.spacing is not None else replace(place, spacing=place_of(header).spacing)


def _require_same_place(path: Path, index: int, frame: Place, plane: Place) -> None:
    """Make sure that the pixels of a frame lie on those of a plane.

    Raises:
        InputProblemsError: they lie elsewhere, are turned, or have another distance.
    """
    if frame.position is None or plane.position is None:
        return
    spacing = plane.spacing or frame.spacing or (1.0, 1.0)
    offset = sum((one - other) ** 2 for one, other in zip(frame.position, plane.position, strict=True)) ** 0.5
    if not same_orientation(frame, plane) or offset > OFF * min(spacing):
        what = f"frame {index + 1} lies {offset:.3g} mm from its image, or is turned against it"
        refuse(path, f"{what}; resample the labels to the image")
    if frame.spacing is not None and plane.spacing is not None:
        relative = max(abs(a / b - 1) for a, b in zip(frame.spacing, plane.spacing, strict=True))
        if relative > BETWEEN:
            refuse(path, f"frame {index + 1} has another size of pixels than its image; resample it to the image")
