"""Find the image that a mask belongs to, by the id in the mask's name and by its folders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from stages.imaging.patterns import IMAGE_FOLDERS, MASK_FOLDERS, Match

__all__ = ["USUAL_FOLDERS", "Owners", "context", "full_id"]

SEPARATOR = "-"
"""Between the folders and the name in an id; allowed in file names everywhere, and rare in the names of folders."""


USUAL_FOLDERS = {*IMAGE_FOLDERS, *MASK_FOLDERS}
"""Names of folders, in lower case, that do not distinguish images."""


def context(match: Match) -> tuple[str, ...]:
    """Return the texts that distinguish two files of one name: the group, or the folders not called `images` or so."""
    if match.group:
        return (match.group,)
    folders = match.folder.split("/") if match.folder else []
    return tuple(part for part in folders if part.lower() not in USUAL_FOLDERS)


def full_id(match: Match) -> str:
    """Return the id with its folders in front, such as `benign-001`."""
    return SEPARATOR.join((*context(match), match.id))


class Owners:
    """Find the image that a mask belongs to, among known ids."""

    def __init__(self, ids: Collection[str], *, folders: bool) -> None:
        """Index the ids.

        Args:
            ids: Ids of all images.
            folders: The ids begin with the names of their folders.
        """
        self.folders = folders
        self.ids = set(ids)
        self._by_end: dict[str, list[str]] = defaultdict(list)
        for identifier in self.ids if folders else ():
            parts = identifier.split(SEPARATOR)
            for start in range(len(parts)):
                self._by_end[SEPARATOR.join(parts[start:])].append(identifier)

    def find(self, match: Match) -> str | None:
        """Return the id of the image that a mask belongs to; None if there is none, or if it could be of several.

        If ids begin with folders, a mask belongs to the image in the same folders. A mask in other folders belongs to
        an image only if no other image has its name.
        """
        if not self.folders:
            return match.id if match.id in self.ids else None
        candidates = self.candidates(match)
        return candidates[0] if len(candidates) == 1 else None

    def candidates(self, match: Match) -> list[str]:
        """Return the ids of all images that a mask could belong to."""
        if not self.folders:
            return [match.id] if match.id in self.ids else []
        full = full_id(match)
        return [full] if full in self.ids else sorted(self._by_end.get(match.id, []))
