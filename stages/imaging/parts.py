"""Name a part of an image file: a plane of a volume, a region of a plane, or both.

A volume is a file with several images that belong together: the slices of a scan, the pages of a TIFF. Each plane is a
sample of its own, and so is each tile of an image that is too large to be shrunk. The file is the parent of these
samples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AXIAL", "WHOLE", "Box", "Part", "part_digest", "region"]

Box = tuple[int, int, int, int]
"""(row, column, rows, columns) of a region, in pixels of the whole plane. It may reach beyond the plane's border."""
AXIAL = "axial"
"""The axis along which scans are cut into planes if no other is asked for."""


@dataclass(frozen=True)
class Part:
    """Name a part of an image file."""

    plane: int | None = None
    """Position of the slice or page in the file, from 0; None for a file that holds one image."""
    box: Box | None = None
    """Region of the plane; None for all of it."""
    axis: str = AXIAL
    """Axis along which a scan is cut into planes: `axial`, `coronal`, `sagittal`, or `0`, `1`, `2`, the axes of its
    array. Files without a geometry have planes in one direction only, whatever the axis."""
    channels: tuple[str, ...] = ()
    """Channels that are shown as grey, or as red, green and blue, by name or by position from 0; empty for what the
    file says itself. It changes how the part is shown, and not which part it is."""


WHOLE = Part()
"""All of a file that holds one image."""


def region(values: NDArray[Any], box: Box | None) -> NDArray[Any]:
    """Return a region of a plane: the same memory, or all of it without a box.

    Args:
        values: (row, column) or (row, column, channel).
        box: Inside the plane.
    """
    if box is None:
        return values
    row, column, rows, columns = box
    return values[row : row + rows, column : column + columns]


def part_digest(digest: str, part: Part) -> str:
    """Return the digest of a part: the file's digest for all of a file, else one that no other part has.

    Args:
        digest: SHA-256 of the file's bytes, in hexadecimal.
        part: The part of that file.

    Returns:
        64 hexadecimal digits: SHA-256 of `<digest> slice <plane>`, followed by ` axis <axis>` for another axis than
        `axial`, and by ` box <row> <column> <rows> <columns>` for a region, in UTF-8. A file that holds one image has
        the slice 0.
    """
    if replace(part, channels=()) == WHOLE:
        return digest
    named = f"{digest} slice {part.plane or 0}"
    if part.axis != AXIAL:
        named += f" axis {part.axis}"
    if part.box is not None:
        named += f" box {' '.join(map(str, part.box))}"
    return hashlib.sha256(named.encode()).hexdigest()
