"""Count the groups of a store and find the largest one, without a Python object for each sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.column_prints import Prints, column_prints
from stages.segmentation.group_hashes import positions_of
from store import AttentionStore
from store.text_words import first_of

__all__ = ["GroupSizes", "group_sizes"]


@dataclass(frozen=True, kw_only=True)
class GroupSizes:
    """Hold the number of groups, and the largest one."""

    count: int
    """Number of groups."""
    largest: int
    """Number of samples in the largest group; 0 without samples."""
    first_of_largest: str
    """Name of that group; of several equally large ones, the first name in order; "" if no group has two samples."""


def group_sizes(store: AttentionStore) -> GroupSizes:
    """Count the groups of a store.

    Raises:
        StoreIncompleteError, StoreCorruptError: the column of groups is missing or damaged.
    """
    prints = column_prints(store, "group")
    ordered = np.sort(prints)
    count = int(len(ordered) > 0) + int((ordered[1:] != ordered[:-1]).sum())
    largest = _longest_run(ordered)
    wanted = ordered[: len(ordered) - largest + 1][_has_run(ordered, largest)]
    del ordered
    name = _first_name(store, prints, wanted, is_every=len(wanted) == count) if largest > 1 else ""
    return GroupSizes(count=count, largest=largest, first_of_largest=name)


def _has_run(ordered: Prints, length: int) -> NDArray[np.bool_]:
    """Return True at each position from which on `length` values are equal, (position,). The values are sorted."""
    begins: NDArray[np.bool_] = ordered[: len(ordered) - length + 1] == ordered[length - 1 :]
    return begins


def _longest_run(ordered: Prints) -> int:
    """Return the largest number of equal values, by bisection; 0 if there are no values."""
    least, most = min(1, len(ordered)), len(ordered)
    step = 1
    while least < most:  # a run of `least` is there, one of `most + 1` is not
        asked = min(most, least + step)
        if _has_run(ordered, asked).any():
            least, step = asked, step * 2
        else:
            most, step = asked - 1, max(1, (asked - 1 - least + 1) // 2)
    return least


def _first_name(store: AttentionStore, prints: Prints, wanted: Prints, *, is_every: bool) -> str:
    """Return the first name in order of the groups with these prints.

    Args:
        store: the samples.
        prints: of their groups.
        wanted: of the groups to look at.
        is_every: these are all groups.
    """
    names: list[bytes] = []
    start = 0
    for texts in store.columns.texts("group"):
        part = prints[start : start + len(texts)]
        rows = np.arange(len(texts)) if is_every else positions_of(part, wanted)
        if len(rows):
            names = [min([*names, first_of(texts, rows)])]
        start += len(texts)
    return names[0].decode()
