"""Describe one image with its mask, and check its id.

The id names a sample in the store, in the splits, and in the file name of its predicted mask. So it must be usable as a
file name on every supported system. Ids are in Unicode normal form C, because macOS returns decomposed names: `é` in
the name of an image must match `é` in the name of its mask and in a table.

Nothing here reads the disk.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SourceSample", "id_problem", "normal_id", "printable"]

LONGEST_ID = 200  # bytes in UTF-8: file systems allow 255, and endings such as `_segmentation.png` must fit


@dataclass(frozen=True)
class SourceSample:
    """Describe an image on disk, its mask, its group and its split."""

    id: str
    """Unique name, in Unicode normal form C, usable as a file name."""
    image: Path
    """The image file."""
    mask: Path | None = None
    """The mask file; None for a sample without ground truth."""
    group: str = ""
    """Samples of one group, such as one patient, are kept in the same split. Defaults to the id."""
    split: str = ""
    """The split that the user's table asks for; empty if it asks for none."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)  # as documented for frozen dataclasses


def normal_id(text: str) -> str:
    """Return the text in Unicode normal form C, in which ids are stored and compared."""
    return unicodedata.normalize("NFC", text)


def id_problem(identifier: str) -> str | None:
    """Return why a text cannot be an id, with the remedy; None for a valid id."""
    if identifier in {"", ".", ".."}:
        return f"{identifier!r} cannot be an id; give the sample a name"
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
