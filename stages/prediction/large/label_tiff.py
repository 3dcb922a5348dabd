"""Write a label image as a tiled, compressed BigTIFF, row by row.

The file has the full resolution of its image, and further resolutions of one half, one quarter and so on, as viewers of
large images need them: `SubIFDs`, as in OME-TIFF. Pixels are taken from the nearest pixel of the prediction; labels are
never mixed. `stages.imaging.volumes.pyramids` reads such files, so a prediction can be corrected and used as a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.prediction.mask_files import SOFTWARE
from store.disk.publish import replaced_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.tile_grid import TileGrid
    from stages.imaging.volumes.volume import Spacing
    from stages.settings import Size

__all__ = ["LabelPicture", "rows_at", "write_label_tiff"]

TILE = 512
"""Rows and columns of a tile of the file."""
SMALLEST_LEVEL = 1024
"""Resolutions are added until the longer side has at most this many pixels."""
ROWS = 256
"""Rows of the file that are made at a time."""

LabelPicture = Callable[[], Iterable["NDArray[Any]"]]
"""Returns the rows of a picture at the grid's resolution, in blocks: (row, column) or (row, column, 3)."""


def write_label_tiff(path: Path, picture: LabelPicture, grid: TileGrid, *, spacing_mm: Spacing | None) -> None:
    """Write a label image; a file at `path` is replaced when the new one is complete.

    Args:
        path: of the file.
        picture: Its rows; called once for every resolution.
        grid: Maps them to the image.
        spacing_mm: Size of a pixel of the image; None if it is not known.

    Raises:
        PipelineError: the disk is full.
    """
    import tifffile

    first = next(iter(picture()))
    height, width = grid.size
    sizes = [(height, width)]
    while max(sizes[-1]) > SMALLEST_LEVEL:
        sizes.append((max(1, sizes[-1][0] // 2), max(1, sizes[-1][1] // 2)))
    options: dict[str, Any] = {
        "dtype": first.dtype,
        "tile": (TILE, TILE),
        "compression": "zlib",
        "photometric": "rgb" if first.ndim == 3 else "minisblack",  # noqa: PLR2004 - colours have an axis more
        "metadata": None,
        "software": SOFTWARE,
    }
    if spacing_mm is not None:
        options |= {"resolution": (10 / spacing_mm[1], 10 / spacing_mm[0]), "resolutionunit": "CENTIMETER"}
    with replaced_file(path) as file, tifffile.TiffWriter(file, bigtiff=True) as writer:
        for level, size in enumerate(sizes):
            if level:
                options["subfiletype"] = 1
                options.pop("resolution", None)
                options.pop("resolutionunit", None)
            writer.write(
                _tiles(rows_at(picture(), grid, size), size[1]),
                shape=(*size, *first.shape[2:]),
                subifds=len(sizes) - 1 if not level else None,
                **options,
            )


def rows_at(blocks: Iterable[NDArray[Any]], grid: TileGrid, size: Size) -> Iterator[NDArray[Any]]:
    """Yield the rows of a picture at another size, by nearest neighbour, a few rows at a time.

    Args:
        blocks: Rows at the grid's resolution.
        grid: The grid.
        size: (rows, columns) of the result, which shows the whole image.
    """
    rows, columns = grid.source_rows(size[0]), grid.source_columns(size[1])
    same = len(columns) == grid.shape[1] and bool((columns == np.arange(len(columns))).all())
    top = 0
    for block in blocks:
        first, last = np.searchsorted(rows, [top, top + len(block)])
        for start in range(first, last, ROWS):
            chosen = block[rows[start : min(start + ROWS, last)] - top]
            yield chosen if same else chosen[:, columns]
        top += len(block)


def _tiles(parts: Iterable[NDArray[Any]], width: int) -> Iterator[NDArray[Any]]:
    """Yield the tiles of a picture from its rows, from left to right and then downwards; the last ones are padded."""
    waiting: list[NDArray[Any]] = []
    count = 0
    for part in parts:
        rest = part
        while len(rest):
            taken = rest[: TILE - count]
            waiting.append(taken)
            count += len(taken)
            rest = rest[len(taken) :]
            if count == TILE:
                yield from _row_of_tiles(waiting, width)
                waiting, count = [], 0
    if count:
        yield from _row_of_tiles(waiting, width)


def _row_of_tiles(parts: list[NDArray[Any]], width: int) -> Iterator[NDArray[Any]]:
    for column in range(0, width, TILE):
        tile = np.zeros((TILE, TILE, *parts[0].shape[2:]), parts[0].dtype)
        top = 0
        for part in parts:
            piece = part[:, column : column + TILE]
            tile[top : top + len(piece), : piece.shape[1]] = piece
            top += len(piece)
        yield tile
