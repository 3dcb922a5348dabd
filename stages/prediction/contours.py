"""Trace the outlines of objects along the edges of their pixels, as polygons with holes.

Corners lie between pixels: the pixel in row r and column c covers x from c to c + 1 and y from r to r + 1. So a polygon
covers exactly the pixels of its object: filling it again gives the same mask.

Every piece of an object whose pixels touch along edges is one polygon. Pieces that touch only at a corner are separate
polygons. No ring touches itself, as the simple-features standard asks: where two pixels of one piece touch at a corner,
the outline keeps to the background, so that a hole there has a ring of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import find_objects, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Edges", "Polygon", "edges_of", "polygons_of", "trace_objects"]

Ring = list[tuple[int, int]]
"""Corners (x, y) in pixels; the last corner repeats the first."""
Polygon = list[Ring]
"""The outer ring, counterclockwise in (x, y), then its holes, clockwise: the right-hand rule of RFC 7946."""

Edges = tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.int64]"]
"""Start (edge, 2) as (x, y), direction (edge,) as an index of `STEPS`, and piece (edge,) of edges. All int64."""

STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""Direction of an edge in (x, y): right along the top of a pixel, down its right side, left along its bottom, up."""


def trace_objects(objects: NDArray[np.int32]) -> dict[int, list[Polygon]]:
    """Trace all objects of a label image.

    Args:
        objects: (height, width) int32 number of the object at every pixel, 0 for none. Objects may touch.

    Returns:
        The polygons of every object, at least one, by the object's number in rising order.
    """
    pieces, numbers = _split_pieces(objects)
    polygons = polygons_of(edges_of(np.pad(pieces, 1)), objects.shape[1])
    traced: dict[int, list[Polygon]] = {}
    for piece, number in enumerate(numbers, start=1):
        traced.setdefault(number, []).append(polygons[piece])
    return traced


def _split_pieces(objects: NDArray[np.int32]) -> tuple[NDArray[np.int64], list[int]]:
    """Number the pieces of all objects from 1: regions of one object whose pixels touch along edges.

    Returns:
        (height, width) int64 number of the piece at every pixel, 0 for none; and the object of every piece.
    """
    pieces = np.zeros(objects.shape, np.int64)
    numbers: list[int] = []
    boxes: Sequence[tuple[slice, ...] | None] = find_objects(objects)
    for number, box in enumerate(boxes, start=1):
        if box is None:  # no pixel has this number
            continue
        found, count = label(objects[box] == number)
        pieces[box][found > 0] = found[found > 0] + len(numbers)
        numbers += [number] * count
    return pieces, numbers


def polygons_of(edges: Edges, width: int) -> dict[int, Polygon]:
    """Return the polygon of every piece by its number.

    Args:
        edges: All edges of these pieces.
        width: Columns of the picture.
    """
    polygons: dict[int, Polygon] = {}
    for piece, ring in _trace_rings(edges, width):
        polygon = polygons.setdefault(piece, [])
        polygon.insert(0 if _signed_area(ring) > 0 else len(polygon), ring)
    return polygons


def _trace_rings(edges: Edges, width: int) -> list[tuple[int, Ring]]:
    """Return every ring with the number of its piece."""
    starts, directions, owners = edges
    following = _link(starts, directions, owners, width)
    turns = (directions[following] != directions).tolist()
    ends = (starts + STEPS[directions]).tolist()
    links = following.tolist()
    done = [False] * len(links)
    rings = []
    for first in range(len(links)):
        ring: Ring = []
        edge = first
        while not done[edge]:
            done[edge] = True
            if turns[edge]:
                ring.append(tuple(ends[edge]))
            edge = links[edge]
        if ring:
            rings.append((int(owners[first]), [*ring, ring[0]]))
    return rings


def edges_of(padded: NDArray[np.integer]) -> Edges:
    """Return the edges between a piece and other pixels. All are directed so that the piece is on the same side.

    Args:
        padded: (row + 2, column + 2) number of the piece at every pixel, with the pixels around the picture.
    """
    pieces = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    offsets = ((0, 0), (1, 0), (1, 1), (0, 1))
    starts, directions, owners = [], [], []
    for direction, (neighbour, offset) in enumerate(zip(neighbours, offsets, strict=True)):
        rows, columns = np.nonzero((pieces > 0) & (neighbour != pieces))
        starts.append(np.stack([columns + offset[0], rows + offset[1]], axis=1))
        directions.append(np.full(len(rows), direction))
        owners.append(pieces[rows, columns])
    return np.concatenate(starts), np.concatenate(directions), np.concatenate(owners)


def _link(
    starts: NDArray[np.int64], directions: NDArray[np.int64], owners: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """Return the index of the edge that follows each edge around its piece, (edge,) int64.

    At most two edges of one piece start at a corner. There the one that turns towards the background's side is next.
    """

    def key(corner: NDArray[np.int64], direction: NDArray[np.int64]) -> NDArray[np.int64]:
        result: NDArray[np.int64] = (corner[:, 1] * (width + 1) + corner[:, 0]) * len(STEPS) + direction
        return result

    keys = key(starts, directions)
    order = np.argsort(keys)
    ends = starts + STEPS[directions]
    following = np.full(len(keys), -1)
    for turn in (1, 0, -1):  # the last match wins
        wanted = key(ends, (directions + turn) % len(STEPS))
        candidates = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
        fits = (keys[candidates] == wanted) & (owners[candidates] == owners)
        following[fits] = candidates[fits]
    return following


def _signed_area(ring: Ring) -> int:
    """Return the area that a ring encloses, positive if it is counterclockwise in (x, y)."""
    corners = np.array(ring)
    x, y = corners[:, 0], corners[:, 1]
    return int((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) // 2
