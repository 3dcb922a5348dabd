"""Name the images whose files are not stored upright, where coordinates of the upright image are written."""

from __future__ import annotations

from collections.abc import Sequence

from stages.runtime.wording import counted
from store.disk.contents import name_some

__all__ = ["not_upright"]


def not_upright(ids: Sequence[str]) -> list[str]:
    """Return a note on the orientation of outlines; none if all images are stored upright.

    Args:
        ids: Of the images with an EXIF orientation.
    """
    if not ids:
        return []
    what = f"{counted(len(ids), 'image')} with an EXIF orientation ({name_some(list(ids))})"
    where = "the outlines are those of the upright image, and QuPath shows the file as it is stored"
    return [f"{what}: {where}.\n  Save such images upright, and predict them again."]
