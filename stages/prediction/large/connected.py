"""Number the objects of a picture that is read row by row.

An object is a connected region; diagonal neighbours are connected (as in `stages.segmentation.instances`). Its pieces
are connected along edges alone; every piece becomes one polygon. Each block of rows is labelled on its own. Labels that
meet at the border of two blocks are then united (union-find), so an object that lies in many blocks is one.

Objects are numbered from 1 in the order of their first pixel, row by row.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from stages.imaging.tile_grid import TileGrid
from stages.prediction.large.row_file import RowFile

__all__ = ["Connected", "find_connected"]


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Hold the objects of one class in one image."""

    labels: RowFile
    """(row, column) int32 of every pixel: a provisional label, 0 for none."""
    piece_of: NDArray[np.int32]
    """(label + 1,) piece from 1 of every provisional label; 0 for 0."""
    object_of: NDArray[np.int32]
    """(piece + 1,) object from 1 of every piece; 0 for 0."""
    last_row: NDArray[np.int64]
    """(piece + 1,) last row of every piece."""
    areas: NDArray[np.int64]
    """(object + 1,) pixels of the image's full resolution in every object."""

    @property
    def count(self) -> int:
        """Number of objects."""
        return len(self.areas) - 1

    def pieces(self) -> Iterator[NDArray[np.int32]]:
        """Yield (row, column) int32 number of the piece at every pixel, block by block."""
        for block in self.labels:
            yield self.piece_of[block]

    def objects(self) -> Iterator[NDArray[np.int32]]:
        """Yield (row, column) int32 number of the object at every pixel, block by block."""
        table = self.object_of[self.piece_of]
        for block in self.labels:
            yield table[block]


class _Sets:
    """Keep disjoint sets of whole numbers from 0; each is named by its lowest member."""

    def __init__(self) -> None:
        self._parents = array("q", [0])

    def grow(self, count: int) -> None:
        """Add `count` sets of one member."""
        self._parents.extend(range(len(self._parents), len(self._parents) + count))

    def unite(self, pairs: NDArray[np.int64]) -> None:
        """Unite the sets of the members of each pair, (pair, 2)."""
        for one, other in pairs.tolist():
            first, second = self._find(one), self._find(other)
            if first != second:
                self._parents[max(first, second)] = min(first, second)

    def names(self) -> NDArray[np.int64]:
        """Return the name of the set of every member."""
        return np.array([self._find(member) for member in range(len(self._parents))], np.int64)

    def _find(self, member: int) -> int:
        parents = self._parents
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member


def find_connected(regions: Iterable[NDArray[np.bool_]], grid: TileGrid, labels: RowFile) -> Connected:
    """Find the objects of a region.

    Args:
        regions: (row, column) bool, block by block; together the shape of the grid.
        grid: Gives the pixels of the image that a pixel of the grid covers.
        labels: Empty; receives the provisional labels.
    """
    pieces, objects = _Sets(), _Sets()
    areas, last_rows = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    heights, widths = np.diff(grid.row_edges), np.diff(grid.column_edges)
    above: NDArray[np.int32] | None = None
    top = count = 0
    for region in regions:
        found = np.zeros(region.shape, np.int32)
        new = label(region, output=found)
        found[found > 0] += count
        pieces.grow(new)
        objects.grow(new)
        if new:
            objects.unite(_diagonal_pairs(found))
        if above is not None:
            border = np.stack([above, found[0]])
            vertical = _pairs(border[0], border[1])
            pieces.unite(vertical)
            objects.unite(vertical)
            objects.unite(_diagonal_pairs(border))
        covered = np.repeat(heights[top : top + len(region)], region.sum(axis=1)) * widths[np.nonzero(region)[1]]
        areas.append(np.bincount(found[region] - count - 1, covered, minlength=new).astype(np.int64))
        last_rows.append(np.array([top + box[0].stop - 1 for box in _boxes(found, count)], np.int64))
        labels.append(found)
        above = found[-1].copy()
        top += len(region)
        count += new
    piece_names = pieces.names()
    roots, piece_of = np.unique(piece_names, return_inverse=True)
    lasts = np.zeros(len(roots), np.int64)
    np.maximum.at(lasts, piece_of, np.concatenate(last_rows))
    object_names, object_of_label = np.unique(objects.names(), return_inverse=True)
    sums = np.zeros(len(object_names), np.int64)
    np.add.at(sums, object_of_label, np.concatenate(areas))
    return Connected(
        labels=labels,
        piece_of=piece_of.astype(np.int32),
        object_of=object_of_label[roots].astype(np.int32),
        last_row=lasts,
        areas=sums,
    )


def _boxes(found: NDArray[np.int32], count: int) -> list[tuple[slice, ...]]:
    """Return the bounding boxes of the labels of a block, which start after `count`."""
    own = np.where(found > 0, found - count, 0) if count else found
    return [box for box in find_objects(own) if box is not None]


def _pairs(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the different pairs of labels at the same place in two arrays, (pair, 2)."""
    both = (one > 0) & (other > 0) & (one != other)
    pairs = np.stack([one[both], other[both]], axis=1).astype(np.int64)
    return np.unique(pairs, axis=0) if len(pairs) else pairs


def _diagonal_pairs(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the pairs of labels whose pixels touch at a corner, (pair, 2)."""
    falling = _pairs(labels[:-1, :-1], labels[1:, 1:])
    rising = _pairs(labels[:-1, 1:], labels[1:, :-1])
    return np.concatenate([falling, rising])
