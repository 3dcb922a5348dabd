"""Draw a part of the training samples, to train with few labels on purpose.

Samples are ordered by a hash of (seed, id), and the first ones are taken. So the sets of one seed are nested: a larger
number contains the smaller ones. Labels cost work image by image, so images are drawn and not groups. The samples that
are not drawn have no split; the validation and test samples stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.errors import UsageError
from stages.segmentation.balancing import CLASS
from stages.segmentation.group_hashes import chosen_hashes
from stages.segmentation.sample_traits import sample_traits
from store import AttentionStore

__all__ = ["labelled_subset", "missing_classes"]

MOST_READ = 1000
"""Number of drawn samples up to which their masks are read, to look for classes that none of them has."""


def labelled_subset(store: AttentionStore, splits: Sequence[str], *, count: int | None, seed: int) -> list[str]:
    """Return the splits with only some of the training samples; "" for those that were not drawn.

    Args:
        store: the samples.
        splits: (sample,) the split of every sample, in the store's order.
        count: number of training samples to keep, at least 1; None keeps all.
        seed: of the draw. Of one seed, a larger number contains the smaller ones.

    Raises:
        UsageError: there are fewer training samples.
    """
    if count is None:
        return list(splits)
    training = np.flatnonzero(np.array(splits, object) == "train")
    if len(training) < count:
        raise UsageError(
            f"{store.path}: {count} labelled samples are asked for, but the training split has only {len(training)}.\n"
            "  Use a smaller number of --labels, or smaller --val and --test."
        )
    hashes = chosen_hashes(store.columns.texts("sample"), seed, training)  # the ids differ, and so do their hashes
    kept = np.array(splits, object)
    kept[training[np.argsort(hashes, kind="stable")[count:]]] = ""
    drawn: list[str] = kept.tolist()
    return drawn


def missing_classes(store: AttentionStore, splits: Sequence[str]) -> list[str]:
    """Return the names of the foreground classes that no training sample has.

    Masks are read only where there are at most `MOST_READ` training samples; with more, nothing is returned.
    """
    training = np.flatnonzero(np.array(splits, object) == "train").astype(np.int64)
    if len(training) > MOST_READ:
        return []
    found = frozenset().union(*sample_traits(store, training).kinds)
    return [name for number, name in enumerate(store.classes) if number and f"{CLASS}{number}" not in found]
