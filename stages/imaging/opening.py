"""Opening a picture file: read once, refused clearly, upright.

What images and masks have in common: the file's bytes are read once, its digest and its pixels come
from the same bytes, the format is told by content and not by name, more than one page is refused,
the EXIF orientation is applied (TIFF's and XMP's too), and whatever goes wrong becomes a `Problem`
that names the file. What the pixels mean is the business of `decoding` and `masks`.

A large JPEG can be had at a half, a quarter or an eighth of its size for a fraction of the work: its decoder
then transforms fewer of each block's frequencies. Only who asks for it gets it, and never a mask.

Safe to call from many threads. No setting of Pillow is changed, so its limit against decompression
bombs holds: `PIL.Image.MAX_IMAGE_PIXELS` twice over (179 million pixels) is an error, as in Pillow.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Never

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stages.errors import InputProblemsError, Problem
from stages.imaging.samples import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "Picture",
    "check_picture",
    "decode_picture",
    "deep_values",
    "open_picture",
    "read_file",
    "reduction",
    "refuse",
]

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
OTHER_FORMATS = (
    (0, b"GIF8", "a GIF"),
    (8, b"WEBP", "a WebP"),
    (4, b"ftypheic", "a HEIC photo"),
    (4, b"ftypavif", "an AVIF photo"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"%PDF", "a PDF"),
)
"""Where in a file which bytes tell what it is, for the formats that people most often have in place of ours."""
SAMPLE_FORMAT = 339  # TIFF tag; 1 is unsigned, 2 is signed, 3 is float
UNSIGNED, SIGNED = 1, 2
WHITE_IS_ZERO = 0  # value of TIFF's tag PhotometricInterpretation
REDUCTIONS = (8, 4, 2)  # what JPEG decoders offer
REDUCIBLE = ("JPEG", "MPO")
TURNED_ORIENTATIONS = (5, 6, 7, 8)  # EXIF orientations that swap width and height

# Python's list of warning filters belongs to the whole process (until 3.14): two threads that each set
# it aside and put it back could leave it changed for good.
_WARNINGS_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture file."""

    image: Image.Image
    """Its one page, loaded and upright, in the file's own mode."""
    digest: str
    """SHA-256 of the file's bytes, 64 hexadecimal digits."""
    size: tuple[int, int]
    """(height, width) of the upright picture in the file, whatever it was reduced to."""
    reduced: int
    """`image` has this fraction of the file's rows and columns: 1, 2, 4 or 8."""
    box: tuple[float, float, float, float]
    """(left, top, right, bottom) of the picture in `image`: a reduced one can end within its outermost pixels."""


def reduction(size: tuple[int, int], side: int) -> int:
    """How far a JPEG can be reduced with both sides at least `side` pixels: 1, 2, 4 or 8.

    A square, so that it does not matter which way the picture was turned when it was stored.

    Args:
        size: the picture's sides, in any order.
        side: at least 1.
    """
    return next((by for by in REDUCTIONS if min(size) // side >= by), 1)


def open_picture(path: Path) -> Picture:
    """Read and decode a picture file, at its full size.

    Args:
        path: a PNG, JPEG, BMP or TIFF file, by content; its name does not matter. Of a JPEG that carries
            further pictures (MPO: previews, depth, gain maps of phones) the first is the picture.

    Raises:
        InputProblemsError: one problem: not readable, empty, another format, several pages, damaged, or too large.
    """
    return decode_picture(path, read_file(path))


def read_file(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        InputProblemsError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        refuse(path, f"cannot be read ({error.strerror}); restore the file or allow reading it")


def decode_picture(path: Path, data: bytes, *, side: int | None = None) -> Picture:
    """Decode the bytes of a picture file.

    Args:
        path: what to call it in a message.
        data: the file's bytes.
        side: reduce a JPEG as far as both sides stay at least so long; None for its full size.

    Raises:
        InputProblemsError: as `open_picture`.
    """
    image = _read_header(path, io.BytesIO(data))
    width, height = image.size
    reduced = reduction(image.size, side) if side is not None and image.format in REDUCIBLE else 1
    try:
        if reduced > 1:
            image.draft(None, (side, side))  # type: ignore[arg-type]  # mypy: the stub knows no None for the mode
        image.load()
        with _ignore_pillow_warnings():
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)  # a PNG's may follow its pixels
        columns, rows = image.size
        ImageOps.exif_transpose(image, in_place=True)  # in place keeps the format and TIFF's tags
    except Exception as error:  # noqa: BLE001 - on damaged bytes Pillow's readers raise nearly every class there is
        refuse(path, f"is damaged ({_reason(error)}); restore it from its source")
    left, top, right, bottom = _margins(columns - width / reduced, rows - height / reduced, orientation)
    return Picture(
        image,
        hashlib.sha256(data).hexdigest(),
        size=(width, height) if orientation in TURNED_ORIENTATIONS else (height, width),
        reduced=reduced,
        box=(left, top, image.width - right, image.height - bottom),
    )


def check_picture(path: Path) -> Problem | None:
    """Look at a picture file's header only, at a fraction of the cost of decoding it.

    Returns:
        The problem that `open_picture` would raise, as far as the header tells; damaged pixels are not seen.
    """
    try:
        with path.open("rb") as file:
            _read_header(path, file)
    except OSError as error:
        return Problem(printable(path), f"cannot be read ({error.strerror}); restore the file or allow reading it")
    except InputProblemsError as error:
        return error.problems[0]
    return None


def deep_values(image: Image.Image) -> NDArray[Any] | None:
    """The values of a single-channel picture of more than 8 bits, signed or float, as its file means them.

    Pillow hands out unsigned 32-bit values as signed and 8-bit signed values as unsigned, and does not invert deep
    pictures in which white is zero. All three are put right here.

    Args:
        image: as `open_picture` gives it.

    Returns:
        (height, width) int8, uint16, int32, uint32 or float32; None for a picture of any other kind.
    """
    tags = getattr(image, "tag_v2", {})
    sample_format = tags.get(SAMPLE_FORMAT, (UNSIGNED,))[0]
    if image.mode == "L" and sample_format == SIGNED:
        return np.asarray(image).view(np.int8)
    if image.mode not in {"I", "F"} and not image.mode.startswith("I;16"):
        return None
    values = np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and sample_format == UNSIGNED:
        values = values.view(np.uint32)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == WHITE_IS_ZERO:
        values = -values if image.mode == "F" else ~values  # ~v is maximum - v for unsigned integers
    return values


def refuse(path: Path, what: str) -> Never:
    """Raise the error for one file that cannot be used, with what is wrong and what to do."""
    raise InputProblemsError([Problem(printable(path), what)])


def _read_header(path: Path, file: IO[bytes]) -> Image.Image:
    """Open a picture without decoding its pixels."""
    with _ignore_pillow_warnings():
        try:
            image = Image.open(file, formats=FORMATS)
            pages = getattr(image, "n_frames", 1) if image.format != "MPO" else 1
            if image.format != "PNG":  # for PNG this would decode the pixels
                image.getexif()  # warns of damaged EXIF data now, not when they are applied
        except Image.DecompressionBombError:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
            what = (
                f"has more than {limit:,} pixels, the limit against decompression bombs (small files that fill memory)"
            )
            refuse(path, f"{what}; scale it down")
        except UnidentifiedImageError:
            refuse(path, _explain_unknown_format(file))
        except Exception as error:  # noqa: BLE001 - on damaged bytes Pillow's readers raise nearly every class there is
            refuse(path, f"is damaged ({_reason(error)}); restore it from its source")
    if pages > 1:
        refuse(path, f"holds {pages} pages or frames and one is needed; save each as a file of its own")
    return image


@contextmanager
def _ignore_pillow_warnings() -> Iterator[None]:
    """Pillow's warnings (damaged metadata beside a sound picture, half-way to the bomb limit) kept from the user.

    One thread at a time, so headers only: pixels are decoded outside.
    """
    with _WARNINGS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _margins(right: float, bottom: float, orientation: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) margins of a picture set upright that had two as it was stored."""
    turned = {
        2: (right, 0.0, 0.0, bottom),
        3: (right, bottom, 0.0, 0.0),
        4: (0.0, bottom, right, 0.0),
        5: (0.0, 0.0, bottom, right),
        6: (bottom, 0.0, 0.0, right),
        7: (bottom, right, 0.0, 0.0),
        8: (0.0, right, bottom, 0.0),
    }
    return turned.get(orientation, (0.0, 0.0, right, bottom))


def _explain_unknown_format(file: IO[bytes]) -> str:
    """Why no reader recognised the file."""
    if file.seek(0, io.SEEK_END) == 0:
        return "is empty (0 bytes); restore it from its source"
    for position, signature, name in OTHER_FORMATS:
        file.seek(position)
        if file.read(len(signature)) == signature:
            return f"is {name} whatever its name says, and {', '.join(FORMATS)} are read; convert it to PNG"
    return f"is not a picture in one of {', '.join(FORMATS)}, or of a kind of these that is not read; convert it to PNG"


def _reason(error: Exception) -> str:
    """What Pillow said, without the names of its own settings."""
    return re.sub(r" for \w+\.MAX_\w+", "", str(error)) or type(error).__name__
