"""Choose the samples that are learnt from without labels, and draw them.

They are the samples without a mask, and the training samples that `--labels` leaves out; masks of the latter are not
used. They get the split `unlabelled`, so that a run's table of splits, its identity and the check for leakage know
them.

A sample is never used if it, a copy of its image, or another image of its group is in validation or test, or was left
out by a table of splits. A table may name samples as `unlabelled` itself: the `splits.csv` of such a run does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.split_tables import UNLABELLED
from stages.segmentation.store_groups import groups_of
from store import AttentionStore

__all__ = ["mark_if_any", "mark_unlabelled", "positions_at", "require_unlabelled"]

STREAM = 1
"""Third number of the seed of an order. The order of labelled samples has a seed of two numbers."""


def mark_unlabelled(store: AttentionStore, splits: Sequence[str], drawn: Sequence[str], *, wanted: bool) -> list[str]:
    """Return the splits of a training, with or without the split `unlabelled`.

    Args:
        store: the samples.
        splits: (sample,) split of every sample before some labels were left out; "" for samples without a split.
        drawn: (sample,) the same after that.
        wanted: False gives "" to every sample that would be unlabelled.

    Raises:
        UsageError: unlabelled samples are wanted, and there are none.
    """
    marked = mark_if_any(store, splits, drawn, wanted=wanted)
    if wanted:
        require_unlabelled(store, marked.count(UNLABELLED))
    return marked


def mark_if_any(store: AttentionStore, splits: Sequence[str], drawn: Sequence[str], *, wanted: bool) -> list[str]:
    """Return what `mark_unlabelled` does, also if there are no unlabelled samples."""
    known = np.array(drawn, object)
    known[known == UNLABELLED] = ""
    if wanted:
        known[_outside_held_out_groups(store, splits) & (known == "")] = UNLABELLED
    marked: list[str] = known.tolist()
    return marked


def require_unlabelled(store: AttentionStore, count: int) -> None:
    """Make sure that there is a sample to learn from without its label.

    Raises:
        UsageError: `count` is 0.
    """
    if not count:
        raise UsageError(
            f"{store.path}: `unlabelled` needs samples to learn from without labels, and there are none: every sample "
            "is a labelled training sample, or is kept apart for validation and test.\n"
            "  Extract images without masks into the store too, leave labels out (--labels), or train without "
            "`unlabelled`."
        )


def positions_at(step: int, indices: NDArray[np.int64], batch_size: int, *, seed: int) -> NDArray[np.int64]:
    """Return the samples of a step: the next ones of an endless row of shuffled passes over all of them.

    The row does not depend on epochs of the labelled samples, which may be as short as one step.

    Args:
        step: number in the whole training, counted from 0.
        indices: (sample,) positions in the store; at least one.
        batch_size: samples per step. If there are fewer in all, some come twice in a step.
        seed: of the training.
    """
    first = step * batch_size
    passes = range(first // len(indices), (first + batch_size - 1) // len(indices) + 1)
    start = first - passes.start * len(indices)
    orders = [_shuffled(len(indices), seed, number) for number in passes]
    row = orders[0] if len(orders) == 1 else np.concatenate(orders)
    return indices[row[start : start + batch_size]]


def _outside_held_out_groups(store: AttentionStore, splits: Sequence[str]) -> NDArray[np.bool_]:
    """Return for every sample whether no sample of its group, or of one that copies connect to it, is held out.

    A sample is held out if it is in validation or test, or if it has a mask and no split: a table left it out.
    """
    samples = groups_of(store)
    patients = samples.links.linked(samples.groups)
    del samples
    given = np.array(splits, object)
    held_out: NDArray[np.bool_] = (given == "val") | (given == "test") | ((given == "") & store.labelled)
    del given
    order = np.argsort(patients)
    ordered = patients[order]
    begins = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] ^ np.uint64(1)))
    if not len(begins):
        return np.empty(0, np.bool_)
    of_patients = np.logical_or.reduceat(held_out[order], begins)
    free = np.empty(len(order), np.bool_)
    free[order] = np.repeat(~of_patients, np.diff(begins, append=len(order)))
    return free


@lru_cache(maxsize=2)  # a step needs one pass or the end of one and the beginning of the next
def _shuffled(count: int, seed: int, number: int) -> NDArray[np.int64]:
    """Return the order of one pass over `count` samples. It must not be changed."""
    return np.random.default_rng([seed, number, STREAM]).permutation(count)
