"""Few labels on purpose: which training samples are drawn, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stages.errors import UsageError
from stages.segmentation.labelled_subset import labelled_subset, missing_classes
from store import AttentionStore

SPLITS = (["train"] * 3 + ["val", "test"]) * 8


@pytest.fixture
def store(make_store: Callable[..., Path]) -> AttentionStore:
    return AttentionStore.open(make_store(len(SPLITS)))


def _drawn(splits: list[str]) -> set[int]:
    return {index for index, split in enumerate(splits) if split == "train"}


@pytest.mark.parametrize("seed", range(5))
def test_larger_numbers_contain_the_smaller_ones(store: AttentionStore, seed: int):
    sets = [_drawn(labelled_subset(store, SPLITS, count=count, seed=seed)) for count in (1, 2, 7, 23, 24)]
    assert [len(one) for one in sets] == [1, 2, 7, 23, 24]
    assert all(small < large for small, large in pairwise(sets))


def test_only_training_samples_are_drawn_and_the_other_splits_stay(store: AttentionStore):
    drawn = labelled_subset(store, SPLITS, count=5, seed=0)
    for before, after in zip(SPLITS, drawn, strict=True):
        assert after == before or (before, after) == ("train", "")


def test_the_draw_depends_on_the_seed_and_on_the_ids_alone(store: AttentionStore):
    draws = {frozenset(_drawn(labelled_subset(store, SPLITS, count=5, seed=seed))) for seed in range(8)}
    assert len(draws) > 5
    assert labelled_subset(store, SPLITS, count=5, seed=3) == labelled_subset(store, SPLITS, count=5, seed=3)


def test_every_sample_is_drawn_equally_often(store: AttentionStore):
    counts = np.zeros(len(SPLITS))
    for seed in range(400):
        counts[list(_drawn(labelled_subset(store, SPLITS, count=6, seed=seed)))] += 1
    chosen = counts[np.array(SPLITS) == "train"]
    assert chosen.sum() == 400 * 6
    assert chosen.min() > 60  # 100 are expected, with a standard deviation of 8.7
    assert chosen.max() < 140


def test_more_than_there_are_is_an_error_that_says_how_many_there_are(store: AttentionStore):
    with pytest.raises(UsageError, match=r"25 labelled samples are asked for.* only 24"):
        labelled_subset(store, SPLITS, count=25, seed=0)


def test_without_a_number_all_stay(store: AttentionStore):
    assert labelled_subset(store, SPLITS, count=None, seed=0) == SPLITS


def test_a_class_that_no_drawn_sample_has_is_named(store: AttentionStore):
    """The random masks of the store hold every class; with all of them ignored nothing can be learnt."""
    assert missing_classes(store, SPLITS) == []
    assert missing_classes(store, ["test"] * len(SPLITS)) == store.classes[1:]
