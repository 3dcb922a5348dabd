"""Place slices in the patient: their position along the normal of the slices, their distance, and what is wrong.

Positions and directions are those of DICOM's patient coordinates, in millimetres: x to the patient's left, y to the
back, z to the head (PS3.3, C.7.6.2.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["PLANES", "Place", "distance_of", "same_orientation"]

COUNTED = (-1, -1, 1)
"""Direction along x, y and z in which slices are counted: to the right, to the front, to the head."""
PLANES = ("sagittal", "coronal", "axial")
"""Planes of the body at right angles to x, y and z."""
NEAR = 0.8
"""Smallest cosine of the angle to such a plane at which an image has its name."""
Vector = tuple[float, float, float]
LEAST_DIFFERENCE = 1e-3
"""Millimetres; slices that are closer together are at the same position."""
TURNED = 2e-3
"""Largest difference between the direction cosines of slices that have the same orientation."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Hold where an image lies in the patient, as far as its file says it."""

    position: Vector | None = None
    """Centre of the first pixel (ImagePositionPatient)."""
    rows_along: Vector | None = None
    """Direction in which the columns are counted: the first three values of ImageOrientationPatient."""
    columns_along: Vector | None = None
    """Direction in which the rows are counted: the last three values."""
    spacing: tuple[float, float] | None = None
    """Millimetres between the centres of neighbouring rows, and of neighbouring columns."""
    between_slices: float | None = None
    """SpacingBetweenSlices in millimetres, where the file says it."""

    @property
    def known(self) -> bool:
        """Return True if position and orientation are known."""
        return self.position is not None and self.rows_along is not None and self.columns_along is not None

    @property
    def orientation(self) -> str:
        """Return the plane of the body that the image is nearest to; "oblique" far from all, "" if it is not known."""
        if self.rows_along is None or self.columns_along is None:
            return ""
        sizes = [abs(one) for one in self.normal]
        return PLANES[sizes.index(max(sizes))] if max(sizes) >= NEAR else "oblique"

    @property
    def normal(self) -> Vector:
        """Return the direction at right angles to the image in which slices are counted. The place must be known.

        It points to the head, the front or the right of the patient, whichever is nearest.
        """
        if self.rows_along is None or self.columns_along is None:
            raise ValueError("the orientation is not known")
        (a, b, c), (d, e, f) = self.rows_along, self.columns_along
        across = (b * f - c * e, c * d - a * f, a * e - b * d)
        axis = max(range(3), key=lambda at: (round(abs(across[at]), 3), at))
        way = math.copysign(1, across[axis] * COUNTED[axis])
        return (way * across[0], way * across[1], way * across[2])

    def depth(self, normal: Vector) -> float:
        """Return the position along a direction in millimetres. The place must be known."""
        if self.position is None:
            raise ValueError("the position is not known")
        return sum(one * other for one, other in zip(self.position, normal, strict=True))


def same_orientation(one: Place, other: Place) -> bool:
    """Return True if two images with known places are parallel and not turned against each other."""
    if one.rows_along is None or one.columns_along is None or other.rows_along is None or other.columns_along is None:
        return False
    first, second = (*one.rows_along, *one.columns_along), (*other.rows_along, *other.columns_along)
    return all(abs(a - b) <= TURNED for a, b in zip(first, second, strict=True))


def distance_of(depths: Sequence[float]) -> float | None:
    """Return the median distance of neighbouring slices in millimetres, from their sorted depths.

    Returns:
        None if fewer than two slices have different depths.
    """
    steps = sorted(b - a for a, b in pairwise(depths) if b - a > LEAST_DIFFERENCE)
    middle = steps[(len(steps) - 1) // 2] if steps else None
    return middle if middle is not None and math.isfinite(middle) else None
