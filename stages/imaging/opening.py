"""Open picture files: the part of decoding that images and masks share.

- The file is read once, so its digest and its pixels come from the same bytes.
- The format is detected from the content, not from the name.
- A file with more than one page, or an animation, is rejected; `stages.imaging.volumes` reads most of them.
- Colour of 16 bits per channel is read in full (`stages.imaging.deep_colour`).
- The EXIF orientation is applied. It may also be stored in a TIFF tag or in XMP.
- Every failure becomes a `Problem` that names the file.

The modules `decoding` and `masks` interpret the pixels.

A large JPEG can be decoded at 1/2, 1/4 or 1/8 of its size at a fraction of the cost, because the decoder transforms
fewer frequencies of each block. This happens only on request, and never for masks.

All functions are safe to call from many threads. No setting of Pillow is changed, so its limit against decompression
bombs holds: more than twice `PIL.Image.MAX_IMAGE_PIXELS` (179 million pixels) is an error, as in Pillow.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Never

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from stages.errors import InputProblemsError, Problem, UsageError
from stages.imaging.deep_colour import byte_modes, is_deep_in_planes, join_bytes, raw_mode, set_raw_mode
from stages.imaging.formats import FORMATS, explain_unknown_format, explain_unreadable
from stages.imaging.iso_media import AVIF, HEIF, open_photo
from stages.imaging.jpeg import REDUCIBLE, decode_jpeg, reduction
from stages.imaging.jpeg2000 import is_irreversible
from stages.imaging.png import check_png, check_png_end
from stages.imaging.samples import printable
from stages.imaging.tiff import check_tiff, use_tags
from stages.imaging.tiff_messages import load_listening
from stages.imaging.upright import ORIENTATIONS, TURNED_ORIENTATIONS, margins, turn
from store.disk.regular import open_regular, read_limited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "Picture",
    "check_picture",
    "decode_picture",
    "ignore_pillow_warnings",
    "open_header",
    "open_picture",
    "picture_size",
    "read_file",
    "refuse",
]

LARGEST = 2 * 2**30
"""Largest number of bytes of a file that is read: twice what the largest picture needs in 16-bit colour."""
ONE_OF_SEVERAL = {"MPO", HEIF}
"""Formats of which the main picture is read: the others are previews, depth maps, or further photos."""
VOLUME_ENDINGS = {"TIFF": ".tif", "GIF": ".gif", "WEBP": ".webp", "AVIF": ".avif"}
"""Formats of which several pages are read (`stages.imaging.volumes`), with the ending that such a file needs."""
LONGEST_WEBP_HEADER = 65536  # bytes searched for the name of the pixels' chunk; a colour profile comes first
# Pillow logs some of the errors that it raises as well. Here each becomes the problem of its file.
logging.getLogger("PIL").setLevel(logging.CRITICAL)

# Until Python 3.14 the list of warning filters belongs to the whole process. Two threads that replace and restore it
# at the same time could leave it changed.
_WARNINGS_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Picture:
    """Hold a decoded picture file."""

    loaded: Image.Image
    """The only page. It is loaded and upright, in the file's own mode, unless there are `pixels`."""
    digest: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    size: tuple[int, int]
    """(height, width) of the upright picture in the file, before any reduction."""
    reduced: int
    """Reduction of the pixels along each side: 1, 2, 4 or 8."""
    box: tuple[float, float, float, float]
    """(left, top, right, bottom) of the picture as decoded, in pixels.

    If a reduction does not divide the sides, the picture ends inside the last row or column of pixels.
    """
    lossy: bool
    """True if the file's compression changes values: JPEG, AVIF, HEIC, others that are not lossless, TIFF with JPEG."""
    deep_colours: NDArray[np.uint16] | None = None
    """(height, width, 3 or 4) RGB or RGBA, upright, of a colour picture of 16 bits; `image` has the high bytes only."""
    pixels: NDArray[np.uint8] | None = None
    """The pixels of most JPEGs, upright: (height, width, 1) grey, (height, width, 3) RGB, or with an unused byte 4."""

    @cached_property
    def image(self) -> Image.Image:
        """The only page, loaded and upright, in the file's own mode."""
        if self.pixels is None:
            return self.loaded
        return Image.fromarray(self.pixels[..., 0] if self.pixels.shape[2] == 1 else self.pixels[..., :3])

    @property
    def reducible(self) -> bool:
        """True if the file can be decoded at a fraction of its size."""
        return self.loaded.format in REDUCIBLE


def open_picture(path: Path) -> Picture:
    """Read and decode a picture file at its full size.

    Args:
        path: A PNG, JPEG, BMP, TIFF, GIF, WebP, JPEG 2000, AVIF or HEIC file. The format is detected from the content.
            A JPEG may hold further pictures (MPO: previews, depth and gain maps of phones), and so may a HEIC file; the
            main one is used.

    Raises:
        InputProblemsError: the file is not readable, empty, in another format, damaged or too large, or has several
            pages. The error has one problem, which says which.
    """
    return decode_picture(path, read_file(path))


def read_file(path: Path, *, limit: int = LARGEST) -> bytes:
    """Read the bytes of a file.

    Args:
        path: A regular file or a link to one.
        limit: Largest number of bytes that are read.

    Raises:
        InputProblemsError: the file cannot be read, is no regular file, or is too large.
    """
    try:
        return read_limited(path, limit=limit)
    except OSError as error:
        refuse(path, explain_unreadable(error))


def decode_picture(path: Path, data: bytes, *, side: int | None = None) -> Picture:
    """Decode the bytes of a picture file.

    Args:
        path: Names the file in messages; it is not read.
        data: The file's bytes.
        side: Reduce a JPEG as long as both sides keep at least this many pixels; None decodes it at full size.

    Raises:
        InputProblemsError: as in `open_picture`.
    """
    image = open_header(path, io.BytesIO(data))
    width, height = image.size
    raw, modes = raw_mode(image), byte_modes(image)
    if is_deep_in_planes(image):
        refuse(
            path, "holds 16-bit colours in separate planes, which are read from files that end in .tif only; rename it"
        )
    lossy = _is_lossy(image, data)
    reduced = reduction(image.size, side) if side is not None and image.format in REDUCIBLE else 1
    pixels = None
    try:
        if image.format in REDUCIBLE:
            pixels = decode_jpeg(data, image.mode, (height, width), reduced, padded=side is not None)
        elif image.format == "PNG":
            check_png(data)
        elif image.format == "TIFF":
            check_tiff(data, image)
        if pixels is not None:
            rows, columns = pixels.shape[:2]
            orientation = _orientation(image)
            pixels = turn(pixels, orientation)
        else:
            if reduced > 1:
                image.draft(None, (side, side))  # type: ignore[arg-type]  # mypy: the stub knows no None for the mode
            columns, rows, orientation = _load_upright(image, path, data)
        halves = []
        for mode in modes or ():
            half = open_header(path, io.BytesIO(data))
            set_raw_mode(half, mode)
            _load_upright(half, path, data)
            halves.append(half)
    except Exception as error:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes
        refuse(path, f"is damaged ({_reason(error)}); restore it from its source")
    turned = orientation in TURNED_ORIENTATIONS
    left, top, right, bottom = margins(columns - width / reduced, rows - height / reduced, orientation)
    across, down = (rows, columns) if turned else (columns, rows)
    return Picture(
        image,
        hashlib.sha256(data).hexdigest(),
        size=(width, height) if turned else (height, width),
        reduced=reduced,
        box=(left, top, across - right, down - bottom),
        lossy=lossy,
        deep_colours=join_bytes(raw, halves[0], halves[1]) if modes else None,
        pixels=pixels,
    )


def _load_upright(image: ImageFile.ImageFile, path: Path, data: bytes) -> tuple[int, int, int]:
    """Decode an opened picture and turn it upright, in place.

    Returns:
        Columns and rows as stored, and the EXIF orientation, 1 to 8.

    Raises:
        Exception: Pillow cannot decode it, or its pixels are damaged.
    """
    if image.format == "TIFF" and image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        with ignore_pillow_warnings():  # above half of its limit, Pillow warns again when it allocates the memory
            image.load_prepare()
    if image.tile and image.tile[0].codec_name == "libtiff":
        message = load_listening(image.load, lambda: open_header(path, io.BytesIO(data)).load())
        if message:
            raise ValueError(message)
    else:
        image.load()
    if image.format == "PNG":
        check_png_end(data, image)
    orientation = _orientation(image)  # in a PNG it may follow the pixels
    columns, rows = image.size
    if orientation != 1:
        with ignore_pillow_warnings():
            ImageOps.exif_transpose(image, in_place=True)  # in place: keeps the format and the tags of a TIFF
    return columns, rows, orientation


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened picture, 1 to 8."""
    with ignore_pillow_warnings():
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in ORIENTATIONS else 1


def _is_lossy(image: Image.Image, data: bytes) -> bool:
    """Return True if the compression of a picture that is not loaded changes its values."""
    if image.format == "WEBP":
        return b"VP8L" not in data[:LONGEST_WEBP_HEADER]
    if image.format == "JPEG2000":
        return is_irreversible(data)
    return image.format in {*REDUCIBLE, AVIF, HEIF} or image.info.get("compression") in {"jpeg", "tiff_jpeg"}


def check_picture(path: Path) -> Problem | None:
    """Check the header of a picture file, at a fraction of the cost of decoding it.

    Returns:
        The problem that `open_picture` would raise, or None. Damaged pixels are not detected.
    """
    try:
        with open_regular(path) as file:
            open_header(path, file)
    except OSError as error:
        return Problem(printable(path), explain_unreadable(error))
    except InputProblemsError as error:
        return error.problems[0]
    return None


def picture_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of a picture from its header, before any EXIF orientation.

    Raises:
        InputProblemsError: as in `open_picture`, as far as the header shows it.
    """
    try:
        with open_regular(path) as file:
            width, height = open_header(path, file).size
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return height, width


def refuse(path: Path, what: str) -> Never:
    """Raise the error for one file that cannot be used; `what` says what is wrong and what to do."""
    raise InputProblemsError([Problem(printable(path), what)])


def open_header(path: Path, file: IO[bytes]) -> ImageFile.ImageFile:
    """Open a picture without decoding its pixels.

    Raises:
        InputProblemsError: as in `open_picture`, as far as the header shows it.
    """
    with ignore_pillow_warnings():
        try:
            image = open_photo(path, file) or Image.open(file, formats=FORMATS)
            pages = getattr(image, "n_frames", 1) if image.format not in ONE_OF_SEVERAL else 1
            # Values are converted when they are first used. They are used here, where warnings about them are ignored.
            if image.format == "TIFF":
                use_tags(image)
            if image.format != "PNG":  # for PNG this would decode the pixels
                image.getexif().get(ExifTags.Base.Orientation)
        except Image.DecompressionBombError:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            what = (
                f"has more than {limit:,} pixels, the limit against decompression bombs (small files that fill memory)"
            )
            refuse(path, f"{what}; scale it down, or save it as a tiled TIFF and cut it with extract --tile")
        except UsageError:
            raise
        except UnidentifiedImageError:
            refuse(path, explain_unknown_format(file))
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the system, not of Pillow
                raise
            refuse(path, f"is damaged ({_reason(error)}); restore it from its source")
    if pages > 1:
        ending = VOLUME_ENDINGS.get(image.format or "")
        remedy = f"rename it so that it ends in {ending}, and each is an image" if ending else "save each as a file"
        refuse(path, f"holds {pages} pages or frames and one is needed; {remedy}")
    return image


@contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings in the block: about damaged metadata, and about many pixels (half of the limit).

    Only one thread at a time can be in such a block. So it is used for headers only, not for decoding pixels.
    """
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    """Return Pillow's message without the names of Pillow's settings."""
    return re.sub(r" for \w+\.MAX_\w+", "", str(error)) or type(error).__name__
