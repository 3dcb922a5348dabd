"""Read single values of a DICOM data set: numbers, texts, geometry, rescaling, windows.

Every function accepts elements that are missing or empty, which is common in real files.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stages.imaging.dicom.geometry import Place, Vector

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["frame_places", "mirror_of", "number", "numbers", "place_of", "rescale_of", "rescaled", "text", "window_of"]

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Elements with the size of a pixel; the first that a file has counts."""


def text(data: Dataset, keyword: str) -> str:
    """Return the text of an element; "" if it is missing or empty, its first value if it has several."""
    value = data.get(keyword)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        value = value[0] if value else ""
    return str(value).replace("\x00", "").strip()


def numbers(data: Dataset, keyword: str) -> list[float]:
    """Return the values of an element as finite numbers; an empty list if it is missing or holds anything else."""
    value = data.get(keyword)
    if value is None or isinstance(value, bytes):
        return []
    values = [value] if isinstance(value, (int, float, str)) else list(value)
    try:
        found = [float(one) for one in values]
    except (TypeError, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def number(data: Dataset, keyword: str) -> int | None:
    """Return the first value of an element as a whole number; None if there is none."""
    found = numbers(data, keyword)
    return int(found[0]) if found else None


def place_of(data: Dataset, frame: int | None = None) -> Place:
    """Return where an image lies: from the file itself, or from the functional groups of a file with frames.

    Args:
        data: The data set.
        frame: Position of the frame in a file with functional groups, from 0; None for a file with one image, whose
            functional groups are those of its only frame.
    """
    position = _vector(_find(data, frame, "PlanePositionSequence", "ImagePositionPatient"))
    cosines = _find(data, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = next(
        (found for one in SPACINGS if len(found := _find(data, frame, "PixelMeasuresSequence", one)) == 2),  # noqa: PLR2004 - rows, columns
        [],
    )
    between = _find(data, frame, "PixelMeasuresSequence", "SpacingBetweenSlices")
    return Place(
        position=position,
        rows_along=_vector(cosines[:3]),
        columns_along=_vector(cosines[3:]),
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        between_slices=abs(between[0]) if between and between[0] else None,
    )


def frame_places(data: Dataset) -> tuple[Place, ...]:
    """Return the places of the frames of a file with functional groups; nothing without them."""
    return tuple(place_of(data, frame) for frame in range(len(data.get("PerFrameFunctionalGroupsSequence") or ())))


def rescale_of(data: Dataset, frame: int) -> tuple[float, float]:
    """Return (slope, intercept) by which the stored values of a frame become values of the file's unit."""
    slope = _find(data, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(data, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    return (slope[0] if slope and slope[0] else 1.0), (intercept[0] if intercept else 0.0)


def rescaled(data: Dataset) -> bool:
    """Return True if stored values are converted to another unit."""
    return bool(data.get("ModalityLUTSequence")) or rescale_of(data, 0) != (1.0, 0.0)


def mirror_of(header: Dataset) -> float | None:
    """Return the sum of a value and its mirror image in a MONOCHROME1 file; None for files of other kinds."""
    if text(header, "PhotometricInterpretation") != "MONOCHROME1":
        return None
    bits = number(header, "BitsStored") or number(header, "BitsAllocated") or 8
    signed = number(header, "PixelRepresentation") == 1
    slope, intercept = rescale_of(header, 0)
    return slope * (-1 if signed else 2**bits - 1) + 2 * intercept


def window_of(data: Dataset) -> tuple[float, float] | None:
    """Return the lowest and highest value of the file's first window; None without one.

    PS3.3, C.11.2.1.2: the function LINEAR, which is the default, maps `centre - 0.5 - (width - 1) / 2` to black and
    `centre - 0.5 + (width - 1) / 2` to white. LINEAR_EXACT and SIGMOID map `centre ± width / 2`; a sigmoid is read as
    a straight line. In a MONOCHROME1 file the window is mirrored, as its values are.
    """
    centre = _find(data, 0, "FrameVOILUTSequence", "WindowCenter")
    width = _find(data, 0, "FrameVOILUTSequence", "WindowWidth")
    if not centre or not width:
        return None
    exact = text(data, "VOILUTFunction") in {"LINEAR_EXACT", "SIGMOID"}
    middle, half = (centre[0], width[0] / 2) if exact else (centre[0] - 0.5, (width[0] - 1) / 2)
    if half <= 0:
        return None
    mirror = mirror_of(data)
    return (middle - half, middle + half) if mirror is None else (mirror - middle - half, mirror - middle + half)


def _find(data: Dataset, frame: int | None, group: str, keyword: str) -> list[float]:
    """Return the numbers of an element: of the frame's functional group, of the shared group, or of the file."""
    shared = data.get("SharedFunctionalGroupsSequence") or ()
    frames = data.get("PerFrameFunctionalGroupsSequence") or ()
    only = 0 if len(frames) == 1 else len(frames)
    at = only if frame is None else frame
    places = list(frames[at : at + 1])
    for place in (*places, *shared[:1]):
        for item in (place.get(group) or ())[:1]:
            if found := numbers(item, keyword):
                return found
    return numbers(data, keyword)


def _vector(values: list[float]) -> Vector | None:
    return (values[0], values[1], values[2]) if len(values) == 3 else None  # noqa: PLR2004 - x, y, z
