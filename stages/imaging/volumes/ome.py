"""Read what the OME-XML of a TIFF says: the channels, the size of a pixel, and where the planes are.

https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from stages.imaging.volumes.volume import Spacing

__all__ = ["MM", "OmeImage", "read_ome"]

MM: Mapping[str, float] = {
    "m": 1e3, "dm": 100, "cm": 10, "mm": 1, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3,
    "micrometer": 1e-3, "\\u00b5m": 1e-3, "nm": 1e-6, "pm": 1e-9, "Å": 1e-7, "in": 25.4, "inch": 25.4, "inches": 25.4,
}  # fmt: skip
"""Millimetres by the name of a unit; names of ImageJ too. `pixel` and `reference frame` are no lengths."""


@dataclass(frozen=True, kw_only=True)
class OmeImage:
    """Hold what the description says about the first image."""

    images: int
    """Number of images in the description."""
    planes: int
    """Planes of the image: positions in z and t, times channels."""
    last: int
    """Highest number of pages that a block of the image claims to reach."""
    other_files: tuple[str, ...]
    """Names of further files that hold planes of the image."""
    channels: tuple[str, ...]
    """Names of the channels; "" for a channel without a name."""
    spacing_mm: Spacing | None


def read_ome(text: str, name: str) -> OmeImage:
    """Read the description of an OME-TIFF.

    Args:
        text: The OME-XML.
        name: Name of the file, without its folder.

    Raises:
        ValueError: it cannot be used; the text says why.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("its OME description has a document type, which is not read")
    try:
        root = ET.fromstring(text)  # noqa: S314 - a text that could expand has a document type
    except (ET.ParseError, ValueError) as error:
        raise ValueError(f"its OME description is damaged ({error})") from None
    images = [one for one in root if _is(one, "Image")]
    pixels = next((one for image in images for one in image if _is(one, "Pixels")), None)
    if pixels is None:
        raise ValueError("its OME description has no image: the description is probably in another file")
    try:
        sizes = [int(pixels.attrib[f"Size{axis}"]) for axis in "CZT"]
        blocks = [one for one in pixels if _is(one, "TiffData")]
        last = max((int(one.get("IFD", 0)) + int(one.get("PlaneCount", 1)) for one in blocks), default=0)
    except (KeyError, ValueError) as error:
        raise ValueError(f"its OME description is damaged ({error})") from None
    if min(sizes) < 1:
        raise ValueError(f"its OME description has sizes of {' x '.join(map(str, sizes))} (channels x z x t)")
    return OmeImage(
        images=len(images),
        planes=math.prod(sizes),
        last=last,
        other_files=_other_files(root, blocks, name),
        channels=tuple(one.get("Name", "") for one in pixels if _is(one, "Channel")),
        spacing_mm=_spacing(pixels),
    )


def _is(element: ET.Element, name: str) -> bool:
    return element.tag.rpartition("}")[2] == name


def _other_files(root: ET.Element, blocks: list[ET.Element], name: str) -> tuple[str, ...]:
    """Return the names of other files that hold planes. A file that was renamed is known by its own identifier."""
    uuids = [one for block in blocks for one in block if _is(one, "UUID")]
    own = {root.get("UUID")} | {one.text for one in uuids if one.get("FileName") == name}
    if len({one.text for one in uuids}) <= 1:
        return ()
    return tuple(dict.fromkeys(one.get("FileName", "?") for one in uuids if one.text not in own))


def _spacing(pixels: ET.Element) -> Spacing | None:
    """Return the millimetres between rows, columns and planes; None if those in the plane are not known."""
    found = []
    for axis in "YXZ":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        try:
            size = float(pixels.get(f"PhysicalSize{axis}", "nan")) * MM.get(unit, math.nan)
        except ValueError:
            size = math.nan
        found.append(size if math.isfinite(size) and size > 0 else None)
    rows, columns, planes = found
    return None if rows is None or columns is None else (rows, columns, planes)
