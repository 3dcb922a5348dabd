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
from pathlib import Path
from typing import ClassVar, Self

from stages.imaging.parts import WHOLE, Part

__all__ = ["LabelFile", "SourceSample", "id_problem", "is_plain_id", "natural_order", "normal_id", "printable"]

LONGEST_ID = 200  # bytes in UTF-8: file systems allow 255, and endings such as `_segmentation.png` must fit
PLAIN_ID = re.compile(rf"[\w .+-]{{1,{LONGEST_ID}}}", re.ASCII).fullmatch
"""Match function of ids that are valid at first sight, except `.` and `..`: nearly all."""
DOTS = (".", "..")


class _LatePath:
    """Make the path of a dataclass from its text when it is first asked for.

    Making a path takes longer than finding its file, and most files of a large folder are only looked up in a record.
    """

    _field: ClassVar[str]
    """Name of the field that holds the path."""

    @property
    def place(self) -> str | Path:
        """The path, or its text if it was given as text."""
        own = vars(self)
        place: str | Path = own.get("_text") or own[self._field]
        return place

    def __getattr__(self, name: str) -> Path:
        """Return the path; Python calls this for attributes that are not set."""
        text = vars(self).get("_text") if name == self._field else None
        if text is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        path = vars(self)[name] = Path(text)
        return path


@dataclass(frozen=True)
class LabelFile(_LatePath):
    """Name a file that holds the labels of one image, or a part of them."""

    _field = "path"
    path: Path
    """A mask as a picture, an array, or an annotation in JSON or XML."""
    label: str = ""
    """The class of all foreground in this file, for a file per class; "" if the values in the file give the class."""
    entry: str = ""
    """The image's name in a file that annotates several images (COCO, CVAT); "" for a file of its own."""
    part: Part = WHOLE
    """The plane or region of the file that belongs to the sample."""

    @classmethod
    def at(cls, place: str | Path, label: str = "") -> Self:
        """Return the label file at a path, or at the text of one as `str` gives it."""
        if not isinstance(place, str):
            return cls(place, label)
        made = object.__new__(cls)
        vars(made).update(_text=place, label=label)  # the other fields have the defaults of the class
        return made


@dataclass(frozen=True)
class SourceSample(_LatePath):
    """Describe an image on disk, the files with its labels, its group and its split."""

    _field = "image"
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

    @classmethod
    def at(cls, place: str | Path, identifier: str, masks: tuple[LabelFile, ...], group: str) -> Self:
        """Return the sample of the image at a path, or at the text of one as `str` gives it.

        Args:
            place: of the image.
            identifier: of the sample.
            masks: the files with its labels.
            group: its group; "" for a group of its own.
        """
        if not isinstance(place, str):
            return cls(identifier, place, masks, group, grouped=bool(group))
        made = object.__new__(cls)
        vars(made).update(_text=place, id=identifier, masks=masks, group=group or identifier, grouped=group != "")
        return made  # the other fields have the defaults of the class


def normal_id(text: str) -> str:
    """Return the text in Unicode normal form C, in which ids are stored and compared."""
    return unicodedata.normalize("NFC", text)


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts names as people do: `label 2` before `label 10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def is_plain_id(identifier: str) -> bool:
    """Return True for a text that is valid as an id at first sight: nearly all are."""
    return PLAIN_ID(identifier) is not None and identifier not in DOTS


def id_problem(identifier: str) -> str | None:
    """Return why a text cannot be an id, with the remedy; None for a valid id."""
    if identifier in {"", *DOTS}:
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
