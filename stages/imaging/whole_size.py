"""Find the size of a whole image or mask, upright, without decoding it; and whether its file is stored upright."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image

from stages.imaging.arrays import IMAGE, LABEL, array_size, is_array_file
from stages.imaging.formats import explain_unreadable
from stages.imaging.kept import file_version
from stages.imaging.opening import ignore_pillow_warnings, open_header, open_picture, refuse
from stages.imaging.parts import Part
from stages.imaging.upright import TURNED_ORIENTATIONS
from stages.imaging.volumes.opened import open_volume
from stages.imaging.volumes.readers import is_volume_file
from stages.settings import Size
from store.disk.regular import open_regular

__all__ = ["is_turned", "whole_image_size", "whole_label_size"]

START = 8
"""Bytes before the first chunk of a PNG."""
MAY_TURN = re.compile(rb"eXIf|iTXtXML:com.adobe.xmp|[zt][TE]Xt(?i:raw profile type)")
"""Beginnings of the chunks of a PNG that may hold an orientation: its name, and the name of the text in it."""


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


def is_turned(path: Path) -> bool:
    """Return True if the EXIF orientation of a picture turns or mirrors it, so that it is not stored upright.

    Volumes and arrays have no such orientation.

    Raises:
        InputProblemsError: the file cannot be used.
    """
    if is_volume_file(path) or is_array_file(path):
        return False
    try:
        with open_regular(path) as file:
            image = open_header(path, file)
            if image.format == "PNG" and _orientation_may_follow(file):
                image.load()
            return _orientation(image) in range(2, 9)
    except OSError as error:
        refuse(path, explain_unreadable(error))


def _size(path: Path, part: Part, array: str) -> Size:
    if is_volume_file(path):
        return open_volume(path, part.axis).facts.size
    return array_size(path, array) if is_array_file(path) else _upright(path, file_version(path))


@lru_cache(maxsize=1024)
def _upright(path: Path, version: object) -> Size:  # noqa: ARG001 - a changed file is read again
    """Return the size of a picture; the last ones are kept, because every tile asks for it.

    Pixels are decoded only if an orientation may follow them, in a PNG.
    """
    try:
        with open_regular(path) as file:
            image = open_header(path, file)
            if image.format == "PNG" and _orientation_may_follow(file):
                return open_picture(path).size
            orientation = _orientation(image)
            width, height = image.size
            if image.format == "TIFF":  # Pillow gives its upright size
                return height, width
    except OSError as error:
        refuse(path, explain_unreadable(error))
    return (width, height) if orientation in TURNED_ORIENTATIONS else (height, width)


def _orientation(image: Image.Image) -> object:
    """Return the EXIF orientation of an opened picture, as far as it was read; any value if it is damaged."""
    # The method of the base class for a PNG: its own decodes the pixels to look behind them.
    with ignore_pillow_warnings():
        exif = Image.Image.getexif(image) if image.format == "PNG" else image.getexif()
        return exif.get(ExifTags.Base.Orientation, 1)


def _orientation_may_follow(file: IO[bytes]) -> bool:
    """Return True if a PNG has a chunk behind its pixels that may hold an orientation."""
    at, pixels = START, False
    while True:
        file.seek(at)
        header = file.read(40)
        if len(header) < 8:  # noqa: PLR2004 - the size and the name of a chunk
            return False
        pixels = pixels or header[4:8] == b"IDAT"
        if pixels and MAY_TURN.match(header, 4):
            return True
        at += int.from_bytes(header[:4], "big") + 12
