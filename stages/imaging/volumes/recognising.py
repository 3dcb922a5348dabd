"""Recognise volumes among files whose names pictures have too, from their headers.

A file that cannot be read is no volume: reading it as a picture gives the message.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from stages.errors import InputProblemsError
from stages.imaging.jpeg2000 import bits_of, is_jpeg2000
from stages.imaging.volumes.tiff_directories import has_several, is_tiff, is_usual
from store.disk.regular import open_regular

__all__ = ["is_animation", "is_array_stack", "is_deep_jpeg2000", "is_tiff_stack"]

ANIMATED = 2
"""Bit of the flags of a WebP."""
BYTE = 8  # bits
OME_ENDINGS = (".ome.tif", ".ome.tiff")


def is_tiff_stack(path: Path) -> bool:
    """Return True for a TIFF that Pillow does not read: of several pages, with OME-XML, or of another form."""
    try:
        with open_regular(path) as file:
            if not is_tiff(file):
                return False
            return path.name.lower().endswith(OME_ENDINGS) or has_several(file) or not _is_for_pillow(file)
    except (OSError, ValueError):
        return False


def is_animation(path: Path) -> bool:
    """Return True for a GIF, WebP or AVIF of several frames."""
    from PIL import Image

    from stages.imaging.iso_media import is_avif_sequence
    from stages.imaging.opening import ignore_pillow_warnings

    try:
        with open_regular(path) as file:
            head = file.read(21)
            if head.startswith(b"RIFF"):
                return head[8:16] == b"WEBPVP8X" and bool(head[20] & ANIMATED)
            if not head.startswith(b"GIF8"):
                return is_avif_sequence(file)
            file.seek(0)
            with ignore_pillow_warnings():
                return bool(getattr(Image.open(file, formats=("GIF",)), "is_animated", False))
    except Exception:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes, and says what is wrong later
        return False


def is_array_stack(path: Path) -> bool:
    """Return True for an array file whose image, or whose labels if it has no image, have more than two dimensions."""
    from stages.imaging.arrays import IMAGE, LABEL, stack_header

    for name in (IMAGE, LABEL):
        try:
            return len(stack_header(path, name)[0]) > 2  # noqa: PLR2004 - rows and columns
        except InputProblemsError:
            continue
    return False


def is_deep_jpeg2000(path: Path) -> bool:
    """Return True for a JPEG 2000 file of more than 8 bits."""
    try:
        with open_regular(path) as file:
            return is_jpeg2000(file) and bits_of(file) > BYTE
    except OSError:
        return False


def _is_for_pillow(file: IO[bytes]) -> bool:
    """Return True if Pillow knows the form of the pixels."""
    from PIL import Image, UnidentifiedImageError

    from stages.imaging.deep_colour import is_deep_in_planes
    from stages.imaging.opening import ignore_pillow_warnings

    if is_usual(file):
        return True
    file.seek(0)
    with ignore_pillow_warnings():
        try:
            return not is_deep_in_planes(Image.open(file, formats=("TIFF",)))
        except UnidentifiedImageError:
            return False
        except Exception:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes, and says what is wrong later
            return True
