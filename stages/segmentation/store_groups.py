"""Know the groups and images of a store's samples as arrays of numbers, and the groups that copied images connect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.column_prints import Prints, column_prints
from stages.segmentation.linked_prints import Links, links_of, repeated_positions
from stages.segmentation.run_splits import RunSplits
from store import AttentionStore
from store.text_words import are_rising

__all__ = ["StoreGroups", "groups_of", "store_groups"]


@dataclass(frozen=True, kw_only=True)
class StoreGroups:
    """Hold what identifies the images and patients of a store's samples."""

    store: AttentionStore
    groups: Prints
    """(sample,) prints of the groups."""
    digests: Prints
    """(sample,) prints of the digests."""
    links: Links
    """The groups that copied images connect."""
    is_of_run: bool
    """True if the samples are those of the run, in its order."""

    def names(self, chosen: NDArray[np.int64]) -> list[str]:
        """Return the group of samples, (sample,). Of groups that are connected the first name in order stands for all.

        Args:
            chosen: positions of the samples.
        """
        names = self.store.chosen_texts("group", chosen)
        roots = self.links.linked(self.groups[chosen])
        copied = self.links.copied
        shared = self.links.linked(self.groups[copied])
        copied = copied[np.isin(shared, roots[np.isin(roots, self.links.roots)])]
        of_copied = self.store.chosen_texts("group", copied)
        first: dict[int, str] = {}
        for position, root in zip(copied.tolist(), self.links.linked(self.groups[copied]).tolist(), strict=True):
            first[root] = min(first.get(root, of_copied[position]), of_copied[position])
        return [first.get(root) or names[at] for at, root in zip(chosen.tolist(), roots.tolist(), strict=True)]


def store_groups(store: AttentionStore, splits: RunSplits, *, trained_on: str) -> StoreGroups:
    """Read the groups and digests of a store. If they are those of the run, its arrays are used for both.

    Args:
        store: the samples.
        splits: of the run.
        trained_on: the digest of the store that the run was trained on.
    """
    groups, digests = splits.groups, splits.digests
    if not (splits.in_order and trained_on == store.description.contents_sha256 and _are_in_order(store)):
        groups = column_prints(store, "group", groups)
        digests = column_prints(store, "digest", digests)
    is_of_run = groups is splits.groups and digests is splits.digests
    copied = splits.copied if digests is splits.digests else repeated_positions(digests)
    links = links_of(groups, digests, copied)
    return StoreGroups(store=store, groups=groups, digests=digests, links=links, is_of_run=is_of_run)


def groups_of(store: AttentionStore) -> StoreGroups:
    """Read the groups and digests of a store."""
    groups, digests = column_prints(store, "group"), column_prints(store, "digest")
    links = links_of(groups, digests, repeated_positions(digests))
    return StoreGroups(store=store, groups=groups, digests=digests, links=links, is_of_run=False)


def _are_in_order(store: AttentionStore) -> bool:
    """Return True if the ids are in rising order. Then the n-th row of a sorted table of splits is the n-th sample."""
    last = ""
    for number, ids in enumerate(store.columns.texts("sample")):
        if (number and last >= ids[0]) or not are_rising(ids):
            return False
        last = ids[len(ids) - 1]
    return True
