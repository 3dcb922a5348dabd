"""Open the samples of a comparison: one split for all runs, in one store or in several stores of the same images.

An arm may have a store of its own, with other attention maps of the same images. All arms must be trained and tested on
the same samples. So the split is made once, on the store of the comparison, and is carried over by the samples' ids.
Before that, every sample of the split must have the same image (by digest) and the same mask in both stores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.comparison.arms import Arm
from stages.errors import UsageError
from stages.runs.whole_store import require_whole
from stages.segmentation.column_prints import Prints, column_prints
from stages.segmentation.compact_splits import CompactSplits
from stages.segmentation.split_tables import SPLITS
from stages.segmentation.splits import split_by_csv, split_by_rule
from stages.settings import TrainSettings
from store import AttentionStore
from store.remote.address import Place

__all__ = ["Samples", "open_samples"]

BATCH = 64
NAMED = 3
"""Number of samples that a message names."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Hold the opened stores and the split that all runs share."""

    store: AttentionStore
    """The store of the comparison, on which the split was made."""
    splits: CompactSplits
    """Split of every sample of `store`: train, val, test; "" for others, and unlabelled where a table says so."""
    stores: dict[Place, AttentionStore]
    """Every store of an arm, by the path in its settings."""

    def count(self, split: str) -> int:
        """Return the number of samples in a split."""
        return self.splits.count(split)

    def store_of(self, arm: Arm) -> AttentionStore:
        """Return the store that an arm is trained and scored on."""
        return self.stores[arm.settings.store]

    def splits_in(self, other: AttentionStore, splits: Sequence[str]) -> CompactSplits:
        """Return splits of the samples of `store` in the order of another store, by id."""
        if other is self.store:
            return CompactSplits(splits)
        there = _positions_in(other, column_prints(self.store, "sample"))
        found = np.full(len(other), "", object)
        found[there[there >= 0]] = np.array(splits, object)[there >= 0]
        return CompactSplits(found.tolist())


def open_samples(arms: Iterable[Arm], shared: TrainSettings) -> Samples:
    """Open the stores, make the split, and check that all stores hold the same images and masks.

    Args:
        arms: of the comparison.
        shared: settings that all arms share: the store of the comparison, and those of the split.

    Raises:
        StoreError: a store cannot be read.
        UsageError: a store has no masks, a split cannot be made, or stores differ in images, masks or classes.
        InputProblemsError: the table of splits does not fit the store.
    """
    store = AttentionStore.open(shared.store)
    require_whole(store)
    if not store.labelled.any():
        raise UsageError(
            f"{shared.store}: no sample has a mask, so there is nothing to learn from.\n  Extract a store with --masks."
        )
    splits = CompactSplits(_split(store, shared))
    stores: dict[Place, AttentionStore] = {shared.store: store}
    for arm in arms:
        path = arm.settings.store
        if path not in stores:
            stores[path] = AttentionStore.open(path)
            require_whole(stores[path])
            _require_same(store, stores[path], splits, arm.name)
        if arm.settings.unlabelled and stores[path] is not store:
            _require_images(store, stores[path], np.flatnonzero(~store.labelled).astype(np.int64), arm.name)
    return Samples(store=store, splits=splits, stores=stores)


def _split(store: AttentionStore, settings: TrainSettings) -> list[str]:
    """Return the split of every sample, in the store's order; "" for samples that are not used."""
    if settings.split_csv is not None:
        return split_by_csv(store, settings.split_csv)
    return split_by_rule(
        store, rule=settings.split_rule, seed=settings.split_seed, val=settings.val, test=settings.test
    )


def _require_same(store: AttentionStore, other: AttentionStore, splits: CompactSplits, arm: str) -> None:
    """Make sure that another store holds every sample of the split with the same image and mask.

    Raises:
        UsageError: it does not; the message names samples.
    """
    if (other.classes, other.multilabel, other.size) != (store.classes, store.multilabel, store.size):
        raise UsageError(
            f"{other.path}: the store of arm {arm} has classes {other.classes} and images of {_sides(other)}, but "
            f"{store.path} has {store.classes} and {_sides(store)}.\n"
            "  Scores of different masks cannot be compared. Extract both with the same classes and --image-size."
        )
    used = np.sort(np.concatenate([splits.positions(name) for name in SPLITS]))
    there = _require_images(store, other, used, arm)
    _refuse(used[~other.labelled[there]], "have no mask in it", other, store, arm)
    _refuse(used[_differing_masks(store, used, other, there)], "have another mask in it", other, store, arm)


def _require_images(
    store: AttentionStore, other: AttentionStore, used: NDArray[np.int64], arm: str
) -> NDArray[np.int64]:
    """Make sure that another store holds the same images, by id and digest.

    Returns:
        (sample,) their positions in the other store.

    Raises:
        UsageError: it does not; the message names samples.
    """
    there = _positions_in(other, column_prints(store, "sample")[used])
    _refuse(used[there < 0], "are missing in it", other, store, arm)
    differs = column_prints(store, "digest")[used] != column_prints(other, "digest")[there]
    _refuse(used[differs], "have another image in it", other, store, arm)
    return there


def _positions_in(other: AttentionStore, ids: Prints) -> NDArray[np.int64]:
    """Return the positions of samples in another store by the prints of their ids, (id,); -1 for those it lacks."""
    known = column_prints(other, "sample")
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    found: NDArray[np.int64] = np.where(known[order[at]] == ids, order[at], -1)
    return found


def _differing_masks(
    store: AttentionStore, used: NDArray[np.int64], other: AttentionStore, there: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the positions in `used` of the samples whose stored masks differ. Masks are read batch by batch."""
    differing = [np.empty(0, np.int64)]
    for start in range(0, len(used), BATCH):
        part = slice(start, start + BATCH)
        one, two = store.read_array("mask", used[part]), other.read_array("mask", there[part])
        differing.append(start + np.flatnonzero((one != two).any(axis=(1, 2))))
    return np.concatenate(differing)


def _refuse(positions: NDArray[np.int64], what: str, other: AttentionStore, store: AttentionStore, arm: str) -> None:
    """Raise an error that names the samples at some positions of the store, if there are any."""
    if not len(positions):
        return
    named = positions[:NAMED].tolist()
    ids = store.chosen_texts("sample", named)
    more = f" and {len(positions) - NAMED} more" if len(positions) > NAMED else ""
    raise UsageError(
        f"{other.path}: the store of arm {arm} does not hold the same images and masks as {store.path}: samples "
        f"{', '.join(ids[position] for position in named)}{more} {what}.\n  Extract both stores from the same files."
    )


def _sides(store: AttentionStore) -> str:
    return f"{store.size[0]}x{store.size[1]}"
