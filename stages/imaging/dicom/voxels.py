"""Compare a DICOM series with a label file that has voxels in the patient (NIfTI)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.imaging.dicom.headers import Facts
from stages.imaging.volumes.geometry import Geometry
from stages.imaging.volumes.nifti import NiftiVolume

if TYPE_CHECKING:
    from stages.imaging.volumes.volume import Volume

__all__ = ["geometry_of", "label_fault"]

TO_RAS = np.array([-1.0, -1.0, 1.0])
"""Factors from DICOM's patient coordinates to those of NIfTI."""


def geometry_of(slices: Sequence[Facts]) -> Geometry | None:
    """Return the place of the voxels, (plane, row, column); None if it is not known, or for one slice."""
    first, last = slices[0].place, slices[-1].place
    if len(slices) < 2 or first.spacing is None or not (first.known and last.known):  # noqa: PLR2004 - no distance
        return None
    affine = np.eye(4)
    start = np.array(first.position)
    steps = [
        (np.array(last.position) - start) / (len(slices) - 1),
        np.array(first.columns_along) * first.spacing[0],
        np.array(first.rows_along) * first.spacing[1],
    ]
    affine[:3] = np.stack([*steps, start], axis=1) * TO_RAS[:, None]
    return Geometry((len(slices), slices[0].rows, slices[0].columns), affine)


def label_fault(slices: Sequence[Facts], labels: Volume) -> str | None:
    """Return why a label file does not lie on a series, with the remedy; None if it does, or has no place.

    Args:
        slices: The slices in their order.
        labels: The opened label file. It has as many planes as the series.
    """
    if not isinstance(labels, NiftiVolume):
        return None
    mine, theirs = geometry_of(slices), labels.header.geometry
    if mine is None:
        return "has a place in the patient and its DICOM series has none; give the labels as DICOM SEG"
    cut, wanted = theirs.name(labels.axis), mine.name("0")
    if cut != wanted:
        return f"is cut into {cut} planes, and its DICOM series has {wanted} ones; add --axis {wanted}"
    if not mine.is_cut(wanted):
        return "and the slices of its DICOM series are mirrored or turned; give the labels as DICOM SEG"
    found = mine.elsewhere(theirs)
    return None if found is None else f"{found}; save the labels with the voxels and the affine of the series"
