"""Find the image of a TIFF among its pages, and which page holds which plane and channel.

| axis              | meaning                                             |
|-------------------|-----------------------------------------------------|
| Y, X              | rows and columns of a page                          |
| S                 | samples of a pixel: red, green and blue, or others  |
| C                 | channels, each on a page of its own                 |
| Z, T and others   | planes, in the order in which the file names them   |

tifffile reads the axes from OME-XML, from ImageJ's description, or from its own. Pages without any are planes. Smaller
versions of a page (pyramids, thumbnails) and masks of transparency are no planes; a pyramid is read at its full size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.volumes.ome import MM, OmeImage
from stages.imaging.volumes.tiff_pages import page_size

if TYPE_CHECKING:
    import tifffile

    from stages.imaging.volumes.tiff_directories import Directory
    from stages.imaging.volumes.volume import Spacing

__all__ = ["TiffLayout", "find_layout", "imagej_spacing", "require_one_size"]

IN_PAGE = "YXS"
RGB = (3, 4)
"""Samples of a pixel in colour: red, green, blue, and opacity."""
RGB_PHOTOMETRIC, YCBCR = 2, 6
READ_PHOTOMETRIC = {0, 1, RGB_PHOTOMETRIC, 3, YCBCR}
"""White is zero, black is zero, RGB, palette, and YCbCr, which is read as RGB from JPEG."""
JPEG_KINDS = {6, 7, 33003, 33005, 34892, 33007}
SHOWN = 5


@dataclass(frozen=True)
class TiffLayout:
    """Say which page holds which plane and channel."""

    series: tifffile.TiffPageSeries
    planes: tuple[int, ...]
    """Number of planes along each of their axes; the product is the number of planes."""
    axes: str
    """The axes of the pages, slowest first; `C` among them for channels on pages of their own."""
    channels: int
    """Channels on pages of their own; 1 without any."""
    samples: int
    """Samples of a pixel of a page."""
    colour: bool
    """The samples are red, green and blue, and maybe opacity."""

    def page(self, plane: int, channel: int) -> int:
        """Return the position of the page of a plane and a channel."""
        others = list(np.unravel_index(plane, self.planes)) if self.planes else []
        index, shape, rest = [], [], list(self.planes)
        for axis in self.axes:
            index.append(channel if axis == "C" else int(others.pop(0)))
            shape.append(self.channels if axis == "C" else rest.pop(0))
        return int(np.ravel_multi_index(index, shape)) if shape else 0


def require_one_size(directories: list[Directory]) -> None:
    """Make sure that all pages have one size; those that are smaller versions of others do not count.

    Raises:
        ValueError: they differ; the text names the sizes.
    """
    sizes = dict.fromkeys((one.height, one.width) for one in directories if not one.subordinate)
    if len(sizes) > 1:
        shown = ", ".join(f"{height} x {width}" for height, width in list(sizes)[:SHOWN]) + " …" * (len(sizes) > SHOWN)
        raise ValueError(
            f"holds pages of different sizes ({shown}); save the pages of each size as a file of their own"
        )


def find_layout(file: tifffile.TiffFile, ome: OmeImage | None, pages: int) -> TiffLayout:
    """Return the layout of the image of a TIFF.

    Args:
        file: The opened file.
        ome: Its OME description; None if it has none.
        pages: Number of its pages, without those that others point to.

    Raises:
        ValueError: there is no image that can be read, or several; the text says what to do.
        Exception: tifffile raises nearly any class on damaged bytes.
    """
    listed = _all_series(file)
    whole = [one for one in listed if not one.keyframe.subfiletype & 5] or listed
    if ome is not None and not any(one.kind == "ome" for one in whole):
        raise ValueError("has an OME description that does not fit its pages; save it anew from the original")
    if not whole:
        raise ValueError("holds no image; restore it from its source")
    if len(whole) > 1:
        sizes = [" x ".join(str(side) for side in one.shape if side > 1) for one in whole[:SHOWN]]
        kinds = ", ".join(f"{size} {one.dtype}" for size, one in zip(sizes, whole, strict=False))
        raise ValueError(f"holds {len(whole)} images of their own ({kinds}); save each as a file of its own")
    series = whole[0]
    axes, shape = _axes_and_shape(series)
    separate, rows, columns, together = page_size(series.keyframe)
    samples = separate * together
    if not math.prod(shape) or not samples:
        raise ValueError(f"holds pages without pixels ({rows} x {columns}); restore it from its source")
    lead = [(axis, size) for axis, size in zip(axes, shape, strict=True) if axis not in IN_PAGE]
    inside = {axis: size for axis, size in zip(axes, shape, strict=True) if axis in IN_PAGE}
    if (inside.get("Y"), inside.get("X")) != (rows, columns) or "".join(axes)[: len(lead)] != "".join(
        a for a, _ in lead
    ):
        raise ValueError(f"has the axes {axes} of {' x '.join(map(str, shape))}, which are not read; save it anew")
    found = len(series.pages) if series.dataoffset is None else math.prod(size for _, size in lead)
    if math.prod(size for _, size in lead) != found:
        promised = " x ".join(f"{size} {axis}" for axis, size in lead)
        raise ValueError(f"promises {promised} and holds {pages} pages; save it anew from the original")
    missing = sum(page is None for page in series.pages) if series.dataoffset is None else 0
    if missing:
        raise ValueError(f"lacks {missing} of its {len(series.pages)} planes; save it anew from the original")
    channels = math.prod(size for axis, size in lead if axis == "C")
    if channels > 1 and samples > 1:
        raise ValueError(f"has {channels} channels of {samples} samples each, which are not read; save each channel")
    photometric = int(series.keyframe.photometric)
    if photometric not in READ_PHOTOMETRIC or (photometric == YCBCR and series.keyframe.compression not in JPEG_KINDS):
        kind = getattr(series.keyframe.photometric, "name", photometric)
        raise ValueError(f"has colours of the kind {kind}, which are not read; save it as RGB")
    return TiffLayout(
        series=series,
        planes=tuple(size for axis, size in lead if axis != "C"),
        axes="".join(axis for axis, _ in lead),
        channels=channels,
        samples=samples,
        colour=photometric in {RGB_PHOTOMETRIC, YCBCR} and samples in RGB,
    )


def _all_series(file: tifffile.TiffFile) -> list[Any]:
    """Return all series of pages, with axes of one entry where the version of tifffile asks for it here."""
    series: Any = file.series
    return list(series(squeeze=False) if callable(series) else series)  # a function since tifffile 2026.11


def _axes_and_shape(series: Any) -> tuple[str, tuple[int, ...]]:
    """Return the axes of a series, also those of one entry, and their sizes."""
    if hasattr(series, "get_axes"):  # up to tifffile 2026.10
        return series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    return series.axes, series.shape


def imagej_spacing(file: tifffile.TiffFile) -> Spacing | None:
    """Return the millimetres between rows, columns and planes of an ImageJ file; None if it does not say them.

    The tags for resolution of other files are not used: most programs write 72 or 300 pixels per inch whatever the
    picture shows.
    """
    described = file.imagej_metadata or {}
    unit = MM.get(str(described.get("unit", "")))
    tags = file.pages.first.tags
    pixels = [tags.valueof(code, default=(0, 1)) for code in (283, 282)]
    if unit is None or any(not number or not parts for number, parts in pixels):
        return None
    rows, columns = (unit * parts / number for number, parts in pixels)
    planes = described.get("spacing")
    return rows, columns, abs(planes) * unit if isinstance(planes, int | float) and planes else None
