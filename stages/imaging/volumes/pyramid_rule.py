"""Decide from the header of a TIFF whether it is read by regions, or decoded whole as a picture.

A TIFF is read by regions (`stages.imaging.volumes.pyramids`) in two cases:

- it is tiled, and holds its image at several resolutions;
- it has more pixels than Pillow decodes.

All others are pictures or stacks. Several pages of one size are a stack, and no resolutions.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from stages.errors import PipelineError
from store.disk.regular import open_regular

__all__ = ["MOST_PIXELS_AT_ONCE", "is_pyramid", "open_tiff", "resolutions"]

MOST_PIXELS_AT_ONCE = 178_956_970
"""Pixels of the largest picture that Pillow decodes without a change of its limits."""
YCBCR = 6
KINDS = {0: "white is zero", 1: "grey", 2: "RGB", YCBCR: "YCbCr"}
"""Meaning of the values that are read by regions, by the tag PhotometricInterpretation."""
JPEGS = {6, 7, 33007, 34892}
"""Compressions whose decoder converts YCbCr to RGB."""
COLOURS, RGBA = 3, 4
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of a TIFF and of a BigTIFF, in both orders of bytes."""
LARGEST_PAGE_SHARE = 0.75
"""A page is a lower resolution of the one before if its sides are at most this share of it."""
MOST_DISTORTION = 0.02
"""Largest relative difference between the reductions of rows and columns, for levels of some size."""
_LOCK = threading.Lock()


def is_pyramid(path: Path) -> bool:
    """Return True if a TIFF is read by regions; False also for a file that cannot be read: its reader says why."""
    try:
        with open_regular(path) as file:
            if file.read(4) not in SIGNATURES:
                return False
        with _LOCK, open_tiff(path) as tiff:
            first = tiff.pages[0]
            if not _is_plain(first) or _is_stack(tiff):
                return False
            large = first.imagewidth * first.imagelength > MOST_PIXELS_AT_ONCE
            return large or (first.is_tiled and len(resolutions(tiff)) > 1)
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, ArithmeticError, PipelineError):
        return False


def open_tiff(path: Path) -> Any:
    """Open a TIFF and read the header of its first page. Warnings about its metadata are dropped.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no TIFF, or damaged.
    """
    import logging

    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return tifffile.TiffFile(path)


def resolutions(tiff: Any) -> list[Any]:
    """Return the pages that hold the first image of a file at falling resolutions, the full one first.

    Lower resolutions are in sub-directories of the first page, or in later pages, as scanners write them: smaller, with
    the same channels, type and proportions, and tiled. Pictures of the label, and previews in strips, are left out.
    """
    first = tiff.pages[0]
    candidates = list(first.pages) if first.subifds else [tiff.pages[at] for at in range(1, len(tiff.pages))]
    levels = [first]
    for page in candidates:
        page = page.aspage()  # noqa: PLW2901 - pages after the first are headers only until here
        rows, columns = first.imagelength / page.imagelength, first.imagewidth / page.imagewidth
        smaller = page.imagewidth <= LARGEST_PAGE_SHARE * levels[-1].imagewidth
        distortion = abs(rows - columns) / max(rows, columns)
        allowed = MOST_DISTORTION + 1 / min(page.imagewidth, page.imagelength)  # sides are rounded
        same = (page.samplesperpixel, page.dtype) == (first.samplesperpixel, first.dtype)
        if smaller and same and page.is_tiled and distortion <= allowed:
            levels.append(page)
    return levels


def _is_plain(page: Any) -> bool:
    """Return True if the pixels are grey, RGB or RGBA in whole bytes, mixed; others are left to the other readers."""
    kind = int(page.photometric) in KINDS and page.samplesperpixel in {1, COLOURS, RGBA}
    kind = kind and (int(page.photometric) != YCBCR or int(page.compression) in JPEGS)
    whole = page.dtype is not None and page.dtype.kind in "uif" and page.bitspersample % 8 == 0
    return kind and whole and (page.samplesperpixel == 1 or int(page.planarconfig) == 1)


def _is_stack(tiff: Any) -> bool:
    """Return True if there are further pages as large as the first one: planes or channels, and no resolutions."""
    first = tiff.pages[0]
    for at in range(1, len(tiff.pages)):
        page = tiff.pages[at].aspage()
        same = (page.imagelength, page.imagewidth) == (first.imagelength, first.imagewidth)
        if same and not page.is_reduced:
            return True
    return False
