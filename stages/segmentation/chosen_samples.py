"""Choose the samples of a split, for training code outside this project.

The splits are those of `pipeline train`: by the same rules from the same numbers, or as a finished run recorded them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stages.errors import UsageError
from stages.segmentation.checkpoint import SPLITS_FILE, load_model
from stages.segmentation.column_prints import Prints, column_prints
from stages.segmentation.labelled_subset import labelled_subset
from stages.segmentation.run_splits import UNKNOWN, last_codes, read_run_splits, split_names
from stages.segmentation.split_tables import SPLITS, UNLABELLED
from stages.segmentation.splits import split_by_csv, split_by_rule
from stages.segmentation.unlabelled_samples import mark_if_any
from stages.settings import SplitRule
from store import AttentionStore

__all__ = ["NAMES", "Splits", "choose_samples"]

NAMES = (*SPLITS, UNLABELLED)
"""The splits that can be asked for."""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Say how a store is divided; the defaults and the meanings are those of `pipeline train`."""

    run: str | Path | None = None
    """Folder of a finished run whose splits are used. Then nothing else may be given."""
    csv: str | Path | None = None
    """Table `id,split` in place of a rule."""
    rule: SplitRule = "auto"
    """`exact`, `hash`, or `auto`: exact for small sets."""
    seed: int = 0
    """Seed of the rule (`--split-seed`)."""
    val: float = 0.15
    """Share for validation."""
    test: float = 0.2
    """Share for testing."""
    labels: int | None = None
    """Keep only so many of the training samples; the others become `unlabelled`."""
    labels_seed: int = 0
    """Seed by which they are drawn (`--seed` of `train`)."""

    def __post_init__(self) -> None:
        """Make sure that the parts fit each other.

        Raises:
            UsageError: a run is given and something else too, or a share or a number is out of range.
        """
        if self.run is not None and replace(self, run=None) != Splits():
            raise UsageError("Splits: a run records its own splits. Give `run`, or the other values, not both.")
        if not (0 <= self.val < 1 and 0 <= self.test < 1):
            raise UsageError(f"Splits: val ({self.val}) and test ({self.test}) are shares from 0 to below 1.")
        if self.seed < 0 or self.labels_seed < 0 or (self.labels is not None and self.labels < 1):
            raise UsageError("Splits: seeds are at least 0, and labels at least 1.")


def choose_samples(store: AttentionStore, split: str, splits: Splits | None = None) -> NDArray[np.int64]:
    """Return the positions of a split's samples, in the order of the store.

    Args:
        store: the samples.
        split: a name in `NAMES`.
        splits: how the store is divided; None for the defaults of `train`.

    Raises:
        UsageError: there is no such split, it is empty, or the store cannot be divided like this.
        CheckpointError: the run cannot be read.
        InputProblemsError: the table does not fit the store.
    """
    if split not in NAMES:
        raise UsageError(f"split {split!r} is not known. Choose one of: {', '.join(NAMES)}.")
    splits = splits or Splits()
    marked = (
        _recorded(store, Path(splits.run))
        if splits.run is not None
        else np.array(_divided(store, splits), dtype=object)
    )
    indices = np.flatnonzero(marked == split).astype(np.int64)
    if not len(indices):
        source, remedy = "these splits", "Choose other shares, or another split."
        if splits.run is not None:
            source, remedy = f"the run {splits.run}", "Use the store that the run was trained on."
        raise UsageError(f"{store.path}: none of its samples is in the split `{split}` of {source}.\n  {remedy}")
    return indices


def _divided(store: AttentionStore, splits: Splits) -> list[str]:
    """Return the split of every sample as `train` draws it; "" for samples without a split."""
    if not store.labelled.any():
        raise UsageError(f"{store.path}: no sample has a mask, so there is no split.\n  Extract it with --masks.")
    divided = (
        split_by_csv(store, Path(splits.csv))
        if splits.csv is not None
        else split_by_rule(store, rule=splits.rule, seed=splits.seed, val=splits.val, test=splits.test)
    )
    drawn = labelled_subset(store, divided, count=splits.labels, seed=splits.labels_seed)
    return mark_if_any(store, divided, drawn, wanted=True)


def _recorded(store: AttentionStore, run: Path) -> NDArray[np.object_]:
    """Return the split of every sample in a run, (sample,); "" for samples that the run does not know.

    A sample is found by id and digest, or by its digest alone if it was renamed. The id counts because all tiles of an
    image have its digest, and some of them may have no split.

    Raises:
        CheckpointError: the run cannot be read, or its table was changed.
    """
    _, card = load_model(run, torch.device("cpu"))
    rows = read_run_splits(run / SPLITS_FILE, card.splits_sha256, with_ids=True)
    digests = column_prints(store, "digest", rows.digests)
    found = rows.codes_of(digests)
    exact = last_codes(
        _together(rows.ids, rows.digests), rows.codes, _together(column_prints(store, "sample", rows.ids), digests)
    )
    return split_names(np.where(exact != UNKNOWN, exact, found))


def _together(ids: Prints | None, digests: Prints) -> Prints:
    """Return 64 bits that stand for an id and a digest, (sample,)."""
    return digests if ids is None else ids * np.uint64(0x9E3779B97F4A7C15) + digests
