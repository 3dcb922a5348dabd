"""Give a file a second name on the disk: a hard link. Both names stay valid when the other one is removed."""

from __future__ import annotations

import os
from pathlib import Path

from store.disk.regular import require_regular

__all__ = ["hard_link"]


def hard_link(source: Path, target: Path) -> bool:
    """Make a hard link to a regular file, and return True.

    A FIFO or a device gets none: in an output it would count as foreign, and the output could not be removed.

    Args:
        source: the file, or a symbolic link to it.
        target: the new name.

    Returns:
        False, without a link, if the file is missing or not a regular one, or if the disk refuses.
    """
    try:
        require_regular(source)
        target.hardlink_to(os.path.realpath(source, strict=True))
    except OSError:
        return False
    return True
