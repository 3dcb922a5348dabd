"""Trace the outlines of objects in a picture that is read row by row.

The edges of every piece are collected block by block. When the last row of a piece is read, its polygon is traced
(`stages.prediction.contours`) and its edges are forgotten. So memory depends on the outlines of the objects that are
open at the same time, not on the area.

Corners are those of the pixels at the resolution of the prediction, in pixels of the image's full resolution. Outlines
are not simplified any further: a polygon covers exactly the pixels of its object in the written label image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.prediction.contours import Polygon, edges_of, polygons_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from stages.imaging.tile_grid import TileGrid
    from stages.prediction.large.connected import Connected

__all__ = ["trace_connected"]

_Edges = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def trace_connected(connected: Connected, grid: TileGrid) -> Iterator[tuple[int, list[Polygon]]]:
    """Yield the number and the polygons of every object, as soon as all its rows are read.

    Args:
        connected: The objects.
        grid: Turns corners into pixels of the image.
    """
    missing = np.bincount(connected.object_of[1:], minlength=connected.count + 1)
    open_edges: dict[int, list[_Edges]] = {}
    polygons: dict[int, list[Polygon]] = {}
    for top, padded in _padded_blocks(connected, grid.shape[1]):
        bottom = top + len(padded) - 2
        for piece, edges in _by_piece(padded, top):
            open_edges.setdefault(piece, []).append(edges)
            if connected.last_row[piece] >= bottom:
                continue
            polygon = _polygon(open_edges.pop(piece), grid)
            number = int(connected.object_of[piece])
            polygons.setdefault(number, []).append(polygon)
            missing[number] -= 1
            if not missing[number]:
                yield number, polygons.pop(number)


def _padded_blocks(connected: Connected, width: int) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Yield the first row of every block, and its pieces with the pixels around it: (row + 2, width + 2)."""
    above = np.zeros((1, width), np.int32)
    waiting: NDArray[np.int32] | None = None
    top = 0
    for block in connected.pieces():
        if waiting is not None:
            yield top, np.pad(np.concatenate([above, waiting, block[:1]]), ((0, 0), (1, 1)))
            above = waiting[-1:]
            top += len(waiting)
        waiting = block
    if waiting is not None:
        yield top, np.pad(np.concatenate([above, waiting, np.zeros_like(above)]), ((0, 0), (1, 1)))


def _by_piece(padded: NDArray[np.int32], top: int) -> Iterator[tuple[int, _Edges]]:
    """Yield the edges of every piece of a block, in rising order of the pieces: starts in the whole picture."""
    starts, directions, owners = edges_of(padded)
    if not len(owners):
        return
    starts[:, 1] += top
    order = np.argsort(owners, kind="stable")
    starts, directions, owners = starts[order], directions[order], owners[order]
    bounds = np.flatnonzero(np.diff(owners)) + 1
    firsts = owners[np.concatenate([[0], bounds])].tolist()
    yield from zip(firsts, zip(np.split(starts, bounds), np.split(directions, bounds), strict=True), strict=True)


def _polygon(parts: list[_Edges], grid: TileGrid) -> Polygon:
    """Return the polygon of one piece, in pixels of the image."""
    starts = np.concatenate([part[0] for part in parts])
    directions = np.concatenate([part[1] for part in parts])
    found = polygons_of((starts, directions, np.ones(len(starts), np.int64)), grid.shape[1])[1]
    columns, rows = grid.column_edges, grid.row_edges
    return [[(int(columns[x]), int(rows[y])) for x, y in ring] for ring in found]
