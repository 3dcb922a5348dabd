"""Describe one image with the files of its labels, and check its id.

The id names a sample in the store, in the splits, and in the file name of its predicted mask. So it must be usable as a
file name on every supported system. Ids are in Unicode normal form C, because macOS returns decomposed names: `é` in
the name of an image must match `é` in the name of its mask and in a table.

Nothing here reads the disk.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.imaging.parts import WHOLE, Part

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LabelFile", "SourceSample", "id_problem", "natural_order", "normal_id", "printable"]

LONGEST_ID = 200  # bytes in UTF-8: file systems allow 255, and endings such as `_segmentation.png` must fit
PLAIN_ID = re.compile(rf"[\w .+-]{{1,{LONGEST_ID}}}", re.ASCII).fullmatch
"""Match function of ids that are valid at first sight, except `.` and `..`: nearly all."""


@dataclass(frozen=True)
class LabelFile:
    """Name a file that holds the labels of one image, or a part of them."""

    path: Path
    """A mask as a picture, an array, or an annotation in JSON or XML."""
    label: str = ""
    """The class of all foreground in this file, for a file per class; "" if the values in the file give the class."""
    entry: str = ""
    """The image's name in a file that annotates several images (COCO, CVAT); "" for a file of its own."""
    part: Part = WHOLE
    """The plane or region of the file that belongs to the sample."""


@dataclass(frozen=True)
class SourceSample:
    """Describe an image on disk, the files with its labels, its group and its split."""

    id: str
    """Unique name, in Unicode normal form C, usable as a file name."""
    image: Path
    """The image file."""
    masks: tuple[LabelFile, ...] = ()
    """The files with its labels, in a fixed order; empty for a sample without ground truth."""
    group: str = ""
    """Samples of one group, such as one patient, are kept in the same split. Defaults to the id."""
    split: str = ""
    """The split that the user's table asks for; empty if it asks for none."""
    pixel_mm: float | None = None
    """Side of one pixel of the original image in millimetres, from the user's table; None if it is not known."""
    part: Part = WHOLE
    """The plane or region of the image file that the sample is."""
    parent: str = ""
    """Id of the file that the sample is a part of; "" for a sample that is the whole file."""
    grouped: bool = field(default=False, compare=False)
    """True if user, folder or layout give the group; otherwise a patient that the file names is the group."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)  # as documented for frozen dataclasses


def normal_id(text: str) -> str:
    """Return the text in Unicode normal form C, in which ids are stored and compared."""
    return unicodedata.normalize("NFC", text)


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts names as people do: `label 2` before `label 10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def id_problem(identifier: str) -> str | None:
    """Return why a text cannot be an id, with the remedy; None for a valid id."""
    if identifier in {"", ".", ".."}:
        return f"{identifier!r} cannot be an id; give the sample a name"
    return None if PLAIN_ID(identifier) else _unusual_id_problem(identifier)


def _unusual_id_problem(identifier: str) -> str | None:
    """Return why a text with unusual characters, or a long one, cannot be an id; None for a valid id."""
    shown = ascii(identifier)
    try:
        size = len(identifier.encode())
    except UnicodeEncodeError:
        return f"the name {shown} is not valid UTF-8; rename it"
    if size > LONGEST_ID:
        return f"the id {shown} has {size} bytes in UTF-8 and {LONGEST_ID} are allowed; shorten it"
    if "/" in identifier or "\\" in identifier:
        return f"the id {shown} holds a path separator and cannot name a file; remove it"
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in identifier):
        return f"the id {shown} holds a line break or another control character; remove it"
    return None


def printable(path: Path) -> str:
    """Return the path as text that can be printed on one line, also if its bytes are not UTF-8."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]
