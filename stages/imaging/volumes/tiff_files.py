"""Read TIFF files of several pages, of several channels, or with an OME description.

Pillow reads TIFF files with one page of grey or RGB; see `stages.imaging.opening`. All others are read here through
tifffile: stacks in z and t, OME-TIFF, ImageJ's hyperstacks, BigTIFF, and pages with other numbers of channels. See
`tiff_layout` for the meaning of the pages.

| the file has                          | an image has                                            | labels have   |
|---------------------------------------|---------------------------------------------------------|---------------|
| grey                                  | its values; 1 to 7 bits spread over 0 to 255            | its values    |
| red, green, blue                      | its colours; composited on black by its opacity         | -             |
| channels                              | the chosen ones; see `stages.imaging.volumes.channels`  | -             |
| a palette                             | its colours; in ImageJ's files, where it is a view, grey | the indices   |
| white as zero                         | inverted values                                         | the same      |

The tag Orientation is not used, as in ImageJ and Bio-Formats: image and labels are as they are stored.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from stages.errors import InputProblemsError, UsageError
from stages.imaging.extras import require_extra
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from stages.imaging.samples import printable
from stages.imaging.volumes.ome import OmeImage, read_ome
from stages.imaging.volumes.opacity import on_black
from stages.imaging.volumes.tiff_directories import read_directories
from stages.imaging.volumes.tiff_layout import TiffLayout, find_layout, imagej_spacing, require_one_size
from stages.imaging.volumes.tiff_pages import page_size, read_page
from stages.imaging.volumes.volume import Volume, VolumeFacts, keep_open, name_of_type
from store.disk.regular import open_regular

if TYPE_CHECKING:
    import tifffile
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["TiffVolume", "open_file"]

MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
"""Most pixels that are read at a time, as for pictures: the limit against small files that fill the memory."""
WHITE_IS_ZERO, PALETTE = 0, 3
COLOURS = 3
BYTE = 8


class TiffVolume(Volume):
    """Read the planes of an opened TIFF."""

    def __init__(self, path: Path, file: tifffile.TiffFile, layout: TiffLayout, ome: OmeImage | None) -> None:
        """Take the opened file and the layout of its pages."""
        self._path, self._file, self._layout = path, file, layout
        keyframe = layout.series.keyframe
        _, rows, columns, _ = page_size(keyframe)
        self._palette = self._palette_of(keyframe)
        colour = layout.colour or self._palette is not None
        channels = COLOURS if colour else max(layout.channels, layout.samples)
        names = ome.channels if ome is not None and len(ome.channels) == channels else ()
        self.facts = VolumeFacts(
            planes=int(np.prod(layout.planes, dtype=np.int64)),
            size=(rows, columns),
            channels=channels,
            deep=keyframe.dtype not in (np.uint8, np.bool_) and self._palette is None,
            spacing_mm=ome.spacing_mm if ome is not None else imagej_spacing(file),
            separate=not colour and channels > 1,
            channel_names=names,
            values="8-bit" if keyframe.dtype is None or self._palette is not None else name_of_type(keyframe.dtype),
        )

    @property
    def plane_axes(self) -> tuple[tuple[str, int], ...]:
        """The axes of the planes, slowest first, each with its length, such as T and Z."""
        names = [axis for axis in self._layout.axes if axis != "C"]
        found = [(name, size) for name, size in zip(names, self._layout.planes, strict=True) if size > 1]
        return tuple(found)

    def elsewhere(self, labels: Volume) -> str | None:
        """Return how the order of the planes of a label file differs; see `Volume.elsewhere`.

        A file with one axis of planes is taken to have them in the order of the image.
        """
        if not isinstance(labels, TiffVolume):
            return None
        mine, theirs = self.plane_axes, labels.plane_axes
        if mine == theirs or min(len(mine), len(theirs)) < 2:  # noqa: PLR2004 - one axis has one order
            return None
        named, other = (" x ".join(f"{size} {axis}" for axis, size in axes) for axes in (mine, theirs))
        return f"has its planes as {other} and its image as {named} (slowest first); save both in the same order"

    def read(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the values of one plane; see `Volume.read`."""
        if self._palette is not None:
            colours: NDArray[Any] = self._palette[self._values(plane, 0, None, box)[..., 0]]
            return colours
        if self._layout.colour:
            return on_black(self._values(plane, 0, None, box), self._layout.series.keyframe.extrasamples)
        if not self.facts.separate:
            return self._spread(self._values(plane, 0, None, box)[..., 0])
        return np.stack([self.read_channel(plane, one, box) for one in range(self.facts.channels)], axis=2)

    def read_channel(self, plane: int, channel: int, box: Box | None = None) -> NDArray[Any]:
        """Return one channel of one plane; see `Volume.read_channel`."""
        if not self.facts.separate:
            return super().read_channel(plane, channel, box)
        on_pages = self._layout.channels > 1
        found = self._values(plane, channel if on_pages else 0, None if on_pages else channel, box)
        return self._spread(found[..., 0])

    def read_labels(self, plane: int, box: Box | None = None) -> NDArray[Any]:
        """Return the labels of one plane; see `Volume.read_labels`."""
        if self._palette is not None or not self.facts.separate:
            values = self._values(plane, 0, None, box)
            return values[..., 0] if values.shape[2] == 1 else values
        return self.read(plane, box)

    def _values(self, plane: int, channel: int, sample: int | None, box: Box | None) -> NDArray[Any]:
        """Return (row, column, sample) as in the file, white as the highest value.

        Raises:
            InputProblemsError: the page is damaged, or too large to be read at once.
        """
        box = (0, 0, *self.facts.size) if box is None else box
        if box[2] * box[3] > MOST_PIXELS:
            what = f"page {plane + 1} has {box[2]:,} x {box[3]:,} pixels, more than {MOST_PIXELS:,}, the limit against"
            refuse(self._path, f"{what} decompression bombs (small files that fill memory); scale it down")
        at = self._layout.page(plane, channel)
        try:
            values = self._read(at, sample, box)
        except InputProblemsError:
            raise
        except Exception as error:  # noqa: BLE001 - tifffile and imagecodecs raise nearly any class on damaged bytes
            reason = str(error) or type(error).__name__
            refuse(self._path, f"page {at + 1} is damaged ({reason}); restore it from its source")
        if int(self._layout.series.keyframe.photometric) == WHITE_IS_ZERO:
            values = -values if values.dtype.kind == "f" else ~values
        return values

    def _read(self, at: int, sample: int | None, box: Box) -> NDArray[Any]:
        series = self._layout.series
        if series.dataoffset is None:
            return read_page(series.pages[at], sample, box)
        keyframe = series.keyframe
        separate, rows, columns, together = page_size(keyframe)
        assert keyframe.dtype is not None  # noqa: S101 - for mypy; `open_file` refuses others
        shape = (separate, rows, columns, together)
        start = series.dataoffset + at * int(np.prod(shape, dtype=np.int64)) * keyframe.dtype.itemsize
        mapped = np.memmap(
            self._path, keyframe.dtype.newbyteorder(self._file.byteorder), "r", offset=start, shape=shape
        )
        row, column, height, width = box
        values = mapped[:, row : row + height, column : column + width]
        joined = values[0] if separate == 1 else np.moveaxis(values[..., 0], 0, -1)
        chosen = joined if sample is None else joined[..., sample : sample + 1]
        return np.array(chosen, keyframe.dtype)

    def _palette_of(self, keyframe: tifffile.TiffPage) -> NDArray[np.uint8] | None:
        """Return the colours of a palette, (index, 3) of 8 bits; None if the pages are shown without."""
        colours = keyframe.colormap
        if int(keyframe.photometric) != PALETTE or colours is None or self._file.is_imagej:
            return None
        return (colours.T >> np.uint16(BYTE)).astype(np.uint8)

    def _spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values of fewer than 8 bits spread over 0 to 255."""
        bits = self._layout.series.keyframe.bitspersample
        if values.dtype == np.bool_:
            return values.astype(np.uint8) * np.uint8(255)
        return (values * np.uint8(255 // (2**bits - 1))) if bits < BYTE else values


def open_file(path: Path) -> TiffVolume:
    """Open a TIFF.

    Raises:
        InputProblemsError: it cannot be read, is damaged, or of a kind that is not read.
        UsageError: its compression needs a package that is not installed.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return keep_open(file, lambda: _open(path, file))


def _open(path: Path, file: Any) -> TiffVolume:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs is checked here, and is an error
    try:
        directories = read_directories(file)
    except ValueError as error:
        refuse(path, f"is damaged ({error}); restore it from its source")
    except OSError as error:
        refuse(path, explain_unreadable(error))
    try:
        file.seek(0)  # tifffile counts from where the file is
        opened = tifffile.TiffFile(file, name=path.name, _multifile=False)
        opened.filehandle.set_lock(True)
        ome = _ome(opened, path, len(directories))
        if ome is None:
            require_one_size(directories)
        layout = find_layout(opened, ome, len(directories))
        _require_kind(path, layout.series.keyframe)
        return TiffVolume(path, opened, layout, ome)
    except (InputProblemsError, UsageError):
        raise
    except ValueError as error:
        what = str(error)
        known = what.startswith(("holds ", "has ", "lacks ", "promises "))
        refuse(path, what if known else f"is damaged ({what}); restore it from its source")
    except Exception as error:  # noqa: BLE001 - tifffile raises nearly any class on damaged bytes
        refuse(path, f"is damaged ({str(error) or type(error).__name__}); restore it from its source")


def _ome(file: tifffile.TiffFile, path: Path, pages: int) -> OmeImage | None:
    """Return the OME description of a file, None if it has none.

    Raises:
        ValueError: it cannot be used.
        InputProblemsError: planes are in other files, or the description promises more than the file holds.
    """
    text = file.ome_metadata
    if text is None:
        if "<OME " in str(file.pages.first.description):
            refuse(path, "is damaged (its OME description does not end); restore it from its source")
        return None
    ome = read_ome(text, path.name)
    if ome.other_files:
        named = ", ".join(map(ascii, ome.other_files[:3])) + " …" * (len(ome.other_files) > 3)  # noqa: PLR2004 - examples
        refuse(path, f"has planes in other files too ({named}), which are not read; save the image as one file")
    samples = int(file.pages.first.samplesperpixel)
    if max(ome.planes, ome.last * samples) > pages * samples:
        what = f"promises {ome.planes} planes and holds {pages} pages"
        refuse(path, f"{what}; it is cut off or its description is wrong: save it anew from the original")
    return ome


def _require_kind(path: Path, keyframe: tifffile.TiffPage) -> None:
    """Make sure that the values and the compression of the pages can be read.

    Raises:
        InputProblemsError: they cannot.
        UsageError: a package is missing.
    """
    import tifffile

    if keyframe.dtype is None or keyframe.dtype.kind not in "buif":
        refuse(path, f"holds values of a type that is not read ({keyframe.dtype}); save whole numbers or fractions")
    sides = (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else (1, 1)
    if sides[0] * sides[1] > MOST_PIXELS:
        refuse(path, f"is damaged (tiles of {sides[0]:,} x {sides[1]:,} pixels); restore it from its source")
    for table, key in (
        (tifffile.TIFF.DECOMPRESSORS, keyframe.compression),
        (tifffile.TIFF.UNPREDICTORS, keyframe.predictor),
    ):
        if int(key) == 1:
            continue
        what = f"compressed with {getattr(key, 'name', key)}"
        try:
            table[key]
        except KeyError as error:
            if "imagecodecs" in str(error):
                require_extra("slides", printable(path), what)
            refuse(path, f"is {what}, which is not read; save it without compression or with deflate")
