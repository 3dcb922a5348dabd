"""Leakage check: find the samples of a store that a run was trained on. Their scores would be too high.

The splits of a run (`stages.segmentation.splits`) record the images it was trained on. A sample of any store leaks if
its image is one of these, or another image of the same patient. Images count as those of one patient if they are in
one group of the run or of the store, or in groups of the same name in both. Copied images (equal digests) connect their
groups. Chains of such connections count, too.

A group whose name is only the id of its image does not identify a patient in another store: two hospitals can both have
an `image_001`. An image that was saved again, with other bytes, is not recognised.

Names and digests are compared by 64 bits of each (`store.text_words`), so that ten million samples take little memory.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from stages.segmentation.column_prints import column_prints
from stages.segmentation.group_hashes import positions_of
from stages.segmentation.linked_prints import Links, links_of
from stages.segmentation.run_splits import RunSplits
from stages.segmentation.store_groups import StoreGroups

__all__ = ["leaked_samples"]


def leaked_samples(
    samples: StoreGroups, splits: RunSplits, chosen: NDArray[np.int64], by: Collection[str]
) -> NDArray[np.bool_]:
    """Return for some samples of a store whether the run was trained on them, or on another image of their patient.

    Args:
        samples: all samples of the store.
        splits: of the run.
        chosen: positions of the samples to look at.
        by: the splits that count: `train`, `unlabelled`, and `val` if the choice of the checkpoint counts too.

    Returns:
        (chosen,) True for samples that leak.
    """
    if samples.is_of_run:
        return _are_used(splits, samples.links, chosen, by)
    links = links_of(splits.groups, splits.digests, splits.copied)
    at = positions_of(samples.groups, samples.links.with_connected(samples.groups[chosen]))
    groups, digests = samples.groups[at], samples.digests[at]
    same_image = positions_of(splits.digests, digests)
    same_image = same_image[_are_used(splits, links, same_image, by)]
    same_name = positions_of(splits.groups, groups)
    same_name = same_name[_are_used(splits, links, same_name, by)]
    alone = splits.alone[same_name]
    leaks = np.isin(digests, splits.digests[same_image]) | np.isin(groups, splits.groups[same_name[~alone]])
    named_by_itself = np.isin(groups, splits.groups[same_name[alone]]) & ~leaks
    if named_by_itself.any():
        leaks[named_by_itself] = groups[named_by_itself] != column_prints(samples.store, "sample")[at[named_by_itself]]
    return np.isin(samples.links.linked(samples.groups[chosen]), samples.links.linked(groups[leaks]))


def _are_used(splits: RunSplits, links: Links, rows: NDArray[np.int64], by: Collection[str]) -> NDArray[np.bool_]:
    """Return True for rows whose group, or one that is connected with it, has a row in these splits; masks or not."""
    at = positions_of(splits.groups, links.with_connected(splits.groups[rows]))
    used = at[splits.are_in(by, at)]
    return np.isin(links.linked(splits.groups[rows]), links.linked(splits.groups[used]))
