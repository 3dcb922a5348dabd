"""Connect groups that share a copied image, by the 64 bits that stand for their names and digests.

`stages.segmentation.linked_names` does it for texts. In a store of millions of samples few groups share an
image, and only those take Python objects here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.column_prints import Prints
from stages.segmentation.group_hashes import positions_of

__all__ = ["Links", "links_of", "repeated_positions"]


@dataclass(frozen=True, kw_only=True)
class Links:
    """Hold the groups that are connected with others. All other groups are alone."""

    names: Prints
    """(group,) prints of their names, in rising order."""
    roots: Prints
    """(group,) one of the prints that are connected with each; the same for all of them."""
    copied: NDArray[np.int64]
    """Positions of the samples whose image is there more than once, in rising order."""

    def linked(self, groups: Prints) -> Prints:
        """Return one print for all groups that are connected, (group,)."""
        if not len(self.names):
            return groups
        at = np.minimum(np.searchsorted(self.names, groups), len(self.names) - 1)
        return np.where(self.names[at] == groups, self.roots[at], groups)

    def with_connected(self, groups: Prints) -> Prints:
        """Return these groups and all that are connected with them, each once and in rising order."""
        roots = np.unique(self.linked(groups))
        return np.union1d(np.union1d(groups, roots), self.names[np.isin(self.roots, roots)])


def repeated_positions(prints: Prints) -> NDArray[np.int64]:
    """Return the positions of all prints that are there more than once, in rising order."""
    # Half of the bits tell nearly all prints apart, in half of the memory.
    halves = prints.view(np.uint32)[int(sys.byteorder == "little") :: 2]
    ordered = np.sort(halves)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    possible = positions_of(halves, twice)
    found = prints[possible]
    ordered_prints = np.sort(found)
    repeated: NDArray[np.int64] = possible[
        positions_of(found, ordered_prints[1:][ordered_prints[1:] == ordered_prints[:-1]])
    ]
    return repeated


def links_of(groups: Prints, digests: Prints, copied: NDArray[np.int64]) -> Links:
    """Connect the groups of all samples whose images are equal.

    Args:
        groups: (sample,) prints of their groups.
        digests: (sample,) prints of their digests.
        copied: `repeated_positions` of the digests.
    """
    names, images = groups[copied], digests[copied]
    new = np.ones(len(copied), np.bool_)  # all tiles of an image have one digest and one group: look at one of them
    new[1:] = (names[1:] != names[:-1]) | (images[1:] != images[:-1])
    parent: dict[int, int] = {}

    def root(name: int) -> int:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = parent[name]
        return name

    first_with: dict[int, int] = {}
    for name, image in zip(names[new].tolist(), images[new].tolist(), strict=True):
        parent[root(name)] = root(first_with.setdefault(image, name))
    roots = {name: root(name) for name in parent}
    alone = {name for name, above in roots.items() if name == above} - {
        above for name, above in roots.items() if name != above
    }
    connected = np.array(sorted(roots.keys() - alone), np.uint64)
    return Links(
        names=connected,
        roots=np.array([roots[name] for name in connected.tolist()], np.uint64),
        copied=copied,
    )
