"""Write the predictions of a TIFF stack as one label TIFF: a page for each plane, with the size of a pixel.

The file is an OME-TIFF: Bio-Formats, QuPath, napari and others read its axes and the size of a pixel, and ImageJ opens
it as a stack. Planes in z and t stay so. Pages are compressed with deflate, without loss. Values are those of the masks
that the model was trained on, in 8 or 16 bits; where these were colours, the index of the class. A multi-label run
writes 0 and 255 for each label. Objects are numbered in 16 bits, or in 32 bits if there are more than 65,535.

The tag Software is the mark that this program wrote the file. The same prediction gives the same bytes.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np

from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.tiff_files import TiffVolume
from stages.prediction.mask_files import SOFTWARE, is_ours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.volumes.volume import Spacing
    from stages.prediction.parents import Gathered

__all__ = ["encode", "is_ours"]

WHITE = np.uint8(255)
MOST_16_BIT = 65535
GREY_AXES = 3
LARGE = 2**31
"""Bytes from which the file is a BigTIFF: classic files end at 4 GiB."""
SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
MICROMETRES = 1000  # in a millimetre
CENTIMETRE = 10  # in millimetres
ZT = {("Z",), ("T",), ("T", "Z"), ("Z", "T")}


def encode(gathered: Gathered, *, label: int | None) -> bytes:
    """Return the bytes of a label TIFF.

    Args:
        gathered: The planes of the image's file.
        label: The label that the file holds, for labels that overlap; else None.

    Raises:
        InputProblemsError: the image can no longer be read.
    """
    import tifffile

    volume = open_volume(gathered.source, gathered.axis)
    axes = volume.plane_axes if isinstance(volume, TiffVolume) else ()
    values = _values(gathered, label)
    spacing = volume.facts.spacing_mm
    content = io.BytesIO()
    with tifffile.TiffWriter(content, bigtiff=values.nbytes > LARGE) as file:
        file.write(
            values,
            photometric="minisblack",
            compression="zlib",
            description=_description(gathered.identifier, values, axes, spacing).encode(),
            software=SOFTWARE,
            metadata=None,
            **({} if spacing is None else _resolution(spacing)),
        )
    return content.getvalue()


def _values(gathered: Gathered, label: int | None) -> NDArray[Any]:
    """Return the values of the file, (plane, row, column)."""
    if label is not None:
        return gathered.label(label) * WHITE
    if gathered.content == "objects":
        return gathered.values.astype(np.uint32 if gathered.values.max(initial=0) > MOST_16_BIT else np.uint16)
    painted = gathered.painter.paint(gathered.values)
    return painted if painted.ndim == GREY_AXES else gathered.values


def _resolution(spacing: Spacing) -> dict[str, Any]:
    """Return the pixels per centimetre, for programs that read no OME-XML."""
    rows, columns, _ = spacing
    return {"resolution": (CENTIMETRE / columns, CENTIMETRE / rows), "resolutionunit": "CENTIMETER"}


def _description(
    identifier: str, values: NDArray[Any], axes: tuple[tuple[str, int], ...], spacing: Spacing | None
) -> str:
    """Return the OME-XML, in ASCII."""
    planes, rows, columns = values.shape
    names = tuple(name for name, _ in axes)
    sizes = {"Z": 1, "T": 1} | (dict(axes) if names in ZT else {"Z": planes})
    order = "XYC" + ("TZ" if names == ("Z", "T") else "ZT")
    found: dict[str, object] = {
        "DimensionOrder": order,
        "Type": values.dtype.name,
        "SizeX": columns,
        "SizeY": rows,
        "SizeC": 1,
        "SizeZ": sizes["Z"],
        "SizeT": sizes["T"],
    }
    if spacing is not None:
        for axis, millimetres in zip("YXZ", spacing, strict=True):
            if millimetres is not None:
                found[f"PhysicalSize{axis}"] = f"{millimetres * MICROMETRES:.9g}"
    pixels = " ".join(f"{key}={quoteattr(str(value))}" for key, value in found.items())
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{SCHEMA}" Creator="{SOFTWARE}">'
        f'<Image ID="Image:0" Name={quoteattr(identifier)}><Pixels ID="Pixels:0" {pixels}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="{planes}"/>'
        "</Pixels></Image></OME>"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode()
