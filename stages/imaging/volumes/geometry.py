"""Place the voxels of a scan in the patient: cut it into planes that lie as viewers show them, and compare two scans.

An affine takes voxel indices to millimetres in the patient. Its axes point to the patient's right, to the front (the
nose) and to the head ("RAS"). Planes are cut along the axis of the array that is nearest to the one asked for, so
values are never interpolated:

| axis       | planes are counted   | rows run            | columns run                          |
|------------|----------------------|---------------------|--------------------------------------|
| `axial`    | from the feet upward | from front to back  | from the patient's right to the left |
| `coronal`  | from back to front   | from head to feet   | from the patient's right to the left |
| `sagittal` | from left to right   | from head to feet   | from front to back                   |

`0`, `1` and `2` are the axes of the array; each is cut like the one of the three above that is nearest to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.volumes.volume import Spacing
    from stages.settings import Size

__all__ = ["AXES", "Geometry"]

AXES = ("axial", "coronal", "sagittal", "0", "1", "2")
"""The axes along which a scan can be cut."""
RIGHT, FRONT, HEAD = 0, 1, 2
DIRECTIONS = {"axial": (HEAD, FRONT, RIGHT), "coronal": (FRONT, HEAD, RIGHT), "sagittal": (RIGHT, HEAD, FRONT)}
"""The patient's axes of planes, rows and columns."""
RIGHT_ANGLE = 1e-3
"""Largest cosine of the angle between two axes that counts as a right angle."""
NEAR = 0.8
"""Smallest cosine of the angle to an axis of the patient at which planes have its name."""
SAME_PLACE = 0.01
"""Largest distance of the same corner of two scans, in voxels."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Hold the shape of an array of voxels and its place in the patient."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    """(4, 4) from voxel indices to millimetres, "RAS"."""

    def fault(self) -> str | None:
        """Return why the scan cannot be cut into planes, with the remedy; None if it can."""
        columns = self.affine[:3, :3]
        if not np.isfinite(self.affine).all():
            return "has an affine with values that are not finite; save it again with the right one"
        with np.errstate(over="ignore", under="ignore"):  # infinite lengths count as shear
            lengths = np.linalg.norm(columns, axis=0)
        if (lengths == 0).any():
            return "has an affine that gives its voxels no size; save it again with the right one"
        cosines = (columns / lengths).T @ (columns / lengths) - np.eye(3)
        worst = float(np.abs(cosines).max())
        if worst > RIGHT_ANGLE:
            angle = np.degrees(np.arccos(min(1.0, worst)))
            return (
                f"has an affine with shear: two of its axes meet at {angle:.1f} degrees and not at right angles; "
                "resample it to axes at right angles, because this program never interpolates scans"
            )
        return None

    @cached_property
    def _nearest(self) -> tuple[tuple[int, bool], ...]:
        """The patient's axis that is nearest to each axis of the array, and whether both point the same way."""
        from nibabel.orientations import io_orientation

        orientation: Any = io_orientation  # nibabel has no types
        return tuple((int(axis), bool(way > 0)) for axis, way in orientation(self.affine))

    def name(self, axis: str) -> str:
        """Return `axial`, `coronal` or `sagittal` for one of `AXES`."""
        if axis in DIRECTIONS:
            return axis
        patient = self._nearest[int(axis)][0]
        return next(name for name, directions in DIRECTIONS.items() if directions[0] == patient)

    def orientation(self, axis: str) -> str:
        """Return the name of the planes along an axis; `oblique` if they are far from all three."""
        column = self.affine[:3, self._order(axis)[0][0]]
        name = self.name(axis)
        near = abs(column[DIRECTIONS[name][0]]) / np.linalg.norm(column) >= NEAR
        return name if near else "oblique"

    def cut(self, values: NDArray[Any], axis: str) -> NDArray[Any]:
        """Return an array of the scan's shape as (plane, row, column): the same memory, seen in another order.

        Args:
            values: An array whose first three axes are those of the scan.
            axis: One of `AXES`.
        """
        order = self._order(axis)
        turned = values.transpose(*(at for at, _ in order), *range(3, values.ndim))
        return turned[tuple(slice(None, None, -1 if reverse else 1) for _, reverse in order)]

    def size(self, axis: str) -> Size:
        """Return (rows, columns) of the planes along an axis."""
        _, row, column = (self.shape[at] for at, _ in self._order(axis))
        return row, column

    def planes(self, axis: str) -> int:
        """Return the number of planes along an axis."""
        return self.shape[self._order(axis)[0][0]]

    def spacing(self, axis: str) -> Spacing:
        """Return the millimetres between rows, columns and planes along an axis."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        plane, row, column = (float(lengths[at]) for at, _ in self._order(axis))
        return row, column, plane

    def is_cut(self, axis: str) -> bool:
        """Return True if the array itself is (plane, row, column) along an axis, so that `cut` changes nothing."""
        return self._order(axis) == [(0, False), (1, False), (2, False)]

    def turns(self, axis: str) -> bool:
        """Return True if planes along an axis differ from those that programs without a place in the patient show.

        These count planes, rows and columns along the third, the second and the first axis of the array.
        """
        return self._order(axis) != [(2, False), (1, False), (0, False)]

    def _order(self, axis: str) -> list[tuple[int, bool]]:
        """Return the array's axis of planes, rows and columns, and whether its indices are taken in reverse."""
        found = {patient: (at, same) for at, (patient, same) in enumerate(self._nearest)}
        plane, *inside = (found[patient] for patient in DIRECTIONS[self.name(axis)])
        return [(plane[0], not plane[1]), *((at, same) for at, same in inside)]

    def elsewhere(self, other: Geometry) -> str | None:
        """Return how the voxels of another scan differ from those of this one; None if they are at the same places.

        The axes of the other array may be in another order or point the other way.
        """
        mine, theirs = ([one.size("axial"), one.planes("axial")] for one in (self, other))
        if mine != theirs:
            return f"has {_voxels(other.shape)} voxels and its image {_voxels(self.shape)}"
        corners = [geometry._corners() for geometry in (self, other)]  # noqa: SLF001 - the same class
        to_voxels = np.linalg.inv(self.affine[:3, :3])
        apart = np.abs(to_voxels @ (corners[0] - corners[1])).max()
        if apart > SAME_PLACE:
            return f"lies {apart:.3g} voxels away from its image, by the affines of the two files"
        return None

    def _corners(self) -> NDArray[np.float64]:
        """Return (3, 8) the place of the corner voxels in millimetres, in an order that does not depend on the axes."""
        order = self._order("axial")
        found = []
        for ends in product((False, True), repeat=3):
            voxel = np.array([0.0, 0.0, 0.0, 1.0])
            for end, (at, reverse) in zip(ends, order, strict=True):
                voxel[at] = self.shape[at] - 1 if end != reverse else 0
            found.append((self.affine @ voxel)[:3])
        return np.array(found).T


def _voxels(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
