"""Tell which files in the output folder this program wrote: only these are replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from stages.prediction.mask_files import is_ours
from stages.prediction.parents import PARENT_FORMATS
from store.disk.regular import disk_fails, open_regular

__all__ = ["is_our_array", "is_our_file"]


def is_our_file(path: Path) -> bool:
    """Return True if this program wrote a file of any format but NumPy's.

    Raises:
        OSError: the disk fails, so it is not known.
    """
    name = path.name.lower()
    known = next((one for one in PARENT_FORMATS.values() if name.endswith(one.ending)), None)
    return is_ours(path) or (known is not None and known.is_ours(path))


def is_our_array(path: Path, mask: Path) -> bool:
    """Return True if a NumPy file has the form of probabilities, and a mask of this program has the same size.

    The mask of a scan holds all its planes, so only its mark is looked at.
    """
    if not is_our_file(mask):
        return False
    try:
        with open_regular(path) as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.dtype("<f2") or len(shape) != 3:  # noqa: PLR2004 - axes
            return False
        if not is_ours(mask):
            return True
        with open_regular(mask) as picture, Image.open(picture) as opened:
            return bool(shape[1:] == opened.size[::-1])
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and disk_fails(error):
            raise
        return False
