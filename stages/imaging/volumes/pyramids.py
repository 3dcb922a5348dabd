"""Read regions of large TIFFs, at full and at lower resolutions, through tifffile.

Only the tiles that a region touches are read and decoded, so the memory depends on the region, not on the file. Pixels
without a tile in the file (some scanners leave out empty ones) have the value that the file names, or 0.

Grey, RGB and RGBA of 8 bits and more are read. Transparency is composited on black, as for pictures. The size of a
pixel is taken from OME-XML, from the description of Aperio's scanners (`MPP`), or from the resolution tags where they
say less than 20 micrometres: programs for photographs write there what has no meaning.
"""

from __future__ import annotations

import math
import re
import threading
from typing import TYPE_CHECKING, Any, Never

import numpy as np

from stages.errors import PipelineError
from stages.imaging.extras import require_extra
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.samples import printable
from stages.imaging.volumes.averaging import average_to, reduced_size
from stages.imaging.volumes.opacity import on_black
from stages.imaging.volumes.pyramid_rule import MOST_PIXELS_AT_ONCE, open_tiff, resolutions
from stages.imaging.volumes.volume import Spacing, Volume, VolumeFacts, keep_open, name_of_type

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from stages.imaging.parts import Box
    from stages.settings import Size

__all__ = ["PyramidVolume", "open_file", "read_by_levels", "region_to_read"]

WHITE_IS_ZERO = 0
COARSEST_MM = 0.02
"""Largest side of a pixel that is believed from the resolution tags."""
MICROMETRES = {"m": 1e6, "mm": 1e3, "cm": 1e4, "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3}
"""Micrometres of the units of OME-XML."""
AT_A_TIME = 2**24
"""Most pixels of a level that are read together to be averaged."""


class PyramidVolume(Volume):
    """Read a tiled TIFF. The file stays open; reading its bytes is locked, decoding is not."""

    def __init__(self, path: Path, tiff: Any, levels: list[Any]) -> None:
        """Take an opened file and its resolutions, the full one first."""
        self._path = path
        self._tiff = tiff
        self._levels = levels
        self._lock = threading.Lock()
        first = levels[0]
        self.reductions = tuple(first.imagelength / level.imagelength for level in levels)
        self.facts = VolumeFacts(
            planes=1,
            size=(first.imagelength, first.imagewidth),
            channels=1 if first.samplesperpixel == 1 else 3,
            deep=first.dtype != np.uint8,
            values=name_of_type(first.dtype),
            spacing_mm=_spacing(tiff, first),
        )

    @property
    def level_sizes(self) -> list[Size]:
        """(rows, columns) of every resolution, the full one first."""
        return [(page.imagelength, page.imagewidth) for page in self._levels]

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:  # noqa: ARG002 - there is one plane
        """Return the values of a region at full resolution; see `Volume.read`."""
        return self.read_level(0, region_to_read(self._path, self.facts.size, box))

    def read_reduced(self, plane: int, box: Box, reduction: float) -> NDArray[Any]:  # noqa: ARG002 - there is one plane
        """Return a region from the nearest finer resolution; see `Volume.read_reduced`."""
        return read_by_levels(self.level_sizes, self.read_level, box, reduction)

    def read_level(self, level: int, box: Box) -> NDArray[Any]:
        """Return a region of one resolution, in its own pixels; the region is inside.

        Raises:
            InputProblemsError: a tile is damaged or missing.
        """
        page = self._levels[level]
        row, column, rows, columns = box
        height, width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        across = math.ceil(page.imagewidth / width)
        shape = (rows, columns) if page.samplesperpixel == 1 else (rows, columns, page.samplesperpixel)
        values = np.zeros(shape, page.dtype)
        if page.nodata:
            values[:] = page.nodata
        for down in range(row // height, (row + rows - 1) // height + 1):
            for right in range(column // width, (column + columns - 1) // width + 1):
                segment = self._segment(level, down * across + right)
                if segment is None:
                    continue
                top, left = down * height, right * width
                _paste(values, segment, top - row, left - column)
        return self._plain(page, values)

    def _segment(self, level: int, index: int) -> NDArray[Any] | None:
        """Return one decoded tile or strip, (row, column[, sample]); None for an empty one."""
        page = self._levels[level]
        try:
            at, size = page.dataoffsets[index], page.databytecounts[index]
            if not size:
                return None
            data = self._bytes(at, size)
            tables = {}
            if page.jpegtables is not None:
                tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            decoded = page.decode(data, index, _fullsize=False, **tables)[0]
        except Exception as error:  # noqa: BLE001 - decoders raise nearly any class on damaged bytes
            _refuse_codec(self._path, error)
            name = "tile" if page.is_tiled else "strip"
            what = f"is damaged: {name} {index} of resolution {level} cannot be decoded ({error})"
            refuse(self._path, f"{what}; restore it from its source")
        if decoded is None:
            return None
        segment: NDArray[Any] = decoded[0]
        return segment[..., 0] if page.samplesperpixel == 1 else segment

    def _bytes(self, at: int, size: int) -> bytes:
        with self._lock:
            self._tiff.filehandle.seek(at)
            data: bytes = self._tiff.filehandle.read(size)
        if len(data) != size:
            raise ValueError(f"the file ends inside it, after {len(data):,} of {size:,} bytes")
        return data

    def _plain(self, page: Any, values: NDArray[Any]) -> NDArray[Any]:
        if int(page.photometric) == WHITE_IS_ZERO and values.dtype.kind == "u":
            values = np.iinfo(values.dtype).max - values
        if page.samplesperpixel == 1:
            return values
        return on_black(values, page.extrasamples)


def region_to_read(path: Path, size: Size, box: Box | None) -> Box:
    """Return the region that is read for `box`: all of the plane for None.

    Raises:
        InputProblemsError: it has more pixels than any picture that is read whole.
    """
    box = (0, 0, *size) if box is None else box
    if box[2] * box[3] > MOST_PIXELS_AT_ONCE:
        what = f"has {box[2]:,} x {box[3]:,} pixels, too many to be read whole"
        refuse(path, f"{what}; cut it into tiles with --tile, and use a run that was trained on tiles")
    return box


def read_by_levels(sizes: list[Size], read_level: Any, box: Box, reduction: float) -> NDArray[Any]:
    """Return a region at a reduction from the coarsest level that is at least as fine, a few rows at a time.

    Args:
        sizes: (rows, columns) of every level, the full one first.
        read_level: Returns the values of (level, box in pixels of that level).
        box: Region at full resolution.
        reduction: As in `Volume.read_reduced`.
    """
    fits = [at for at, size in enumerate(sizes) if sizes[0][0] / size[0] <= reduction * 1.01]
    level = max(fits, default=0)
    down, across = sizes[0][0] / sizes[level][0], sizes[0][1] / sizes[level][1]
    rows, columns = reduced_size((box[2], box[3]), reduction)
    left, right = box[1] / across, min((box[1] + box[3]) / across, sizes[level][1])
    first, last = math.floor(left), math.ceil(right)
    step = max(1, int(AT_A_TIME / max(1, last - first) / max(1.0, reduction / down)))
    parts = []
    for row in range(0, rows, step):
        end = min(row + step, rows)
        top = (box[0] + row * box[2] / rows) / down
        bottom = min((box[0] + end * box[2] / rows) / down, sizes[level][0])
        above, below = math.floor(top), max(math.floor(top) + 1, math.ceil(bottom))
        values = read_level(level, (above, first, below - above, last - first))
        parts.append(
            average_to(values, (end - row, columns), (left - first, top - above, right - first, bottom - above))
        )
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def open_file(path: Path) -> PyramidVolume:
    """Open a TIFF for which `is_pyramid` is true.

    Raises:
        InputProblemsError: it is damaged, or holds values of a kind that is not read.
        UsageError: its compression needs a library that is not installed.
    """
    try:
        tiff = open_tiff(path)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    except Exception as error:  # noqa: BLE001 - tifffile raises nearly any class on damaged headers
        _refuse_damaged(path, error)
    return keep_open(tiff, lambda: _volume_of(path, tiff))


def _volume_of(path: Path, tiff: Any) -> PyramidVolume:
    """Return the volume of an opened file; see `open_file`."""
    try:
        levels = resolutions(tiff)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    except Exception as error:  # noqa: BLE001 - as above
        _refuse_damaged(path, error)
    first = levels[0]
    if not first.is_tiled and first.rowsperstrip * first.imagewidth > MOST_PIXELS_AT_ONCE:
        refuse(path, "holds its pixels in one piece, which takes too much memory; save it with tiles")
    expected = math.prod(first.chunked)
    if len(first.dataoffsets) < expected:
        refuse(path, f"is damaged (it lists {len(first.dataoffsets)} tiles and needs {expected}); restore it")
    return PyramidVolume(path, tiff, levels)


def _refuse_damaged(path: Path, error: Exception) -> Never:
    refuse(path, f"is a damaged TIFF ({error}); restore it from its source")


def _paste(values: NDArray[Any], segment: NDArray[Any], top: int, left: int) -> None:
    """Copy the part of a tile that lies inside `values`; `top` and `left` are its place there, possibly negative."""
    bottom, right = min(top + segment.shape[0], values.shape[0]), min(left + segment.shape[1], values.shape[1])
    above, before = max(top, 0), max(left, 0)
    if bottom > above and right > before:
        values[above:bottom, before:right] = segment[above - top : bottom - top, before - left : right - left]


def _refuse_codec(path: Path, error: Exception) -> None:
    """Raise the error that names the extra if a decoder is not installed."""
    if isinstance(error, PipelineError):
        raise error
    if "imagecodecs" in str(error) and "requires" in str(error):
        require_extra("slides", printable(path), "a compressed TIFF")


def _spacing(tiff: Any, page: Any) -> Spacing | None:
    """Return the size of a pixel in millimetres as the file says it; None if it does not, or not credibly."""
    text = tiff.ome_metadata or ""
    sides = []
    for axis in "YX":
        value = re.search(rf'PhysicalSize{axis}="([0-9.eE+-]+)"', text)
        unit = re.search(rf'PhysicalSize{axis}Unit="([^"]+)"', text)
        scale = MICROMETRES.get(unit.group(1) if unit else "µm")
        if value and scale and float(value.group(1)) > 0:
            sides.append(float(value.group(1)) * scale / 1000)
    if len(sides) == 2:  # noqa: PLR2004 - rows and columns
        return sides[0], sides[1], None
    if found := re.search(r"\|\s*MPP\s*=\s*([0-9.]+)", page.description or ""):
        side = float(found.group(1)) / 1000
        return (side, side, None) if side > 0 else None
    unit_mm = {2: 25.4, 3: 10.0}.get(int(page.resolutionunit or 0))
    across, down = page.resolution or (0, 0)
    if unit_mm is None or not (across > 0 and down > 0):
        return None
    rows, columns = unit_mm / down, unit_mm / across
    return (rows, columns, None) if max(rows, columns) <= COARSEST_MM else None
