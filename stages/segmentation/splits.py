"""Split samples into training, validation and test.

There are three rules: a hash of the group, exact sizes for small sets (`stages.segmentation.exact_splits`), and a
table. Without a table or a rule, sets of fewer than `SMALL` labelled groups are split exactly, larger ones by the hash.

**By hash.** A group's split is drawn by a hash of (seed, group), so all images of a patient or lesion have the same
split. Groups that share a copied image (the same digest) count as one patient under two names, and so do groups that
are connected by a chain of copies. They all get one split: test if any of them drew test, else val if any drew val,
else train.

**By a table.** A table `id,split` names the split of every sample. Then a group, or the copies of an image, in more
than one split is an error. So is a chain of copies that connects two splits through samples without a split. The splits
train and unlabelled count as one here, because no score is made of either.

When images are added, with the rule `hash`, the same seed and shares:

- a test image stays in test, and a val image never goes into training;
- no image moves unless a new image connects groups by a copy; then val and train images may move towards test.

A different share for val moves no test image. A larger share for test only moves images into test, never out of it.

If an image is renamed (and the id is its group) or gets another group, its split is drawn anew. If an image is removed,
groups that it connected may get different splits. In both cases images may move from test into training. Existing runs
are not affected: each records its own splits, by digest. An image saved again with other bytes counts as another
image; give such images one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.errors import InputProblemsError, UsageError
from stages.runtime.wording import counted
from stages.segmentation.exact_splits import deal, part_sizes
from stages.segmentation.group_hashes import copied_digests, group_draws, positions_of
from stages.segmentation.labelled_groups import labelled_groups
from stages.segmentation.linked_names import linked_groups
from stages.segmentation.split_tables import SPLITS
from stages.segmentation.table_splits import splits_of_table
from stages.settings import SplitRule
from store import AttentionStore

SMALL = 500
"""Smallest number of labelled groups for which the sizes that a hash gives are exact enough."""


def split_by_rule(store: AttentionStore, *, rule: SplitRule, seed: int, val: float, test: float) -> list[str]:
    """Return the split of every sample, in the store's order; "" for samples without a mask.

    Args:
        store: the samples.
        rule: `exact`, `hash`, or `auto` to choose by the number of groups.
        seed: every seed gives an unrelated split.
        val: share for validation: of the images, or with `hash` the expected share of the groups.
        test: share for testing, likewise.

    Raises:
        UsageError: the shares leave nothing to train on, or a split comes out empty.
    """
    if resolve_rule(store, rule) == "hash":
        return split_by_hash(store, seed=seed, val=val, test=test)
    return split_exactly(store, seed=seed, val=val, test=test)


def resolve_rule(store: AttentionStore, rule: SplitRule) -> SplitRule:
    """Return the rule, `exact` or `hash`, that `auto` stands for; any other rule unchanged."""
    if rule != "auto":
        return rule
    return "hash" if _has_many_groups(store) else "exact"


def _has_many_groups(store: AttentionStore) -> bool:
    """Return True if at least `SMALL` groups have a mask. No more of the column is read than this needs."""
    groups: set[bytes] = set()
    start = 0
    for texts in store.columns.texts("group"):
        labelled = store.labelled[start : start + len(texts)]
        differs = texts.differs_from_previous()
        groups.update(texts.chosen(np.flatnonzero(labelled & differs)))
        groups.update(texts.chosen(np.flatnonzero(labelled & ~differs)))
        if len(groups) >= SMALL:
            return True
        start += len(texts)
    return False


def split_exactly(store: AttentionStore, *, seed: int, val: float, test: float) -> list[str]:
    """Return the split of every sample by `stages.segmentation.exact_splits`; "" for samples without a mask.

    Args:
        store: the samples.
        seed: every seed gives another, equally balanced split.
        val: share of the images for validation.
        test: share of the images for testing.

    Raises:
        UsageError: the shares leave nothing to train on, or a split comes out empty.
    """
    _require_shares(val, test)
    known = labelled_groups(store)
    groups = known.traits()
    images = sum(group.images for group in groups.values())
    shares = {"test": test, "val": val, "train": 1 - val - test}
    sizes = part_sizes(images, {name: share for name, share in shares.items() if share > 0})
    parts = deal(groups, sizes, seed=seed)
    splits = known.spread(parts)
    empty = [name for name in SPLITS if shares[name] > 0 and name not in splits]
    if empty:
        raise UsageError(
            f"the seeded split puts no sample in {' and '.join(empty)}: {images} labelled samples in "
            f"{counted(len(groups), 'group')} are too few, because a group is never divided.\n"
            "  Use more images, other shares (--val 0, --test 0), or a --split-csv."
        )
    return splits


def split_by_hash(store: AttentionStore, *, seed: int, val: float, test: float) -> list[str]:
    """Return the split of every sample, in the store's order; "" for samples without a mask.

    Args:
        store: the samples.
        seed: every seed gives an unrelated split.
        val: expected share of the groups for validation.
        test: expected share of the groups for testing.

    Raises:
        UsageError: the shares leave nothing to train on, or a split comes out empty.
    """
    _require_shares(val, test)
    draws = group_draws(store, seed)
    shares = draws.astype(np.float64) / 2**64
    codes = (shares < test + val).astype(np.int8)  # positions in SPLITS
    codes[shares < test] = 2
    copied, digests = copied_digests(store)
    # By the hashes of their names: two names with one hash would have one split anyway.
    linked = linked_groups(map(str, draws[copied].tolist()), map(bytes.decode, digests))
    together: dict[str, int] = {}
    connected = positions_of(draws, draws[copied])
    names = [linked[str(draw)] for draw in draws[connected].tolist()]
    for name, code in zip(names, codes[connected].tolist(), strict=True):
        together[name] = max(together.get(name, 0), code)  # SPLITS is in rising order: test wins over val and train
    codes[connected] = [together[name] for name in names]
    codes[~store.labelled] = len(SPLITS)
    splits: list[str] = np.array([*SPLITS, ""], object)[codes].tolist()
    _require(splits, {"train"} | ({"val"} if val else set()) | ({"test"} if test else set()), "the seeded split")
    return splits


def split_by_csv(store: AttentionStore, path: Path) -> list[str]:
    """Return the split of every sample as a table `id,split` gives it; "" for samples it does not name.

    A table may name images that were cut into slices or tiles. Then all of their samples have this split, except those
    with a row of their own, and those without a mask, which only `unlabelled` may hold.

    The table may be a run's `splits.csv`, or another one that holds ids with the marks of `stages.outputs.cells`.

    Raises:
        UsageError: the table cannot be read or lacks these columns.
        InputProblemsError: rows that do not fit, and groups or copies in more than one split; all of them.
    """
    splits, problems = splits_of_table(store, path)
    if problems:
        raise InputProblemsError(problems)
    _require(splits, {"train"}, str(path))
    return splits


def _require_shares(val: float, test: float) -> None:
    if val + test >= 1:
        raise UsageError(f"val ({val}) and test ({test}) leave nothing to train on; their sum must be below 1.")


def _require(splits: Sequence[str], needed: set[str], where: str) -> None:
    empty = [split for split in SPLITS if split in needed and split not in splits]
    if empty:
        raise UsageError(
            f"{where} puts no sample in {' and '.join(empty)} ({sum(map(bool, splits))} labelled samples in all).\n"
            "  Use more images, another --split-seed, other shares (--val, --test), or a --split-csv."
        )
