"""Statistics of heads and classes, computed shard by shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from store import AttentionStore
from store.class_shares import class_shares
from store.records import IGNORE
from store.statistics import head_statistics
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

MakeStore = Callable[..., Path]


@pytest.fixture
def labelled(tmp_path: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> AttentionStore:
    """Return a store of three samples in two shards: half lesion, all ignored, no lesion. Its maps are known."""
    monkeypatch.setattr("store.writer.MAX_SAMPLES_PER_SHARD", 2)
    half = np.zeros(layout.size, np.uint8)
    half[:, layout.size[1] // 2 :] = 1
    inside = np.array([[0, 1, 2], [0, 1, 2]], np.float16) / 3  # grows from the left to the right
    maps = np.stack([inside, np.ones_like(inside)])
    path = tmp_path / "s.zarr"
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for index, mask in enumerate((half, np.full_like(half, IGNORE), np.zeros_like(half))):
            writer.append(replace(random_sample(index, layout), mask=mask, attention=maps))
    return AttentionStore.open(path)


def test_a_head_that_follows_the_mask_separates_and_a_uniform_one_does_not(labelled: AttentionStore):
    """The second head is uniform: no contrast and no separation. Samples with one class only do not count."""
    following, uniform = head_statistics(labelled)
    assert (following.head, uniform.head) == ("L1H0", "L1H1")
    assert following.mean == pytest.approx(1 / 3, rel=1e-3)
    assert following.contrast == pytest.approx(np.std([0, 1, 2]), rel=1e-3)
    assert following.separation > 0.3
    assert (uniform.mean, uniform.contrast, uniform.separation) == (1.0, 0.0, 0.0)


def test_without_samples_there_are_no_statistics(make_store: MakeStore):
    store = AttentionStore.open(make_store(0))
    assert head_statistics(store) == []
    assert class_shares(store) is None


def test_shares_leave_out_ignored_pixels(labelled: AttentionStore):
    assert class_shares(labelled) == [0.75, 0.25]


def test_shares_of_labels_that_overlap_sum_to_more_than_one(tmp_path: Path, layout: Layout):
    bits = replace(layout, classes=["skin", "lesion", "hair"], multilabel=True)
    mask = np.full(bits.size, 0b11, np.uint8)
    mask[0] = 0
    with new_store(tmp_path / "s.zarr", layout=bits, recipe=RECIPE) as writer:
        writer.append(replace(random_sample(0, bits), mask=mask))
    assert class_shares(AttentionStore.open(tmp_path / "s.zarr")) == [0.1, 0.9, 0.9]
