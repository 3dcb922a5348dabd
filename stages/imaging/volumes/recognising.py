"""Recognise volumes among files whose names pictures have too, from their headers.

A file that cannot be read is no volume: reading it as a picture gives the message.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from stages.imaging.volumes.tiff_directories import has_several, is_tiff
from store.disk.regular import open_regular

__all__ = ["is_tiff_stack"]

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


def _is_for_pillow(file: IO[bytes]) -> bool:
    """Return True if Pillow knows the form of the pixels."""
    from PIL import Image, UnidentifiedImageError

    from stages.imaging.deep_colour import is_deep_in_planes
    from stages.imaging.opening import ignore_pillow_warnings

    file.seek(0)
    with ignore_pillow_warnings():
        try:
            return not is_deep_in_planes(Image.open(file, formats=("TIFF",)))
        except UnidentifiedImageError:
            return False
        except Exception:  # noqa: BLE001 - Pillow raises nearly any class on damaged bytes, and says what is wrong later
            return True
