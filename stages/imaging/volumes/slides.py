"""Read whole-slide images of scanners (`.svs`, `.ndpi`, `.mrxs`, `.scn`, `.bif`) through OpenSlide.

OpenSlide is an extra: pip install 'diamant-pipeline[slides]'. Only the region that is asked for is decoded. Where the
scanner recorded nothing, the pixels have the slide's background colour, which is white if the file names none.

Some slides (`.mrxs`, `.scn`) say in which rectangle the scanner recorded pixels. The image is that rectangle. QuPath
shows the same, so its outlines count from the corner of that rectangle.

A `.mrxs` slide keeps its pixels in a folder beside the file; its digest is that of the file alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.imaging.extras import require_extra
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.samples import printable
from stages.imaging.volumes.pyramids import read_by_levels, region_to_read
from stages.imaging.volumes.volume import Spacing, Volume, VolumeFacts
from store.disk.regular import open_regular

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["SlideVolume", "open_file"]


class SlideVolume(Volume):
    """Read a slide that OpenSlide has opened; OpenSlide is safe to call from several threads."""

    def __init__(self, path: Path, slide: Any) -> None:
        """Take the opened slide."""
        self._path = path
        self._slide = slide
        self._left, self._top, columns, rows = _bounds(slide) or (0, 0, *slide.dimensions)
        self._sizes = _level_sizes(slide, (rows, columns))
        self.reductions = tuple(float(one) for one in slide.level_downsamples)
        self._background = f"#{slide.properties.get('openslide.background-color', 'FFFFFF')}"
        self.facts = VolumeFacts(planes=1, size=(rows, columns), channels=3, deep=False, spacing_mm=_spacing(slide))

    def read(self, plane: int, box: Box | None = None) -> NDArray[np.uint8]:  # noqa: ARG002 - there is one plane
        """Return a region at full resolution; see `Volume.read`."""
        return self._read_level(0, region_to_read(self._path, self.facts.size, box))

    def read_reduced(self, plane: int, box: Box, reduction: float) -> NDArray[np.uint8]:  # noqa: ARG002 - one plane
        """Return a region from the nearest finer resolution; see `Volume.read_reduced`."""
        return read_by_levels(self._sizes, self._read_level, box, reduction)

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        row, column, rows, columns = box
        factor = self._slide.level_downsamples[level]
        place = (self._left + round(column * factor), self._top + round(row * factor))
        try:
            picture = self._slide.read_region(place, level, (columns, rows))
        except Exception as error:  # noqa: BLE001 - OpenSlide's class is not importable without the extra
            refuse(self._path, f"is damaged ({error}); restore it from its source")
        white = Image.new("RGBA", picture.size, self._background)
        return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def open_file(path: Path) -> SlideVolume:
    """Open a slide.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or is no slide that OpenSlide knows.
        UsageError: OpenSlide is not installed.
    """
    try:
        import openslide
    except (ImportError, OSError):  # the package, or its library
        require_extra("slides", printable(path), "a slide of a scanner")
    try:
        with open_regular(path) as file:
            empty = not file.read(1)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    if empty:
        refuse(path, "is empty (0 bytes); restore it from its source")
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        refuse(path, "is not a slide that OpenSlide can read; convert it to a pyramidal TIFF")
    except openslide.OpenSlideError as error:
        refuse(path, f"is damaged ({error}); restore it from its source")
    return SlideVolume(path, slide)


def _bounds(slide: Any) -> tuple[int, int, int, int] | None:
    """Return (left, top, columns, rows) of the rectangle with pixels; None if the slide does not say it."""
    try:
        left, top, columns, rows = (
            int(slide.properties[f"openslide.bounds-{name}"]) for name in ("x", "y", "width", "height")
        )
    except (KeyError, ValueError):
        return None
    return (left, top, columns, rows) if min(columns, rows) > 0 else None


def _level_sizes(slide: Any, size: Size) -> list[Size]:
    """Return (rows, columns) of every resolution of the image, the full one first."""
    if size == tuple(slide.dimensions[::-1]):
        return [(rows, columns) for columns, rows in slide.level_dimensions]
    return [
        size if factor == 1 else (max(1, round(size[0] / factor)), max(1, round(size[1] / factor)))
        for factor in slide.level_downsamples
    ]


def _spacing(slide: Any) -> Spacing | None:
    """Return the size of a pixel in millimetres, if the slide says it."""
    try:
        rows, columns = (float(slide.properties[f"openslide.mpp-{axis}"]) / 1000 for axis in "yx")
    except (KeyError, ValueError):
        return None
    return (rows, columns, None) if rows > 0 and columns > 0 else None
