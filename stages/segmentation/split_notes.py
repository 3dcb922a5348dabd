"""Write the notes and warnings about the store of a training: classes that are missing, images that look the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.runs.licences import licence_of_run, needs_notice, remark
from stages.runtime.wording import counted
from stages.segmentation.folds import fold_name
from stages.segmentation.labelled_subset import missing_classes
from stages.segmentation.near_duplicates import NearDuplicates, across_splits
from stages.segmentation.split_tables import UNLABELLED
from stages.segmentation.splits import SMALL
from stages.segmentation.training_report import FEWEST_TO_CHOOSE
from stages.settings import SplitRule, TrainSettings
from store import AttentionStore

__all__ = [
    "describe_rule",
    "duplicate_notes",
    "fold_duplicate_notes",
    "fold_notes",
    "fold_store_notes",
    "missing_class_notes",
    "store_notes",
]

NAMED = 3
"""Number of pairs of images that a note names."""


def store_notes(store: AttentionStore, splits: Sequence[str], settings: TrainSettings) -> list[str]:
    """Return the notes on classes that are missing, and on a licence of the transformer's weights with conditions."""
    return [*missing_class_notes(store, splits, settings), *_licence_notes(store, settings)]


def fold_store_notes(store: AttentionStore, divisions: Sequence[Sequence[str]], settings: TrainSettings) -> list[str]:
    """Return the notes of `store_notes` about all folds, and how many samples their models learn from without labels.

    Args:
        store: the samples.
        divisions: the splits of every fold.
        settings: of the training.
    """
    missing = {
        fold_name(number): missing_class_notes(store, splits, settings)
        for number, splits in enumerate(divisions, start=1)
    }
    named = [f"{fold}: {note}" for fold, notes in missing.items() for note in notes]
    return [*_unlabelled_notes(divisions), *named, *_licence_notes(store, settings)]


def _licence_notes(store: AttentionStore, settings: TrainSettings) -> list[str]:
    """Return the note on a licence of the transformer's weights that has conditions or is not known."""
    licence = licence_of_run(store.recipe, store.description.weights_licence, branches=settings.branches)
    return [f"note: {remark(licence)}"] if needs_notice(licence) else []


def missing_class_notes(store: AttentionStore, splits: Sequence[str], settings: TrainSettings) -> list[str]:
    """Return a note if none of the drawn training samples has a certain class."""
    missing = missing_classes(store, splits) if settings.labels is not None else []
    if not missing:
        return []
    text = (
        f"warning: none of the {settings.labels} samples drawn has {' or '.join(missing)}, so the model cannot learn "
        "it. Use more --labels or another --seed"
    )
    return [text]


def fold_notes(*, fewest: int) -> list[str]:
    """Return a note about few validation samples, if the smallest number of a fold is below the limit."""
    text = (
        f"note: fewer than {FEWEST_TO_CHOOSE} validation samples cannot choose an epoch: such folds keep the last one "
        f"(the smallest has {fewest})"
    )
    return [text] if fewest < FEWEST_TO_CHOOSE else []


def _unlabelled_notes(divisions: Sequence[Sequence[str]]) -> list[str]:
    """Return how many samples the model of each fold learns from without labels; nothing if there are none."""
    counts = sorted({list(splits).count(UNLABELLED) for splits in divisions})
    if not any(counts):
        return []
    number = (
        counted(counts[0], "unlabelled sample")
        if len(counts) == 1
        else f"{counts[0]} to {counts[-1]} unlabelled samples"
    )
    return [f"each model also learnt from {number}"]


def fold_duplicate_notes(store: AttentionStore, divisions: Sequence[Sequence[str]]) -> list[str]:
    """Return the note about images in different folds that look the same.

    A sample without a mask is in no fold. If it is learnt from, it must not look like a sample of any fold.

    Args:
        store: the samples.
        divisions: the splits of every fold.
    """
    fold_of = np.full(len(store), "", object)
    for splits in divisions:
        fold_of[np.array(splits, object) == UNLABELLED] = UNLABELLED
    for number, splits in enumerate(divisions, start=1):
        fold_of[np.array(splits, object) == "test"] = fold_name(number)
    return duplicate_notes(across_splits(store, fold_of.tolist()))


def duplicate_notes(pairs: NearDuplicates) -> list[str]:
    """Return the note that names some of the pairs; nothing without pairs."""
    if not pairs:
        return []
    some = "; ".join(f"{one} in {place}, {other} in {other_place}" for one, place, other, other_place in pairs[:NAMED])
    more = "; …" if len(pairs) > NAMED else ""
    count = "1 pair of images looks" if len(pairs) == 1 else f"{len(pairs)} pairs of images look"
    text = (
        f"note: {count} the same across splits ({some}{more}): scores may be too high. Give them one group (extract "
        "--csv with a column `group`), or remove one of each."
    )
    return [text]


def describe_rule(settings: TrainSettings, rule: SplitRule) -> str:
    """Return the sentence that names the rule of the splits, and why it was chosen."""
    text = {"exact": "exact sizes, with foreground alike in all splits", "hash": "a hash of each group"}[rule]
    if settings.split_rule != "auto":
        return f"split by {text} (--split-rule {rule})"
    few = {"exact": "fewer than", "hash": "at least"}[rule]
    return f"split by {text}, because there are {few} {SMALL} labelled groups (--split-rule {rule})"
