"""Know the groups of a store's labelled samples by number. Groups that share a copied image are one.

A sample takes four bytes and a group its name, so this is for the rules that deal out whole groups one by one
(`stages.segmentation.exact_splits`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.balancing import Traits
from stages.segmentation.sample_traits import sample_traits
from stages.segmentation.store_groups import groups_of
from store import AttentionStore

__all__ = ["LabelledGroups", "labelled_groups"]


@dataclass(frozen=True, kw_only=True)
class LabelledGroups:
    """Hold the groups that have labelled samples."""

    store: AttentionStore
    names: list[str]
    """(group,) the first name in order of all groups that copied images connect; groups in the order of the store."""
    labelled: NDArray[np.int64]
    """(labelled sample,) positions in the store."""
    numbers: NDArray[np.int32]
    """(labelled sample,) number of the group."""

    def traits(self) -> dict[str, Traits]:
        """Return the description of every group; equal ones are one object. It reads all masks."""
        found = sample_traits(self.store, self.labelled)
        kinds, kind_of = [*found.kinds], found.kind_of
        number_of = {kind: number for number, kind in enumerate(kinds)}
        images = np.bincount(self.numbers, minlength=len(self.names))
        of_group = np.zeros(len(self.names), np.int64)
        of_group[self.numbers] = kind_of
        for at in np.flatnonzero(of_group[self.numbers] != kind_of).tolist():  # groups with samples of several kinds
            group = self.numbers[at]
            names = kinds[of_group[group]] | kinds[kind_of[at]]
            of_group[group] = number_of.setdefault(names, len(kinds))
            kinds += [names] * (len(number_of) - len(kinds))
        shared: dict[tuple[int, int], Traits] = {}
        described: dict[str, Traits] = {}
        for name, count, kind in zip(self.names, images.tolist(), of_group.tolist(), strict=True):
            described[name] = shared.get((count, kind)) or shared.setdefault((count, kind), Traits(count, kinds[kind]))
        return described

    def spread(self, parts: Mapping[str, str]) -> list[str]:
        """Return the part of every sample of the store from that of its group; "" for samples without a mask."""
        of_groups = np.array([parts[name] for name in self.names], object)
        splits = np.full(len(self.store), "", object)
        splits[self.labelled] = of_groups[self.numbers]
        found: list[str] = splits.tolist()
        return found


def labelled_groups(store: AttentionStore) -> LabelledGroups:
    """Read the groups and digests of a store."""
    samples = groups_of(store)
    labelled = np.flatnonzero(store.labelled).astype(np.int64)
    roots = samples.links.linked(samples.groups)[labelled]
    _, first, numbers = np.unique(roots, return_index=True, return_inverse=True)
    order = np.argsort(first)  # that of the prints differs from process to process
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return LabelledGroups(
        store=store, names=samples.names(labelled[first[order]]), labelled=labelled, numbers=place[numbers]
    )
