"""Check that the compressed pixels of a DICOM file are all there.

Some decoders return an image for data that are cut off, with grey or repeated rows at its end. So the structure is
checked before: the pixels are a sequence of items, each with its length, up to a delimiter (PS3.5, A.4).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from stages.imaging.formats import explain_unreadable
from stages.imaging.opening import refuse
from store.disk.regular import open_regular

__all__ = ["require_whole"]

PIXEL_DATA = (0x7FE0, 0x0010)
ITEM, DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
HEADER = struct.Struct("<HH4sI")
"""Group, element, value representation with two unused bytes, length; compressed files are always explicit."""
ITEM_HEADER = struct.Struct("<HHI")
UNDEFINED = 0xFFFFFFFF


def require_whole(path: Path, start: int) -> None:
    """Make sure that the compressed pixels of a file end with their delimiter. No pixel is read.

    Args:
        path: The file.
        start: Position of the element with the pixels.

    Raises:
        InputProblemsError: they are cut off or damaged, or the file cannot be read.
    """
    try:
        whole = _is_whole(path, start)
    except OSError as error:
        refuse(path, explain_unreadable(error))
    if not whole:
        refuse(path, "is cut off or damaged within its compressed pixels; restore it from its source")


def _is_whole(path: Path, start: int) -> bool:
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
        head = file.read(HEADER.size)
        if len(head) == HEADER.size:
            group, element, _, length = HEADER.unpack(head)
            if (group, element) != PIXEL_DATA or length != UNDEFINED:
                return False
        while len(head := file.read(ITEM_HEADER.size)) == ITEM_HEADER.size:
            group, element, length = ITEM_HEADER.unpack(head)
            if (group, element) == DELIMITER:
                return True
            if (group, element) != ITEM or file.tell() + length > size:
                break
            file.seek(length, os.SEEK_CUR)
    return False
