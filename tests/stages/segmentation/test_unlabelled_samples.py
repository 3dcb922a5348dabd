"""Which samples are learnt from without labels, and in which order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import UsageError
from stages.segmentation.unlabelled_samples import mark_unlabelled, positions_at
from store.records import Sample
from tests.stages.unlabelled_stores import mixed_store

SPLITS = ["train", "train", "train", "val", "test", ""]  # the last has a mask and no split: a table left it out


def test_samples_without_a_mask_and_left_out_labels_are_used_and_no_others(tmp_path: Path):
    """A sample that a table leaves out is not used, nor are validation and test samples."""
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=2)
    before = [*SPLITS, "", ""]
    drawn = ["train", "", "", "val", "test", "", "", ""]
    marked = mark_unlabelled(store, before, drawn, wanted=True)
    assert marked == ["train", "unlabelled", "unlabelled", "val", "test", "", "unlabelled", "unlabelled"]
    assert mark_unlabelled(store, before, drawn, wanted=False) == drawn


@pytest.mark.parametrize("held_out", [3, 4, 5], ids=["validation", "test", "left_out_by_a_table"])
@pytest.mark.parametrize("link", ["group", "digest", "chain"])
def test_a_patient_that_is_held_out_is_not_learnt_from(tmp_path: Path, held_out: int, link: str):
    """Sample 6 has no mask, and shows the patient or is a copy of a held-out sample, or both through sample 7."""

    def linked(index: int, sample: Sample) -> Sample:
        if index == 6:
            digest = f"{held_out:064x}" if link == "digest" else sample.digest
            return replace(sample, group={"group": f"group-{held_out}", "chain": "x"}.get(link, "y"), digest=digest)
        if index == 7 and link == "chain":
            return replace(sample, group="x", digest=f"{held_out:064x}")
        return sample

    store = mixed_store(tmp_path / "s.zarr", masks=6, others=3, change=linked)
    splits = [*SPLITS, "", "", ""]
    marked = mark_unlabelled(store, splits, splits, wanted=True)
    assert [index for index, split in enumerate(marked) if split == "unlabelled"] == (
        [8] if link == "chain" else [7, 8]
    )


def test_samples_that_a_table_names_unlabelled_are_used_only_where_that_is_wanted(tmp_path: Path):
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=1)
    splits = ["train", "unlabelled", "train", "val", "test", "", "unlabelled"]
    assert mark_unlabelled(store, splits, splits, wanted=True) == splits
    assert mark_unlabelled(store, splits, splits, wanted=False) == ["train", "", "train", "val", "test", "", ""]


def test_a_store_without_such_samples_is_an_error_that_says_what_to_do(tmp_path: Path):
    store = mixed_store(tmp_path / "s.zarr", masks=6, others=0)
    with pytest.raises(UsageError, match=r"s\.zarr: `unlabelled` needs samples.*\n.*without masks.*--labels"):
        mark_unlabelled(store, SPLITS, SPLITS, wanted=True)


@pytest.mark.parametrize(("count", "batch_size"), [(10, 4), (7, 7), (3, 8), (1, 2)])
def test_every_pass_has_every_sample_once(count: int, batch_size: int):
    """Batches are always full; with few samples one comes several times in a batch."""
    indices = np.arange(100, 100 + count)
    steps = [positions_at(step, indices, batch_size, seed=3) for step in range(3 * count)]
    assert {len(step) for step in steps} == {batch_size}
    passes = np.concatenate(steps).reshape(-1, count)
    assert all(Counter(one) == Counter(indices) for one in passes.tolist())
    if count > 5:
        assert len({tuple(one) for one in passes.tolist()}) > 1


def test_the_order_depends_on_seed_and_step_alone():
    indices = np.arange(50)
    one = positions_at(7, indices, 8, seed=1)
    assert one.tolist() == positions_at(7, indices, 8, seed=1).tolist()
    assert one.tolist() != positions_at(7, indices, 8, seed=2).tolist()
