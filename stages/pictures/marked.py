"""Mark pictures of heads as written by this program, so that only such a picture is ever replaced by a new one."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from store.disk.regular import disk_fails, open_regular

__all__ = ["heads_mark", "is_heads_picture"]

_SOFTWARE = "diamant-pipeline heads"


def heads_mark() -> PngInfo:
    """Return the text to be written into the PNG of a picture of heads."""
    mark = PngInfo()
    mark.add_text("Software", _SOFTWARE)
    return mark


def is_heads_picture(path: Path) -> bool:
    """Return True if a file is a PNG with the mark. Only its header is read.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    try:
        with open_regular(path) as file, Image.open(file, formats=("PNG",)) as picture:
            return picture.info.get("Software") == _SOFTWARE
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return False
