"""One image with its mask, and what its id may look like.

An id names a sample everywhere after this package: in the store, in the splits, and as the file name
of its predicted mask. So it must be usable as a file name on any system we run on, and it is kept in
Unicode normal form C: macOS hands out decomposed names, and `é` in an image's name has to match `é`
in its mask's name and in a table.

Nothing here looks at the disk.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SourceSample", "id_problem", "normal_id", "printable"]

LONGEST_ID = 200  # bytes in UTF-8; file systems allow 255, and suffixes such as `_segmentation.png` must fit


@dataclass(frozen=True)
class SourceSample:
    """An image on disk, the mask that belongs to it, and what is known about the two."""

    id: str
    """Unique name, in Unicode normal form C, usable as a file name."""
    image: Path
    """The image file."""
    mask: Path | None = None
    """The mask file; None for a sample that can only be predicted."""
    group: str = ""
    """Samples of one group (one patient, say) go into the same split; the id where nothing else is given."""
    split: str = ""
    """The split that the user's table asks for; empty where none is asked for."""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)  # the documented way round `frozen` for a derived default


def normal_id(text: str) -> str:
    """The text in Unicode normal form C, as ids are compared and kept."""
    return unicodedata.normalize("NFC", text)


def id_problem(identifier: str) -> str | None:
    """What keeps a text from being an id, with the remedy; None for a good id."""
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
        return f"the id {shown} holds a path separator and could not name a file; take it out"
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in identifier):
        return f"the id {shown} holds a line break or another control character; take it out"
    return None


def printable(path: Path) -> str:
    """The path as text that can be printed anywhere, also when its bytes are not UTF-8 or break the line."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return text if text.isprintable() else ascii(text)[1:-1]
