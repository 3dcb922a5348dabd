"""Count the groups of a store and find the largest one, without a Python object for each sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stages.segmentation.column_prints import Prints, column_prints
from store import AttentionStore

__all__ = ["GroupSizes", "group_sizes"]


@dataclass(frozen=True, kw_only=True)
class GroupSizes:
    """Hold the number of groups, and the largest one."""

    count: int
    """Number of groups."""
    largest: int
    """Number of samples in the largest group; 0 without samples."""
    first_of_largest: str
    """Its name: of several that are as large, the first one in order."""


def group_sizes(store: AttentionStore) -> GroupSizes:
    """Count the groups of a store.

    Raises:
        StoreIncompleteError, StoreCorruptError: the column of groups is missing or damaged.
    """
    prints = column_prints(store, "group")
    names, sizes = np.unique(prints, return_counts=True)
    largest = int(sizes.max(initial=0))
    name = _first_name(store, prints, names[sizes == largest]) if largest > 1 else ""
    return GroupSizes(count=len(names), largest=largest, first_of_largest=name)


def _first_name(store: AttentionStore, prints: Prints, wanted: Prints) -> str:
    """Return the first name in order of the groups with these prints, which are in rising order."""
    names: list[bytes] = []
    start = 0
    for texts in store.columns.texts("group"):
        part = prints[start : start + len(texts)]
        at = np.minimum(np.searchsorted(wanted, part), len(wanted) - 1)
        chosen = texts.chosen(np.flatnonzero((wanted[at] == part) & texts.differs_from_previous()).astype(np.int64))
        names = [min(names + chosen)] if names or chosen else []
        start += len(texts)
    return names[0].decode()
