"""Find the size of a whole image or mask, upright, without decoding it."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from PIL import ExifTags, Image

from stages.imaging.arrays import IMAGE, LABEL, array_size, is_array_file
from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import open_header, open_picture, refuse
from stages.imaging.parts import Part
from stages.imaging.upright import TURNED_ORIENTATIONS
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.settings import Size
from store.disk.regular import open_regular

__all__ = ["whole_image_size", "whole_label_size"]

START = 8
"""Bytes before the first chunk of a PNG."""
TEXTS = {b"eXIf", b"iTXt", b"zTXt", b"tEXt"}
"""Chunks of a PNG that may hold an orientation."""


def whole_image_size(path: Path, part: Part) -> Size:
    """Return (height, width) of all of an image, or of a plane of a file, as it is decoded: upright.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    return _size(path, part, IMAGE)


def whole_label_size(path: Path, part: Part) -> Size:
    """Return (height, width) of a mask as it is decoded: upright.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    return _size(path, part, LABEL)


def _size(path: Path, part: Part, array: str) -> Size:
    if is_volume_file(path):
        return open_volume(path, part.axis).facts.size
    return array_size(path, array) if is_array_file(path) else _upright(path)


def _upright(path: Path) -> Size:
    """Return the size of a picture. Its pixels are decoded only if its orientation may follow them, in a PNG."""
    try:
        with open_regular(path) as file:
            image = open_header(path, file)
            if image.format == "PNG" and _text_follows_pixels(file):
                return open_picture(path).size
            # The method of the base class: that of a PNG would decode the pixels to look behind them.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            width, height = image.size
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return (width, height) if orientation in TURNED_ORIENTATIONS else (height, width)


def _text_follows_pixels(file: IO[bytes]) -> bool:
    """Return True if a PNG has a chunk behind its pixels that may hold an orientation."""
    at, pixels = START, False
    while True:
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004 - the size and the name of a chunk
            return False
        name = header[4:]
        pixels = pixels or name == b"IDAT"
        if pixels and name in TEXTS:
            return True
        at += int.from_bytes(header[:4], "big") + 12
