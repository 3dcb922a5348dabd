"""Read a page of a TIFF, or a region of it: only the strips or tiles that the region needs.

tifffile decodes each strip or tile. It fills those that are missing with zeros; here they are an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.imaging.jpeg import check_scan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.parts import Box

__all__ = ["page_size", "read_page"]

JPEG = 7


def page_size(keyframe: Any) -> tuple[int, int, int, int]:
    """Return the samples that are stored apart, the rows, the columns, and the samples of a pixel of a page.

    Raises:
        ValueError: the page is a block of voxels.
    """
    separate, depth, rows, columns, together = keyframe.shaped
    if depth != 1:
        raise ValueError("its pages are blocks of voxels, which are not read")
    return separate, rows, columns, together


def read_page(page: Any, sample: int | None, box: Box) -> NDArray[Any]:
    """Return a region of a page.

    Args:
        page: A `TiffPage` or `TiffFrame` of tifffile, whose types differ between its versions.
        sample: One sample of each pixel; None for all.
        box: The region, inside the page.

    Returns:
        (row, column, sample), in the page's type and the machine's byte order.

    Raises:
        ValueError: a strip or tile is missing or damaged.
        Exception: tifffile or imagecodecs raise nearly any class on damaged bytes.
    """
    keyframe = page.keyframe
    file = page.parent.filehandle
    separate, rows, columns, together = page_size(keyframe)
    row, column, height, width = box
    with file.lock:
        decode = keyframe.decode
    down, across = (
        (keyframe.tilelength, keyframe.tilewidth) if keyframe.is_tiled else (min(keyframe.rowsperstrip, rows), columns)
    )
    grid = (math.ceil(rows / down), math.ceil(columns / across))
    apart = range(separate) if sample is None or separate == 1 else (sample,)
    wanted = [
        (plane * grid[0] + at) * grid[1] + beside
        for plane in apart
        for at in range(row // down, math.ceil((row + height) / down))
        for beside in range(column // across, math.ceil((column + width) / across))
    ]
    _require_whole(page, wanted, file.size)
    options = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if _is_jpeg(keyframe) else {}
    result = np.empty((len(apart), height, width, together), keyframe.dtype)
    segments = file.read_segments(
        [page.dataoffsets[at] for at in wanted], [page.databytecounts[at] for at in wanted], indices=wanted
    )
    for content, index in segments:
        if keyframe.compression == JPEG:
            _check_jpeg(content, page.jpegtables)
        values: NDArray[Any]
        values, (plane, _, top, left, _), _ = decode(content, index, **options)
        block = values[0, : rows - top, : columns - left]
        first, last = max(row, top), min(row + height, top + block.shape[0])
        begin, end = max(column, left), min(column + width, left + block.shape[1])
        result[plane if len(apart) > 1 else 0, first - row : last - row, begin - column : end - column] = block[
            first - top : last - top, begin - left : end - left
        ]
    joined = result[0] if together > 1 or len(apart) == 1 else np.moveaxis(result[..., 0], 0, -1)
    return joined[..., sample : sample + 1] if sample is not None and together > 1 else joined


def _is_jpeg(keyframe: Any) -> bool:
    return keyframe.compression in {6, JPEG, 34892, 33007}


def _require_whole(page: Any, wanted: list[int], end: int) -> None:
    """Make sure that the strips or tiles are in the file.

    Raises:
        ValueError: one of them is not.
    """
    offsets, sizes = page.dataoffsets, page.databytecounts
    if wanted and (wanted[-1] >= len(offsets) or wanted[-1] >= len(sizes)):
        raise ValueError(f"it lists {len(offsets)} strips or tiles of pixels and needs {wanted[-1] + 1}")
    if any(not offsets[at] or not sizes[at] for at in wanted):
        raise ValueError("a strip or tile of its pixels is missing")
    if any(offsets[at] + sizes[at] > end for at in wanted):
        raise ValueError("a strip or tile of its pixels lies beyond the end of the file")


def _check_jpeg(content: bytes, tables: bytes | None) -> None:
    """Make sure that a strip or tile is an undamaged JPEG; libjpeg returns pixels for most damage."""
    check_scan(tables[:-2] + content[2:] if tables else content)
