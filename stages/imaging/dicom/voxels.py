"""Compare a DICOM image with labels of another format: NIfTI by its place in the patient, others by their order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.dicom.geometry import Place
from stages.imaging.dicom.headers import Facts
from stages.imaging.volumes.geometry import Geometry
from stages.imaging.volumes.nifti import NiftiVolume

if TYPE_CHECKING:
    from stages.imaging.volumes.volume import Volume
    from stages.settings import Size

__all__ = ["geometry_of", "label_fault", "order_fault"]

TO_RAS = np.array([-1.0, -1.0, 1.0])
"""Factors from DICOM's patient coordinates to those of NIfTI."""
UNEVEN = 0.5
"""Largest distance of a slice from its place among evenly spaced ones, as a share of the distance of slices."""


def geometry_of(places: Sequence[Place], size: Size) -> Geometry | None:
    """Return the place of the voxels, (plane, row, column); None if it is not known.

    Args:
        places: The places of the slices in their order. A single slice is taken as 1 mm thick.
        size: (rows, columns) of the slices.
    """
    first, last = places[0], places[-1]
    if first.spacing is None or not all(one.known for one in places):
        return None
    affine = np.eye(4)
    start = np.array(first.position)
    step = (np.array(last.position) - start) / (len(places) - 1) if len(places) > 1 else np.array(first.normal)
    steps = [
        step,
        np.array(first.columns_along) * first.spacing[0],
        np.array(first.rows_along) * first.spacing[1],
    ]
    affine[:3] = np.stack([*steps, start], axis=1) * TO_RAS[:, None]
    return Geometry((len(places), *size), affine)


def label_fault(places: Sequence[Place], size: Size, labels: Volume) -> str | None:
    """Return why a label file does not lie on an image, with the remedy; None if it does, or has no place.

    Args:
        places: The places of the slices in their order.
        size: (rows, columns) of the slices.
        labels: The opened label file. It has as many planes as the image.
    """
    if not isinstance(labels, NiftiVolume):
        return None
    mine, theirs = geometry_of(places, size), labels.header.geometry
    if mine is None:
        return "has a place in the patient and its DICOM image has none; give the labels as DICOM SEG"
    if mine.fault() is not None or not _even(places):
        what = "whose slices are tilted, or are not at even distances"
        return f"cannot be compared with its DICOM image, {what}; give the labels as DICOM SEG"
    cut, wanted = theirs.name(labels.axis), mine.name("0")
    if cut != wanted:
        return f"is cut into {cut} planes, and its DICOM image has {wanted} ones; add --axis {wanted}"
    if not mine.is_cut(wanted):
        return "and the slices of its DICOM image are mirrored or turned; give the labels as DICOM SEG"
    found = mine.elsewhere(theirs)
    return None if found is None else f"{found}; save the labels with the voxels and the affine of the image"


def _even(places: Sequence[Place]) -> bool:
    """Return True if the slices follow one another at about the same distance."""
    positions = np.array([one.position for one in places])
    expected = np.linspace(positions[0], positions[-1], len(places))
    step = np.linalg.norm(positions[-1] - positions[0]) / max(1, len(places) - 1)
    return bool(np.linalg.norm(positions - expected, axis=1).max() <= UNEVEN * step)


def order_fault(slices: Sequence[Facts]) -> str | None:
    """Return why labels without a place in the patient may lie on other slices of a series; None if they cannot.

    Slices are counted by position. Most programs count them by InstanceNumber, so both orders must be the same.

    Args:
        slices: The slices in their order.
    """
    numbers = [one.instance_number for one in slices]
    if all(low is not None and high is not None and low < high for low, high in pairwise(numbers)):
        return None
    what = "has no place in the patient, and the slices of its DICOM series are numbered in another order than they lie"
    return f"{what}; give the labels as DICOM SEG or NIfTI"
