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
    splits: Sequence[str]
    """Split of every sample of `store`: train, val, test; "" for others, and unlabelled where a table says so."""
    stores: dict[Place, AttentionStore]
    """Every store of an arm, by the path in its settings."""

    def count(self, split: str) -> int:
        """Return the number of samples in a split."""
        return list(self.splits).count(split)

    def store_of(self, arm: Arm) -> AttentionStore:
        """Return the store that an arm is trained and scored on."""
        return self.stores[arm.settings.store]

    def splits_in(self, other: AttentionStore, splits: Sequence[str]) -> list[str]:
        """Return splits of the samples of `store` in the order of another store, by id."""
        if other is self.store:
            return list(splits)
        split_of = dict(zip(map(str, self.store.ids), splits, strict=True))
        return [split_of.get(str(id_), "") for id_ in other.ids]


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
    splits = _split(store, shared)
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


def _require_same(store: AttentionStore, other: AttentionStore, splits: Sequence[str], arm: str) -> None:
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
    used = np.array([position for position, split in enumerate(splits) if split in SPLITS], dtype=np.int64)
    ids = [str(store.ids[position]) for position in used]
    there = _require_images(store, other, used, arm)
    labelled = other.labelled[there]
    _refuse([id_ for id_, one in zip(ids, labelled, strict=True) if not one], "have no mask in it", other, store, arm)
    differing = _differing_masks(store, used, other, there)
    _refuse([ids[position] for position in differing], "have another mask in it", other, store, arm)


def _require_images(
    store: AttentionStore, other: AttentionStore, used: NDArray[np.int64], arm: str
) -> NDArray[np.int64]:
    """Make sure that another store holds the same images, by id and digest.

    Returns:
        (sample,) their positions in the other store.

    Raises:
        UsageError: it does not; the message names samples.
    """
    position_of = {str(id_): position for position, id_ in enumerate(other.ids)}
    ids = [str(store.ids[position]) for position in used]
    _refuse([id_ for id_ in ids if id_ not in position_of], "are missing in it", other, store, arm)
    there = np.array([position_of[id_] for id_ in ids], dtype=np.int64)
    same = store.column("digest")[used] == other.column("digest")[there]
    _refuse([id_ for id_, one in zip(ids, same, strict=True) if not one], "have another image in it", other, store, arm)
    return there


def _differing_masks(
    store: AttentionStore, used: NDArray[np.int64], other: AttentionStore, there: NDArray[np.int64]
) -> list[int]:
    """Return the positions in `used` of the samples whose stored masks differ. Masks are read batch by batch."""
    differing: list[int] = []
    for start in range(0, len(used), BATCH):
        part = slice(start, start + BATCH)
        one, two = store.read_array("mask", used[part]), other.read_array("mask", there[part])
        differing += (start + np.flatnonzero((one != two).any(axis=(1, 2)))).tolist()
    return differing


def _refuse(ids: Sequence[str], what: str, other: AttentionStore, store: AttentionStore, arm: str) -> None:
    if not ids:
        return
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    raise UsageError(
        f"{other.path}: the store of arm {arm} does not hold the same images and masks as {store.path}: samples "
        f"{', '.join(ids[:NAMED])}{more} {what}.\n  Extract both stores from the same files."
    )


def _sides(store: AttentionStore) -> str:
    return f"{store.size[0]}x{store.size[1]}"
