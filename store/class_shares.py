"""Compute the share of pixels of every class from the masks of a store, a shard at a time."""

from __future__ import annotations

import numpy as np

from store.reader import AttentionStore
from store.records import IGNORE


def class_shares(store: AttentionStore) -> list[float] | None:
    """Return the share of pixels of every class, in the order of `store.classes`.

    Pixels that are ignored, and samples without a mask, do not count. The shares sum to one, except where labels may
    overlap: then the first is the share of pixels without any label.

    Returns:
        Numbers from 0 to 1; None if no pixel counts.
    """
    counts = np.zeros(256, np.int64)
    step = store.description.samples_per_shard
    for start in range(0, len(store), step):
        masks = store.read_array("mask", np.arange(start, min(start + step, len(store))))
        counts += np.bincount(masks.ravel(), minlength=256)
    counts[IGNORE] = 0
    total = int(counts.sum())
    if not total:
        return None
    values = np.arange(256)
    if store.multilabel:
        labels = range(len(store.classes) - 1)
        pixels = [int(counts[0]), *(int(counts[values >> label & 1 == 1].sum()) for label in labels)]
    else:
        pixels = [int(count) for count in counts[: len(store.classes)]]
    return [count / total for count in pixels]
