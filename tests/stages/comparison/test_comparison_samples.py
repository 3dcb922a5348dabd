"""All runs share one split, also where an arm has a store of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.comparison.arms import Arm
from stages.comparison.samples import Samples, open_samples
from stages.errors import UsageError
from stages.settings import TrainSettings
from store import AttentionStore
from store.records import Sample
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample


def write(path: Path, layout: Layout, samples: list[Sample]) -> Path:
    with new_store(path, layout=layout, recipe=RECIPE) as writer:
        for sample in samples:
            writer.append(sample)
    return path


def opened(store: Path, other: Path) -> Samples:
    shared = TrainSettings(store=store, val=0.2, test=0.3)
    return open_samples([Arm(name="other", settings=replace(shared, store=other))], shared)


@pytest.fixture
def samples(layout: Layout) -> list[Sample]:
    return [random_sample(index, layout) for index in range(20)]


def test_a_store_with_other_maps_in_another_order_has_the_same_split_by_id(
    tmp_path: Path, layout: Layout, samples: list[Sample]
):
    """The other store has its samples in reverse order, other maps, and one sample more."""
    maps = replace(layout, heads=["L2H0"])
    others = [replace(one, attention=one.attention[:1]) for one in (*samples, random_sample(20, layout))]
    store = write(tmp_path / "a.zarr", layout, samples)
    other = write(tmp_path / "b.zarr", maps, others[::-1])
    both = opened(store, other)
    there = both.stores[other]
    split_of = dict(zip(map(str, there.ids), both.splits_in(there, both.splits), strict=True))
    assert split_of.pop("sample-020") == ""
    assert split_of == dict(zip(map(str, both.store.ids), both.splits, strict=True))
    assert set(split_of.values()) == {"train", "val", "test"}


def _without_one(samples: list[Sample]) -> list[Sample]:
    return samples[:-1]


def _other_image(samples: list[Sample]) -> list[Sample]:
    return [replace(samples[0], digest="f" * 64), *samples[1:]]


def _other_mask(samples: list[Sample]) -> list[Sample]:
    return [replace(samples[0], mask=1 - samples[0].mask), *samples[1:]]


def _no_mask(samples: list[Sample]) -> list[Sample]:
    return [replace(samples[0], mask=np.zeros_like(samples[0].mask), labelled=False), *samples[1:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_one, "sample-019 are missing"),
        (_other_image, "sample-000 have another image"),
        (_other_mask, "sample-000 have another mask"),
        (_no_mask, "sample-000 have no mask"),
    ],
)
def test_a_store_of_other_images_or_masks_is_refused(
    tmp_path: Path, layout: Layout, samples: list[Sample], change: Callable[[list[Sample]], list[Sample]], words: str
):
    store = write(tmp_path / "a.zarr", layout, samples)
    other = write(tmp_path / "b.zarr", layout, change(samples))
    with pytest.raises(UsageError, match=words) as caught:
        opened(store, other)
    assert "arm other" in str(caught.value)


@pytest.mark.parametrize("change", [{"classes": ["skin", "mole"]}, {"size": (12, 14)}])
def test_a_store_with_other_classes_or_sizes_is_refused(tmp_path: Path, layout: Layout, change):
    """Dice of masks of another size or meaning cannot be compared."""
    other = replace(layout, **change)
    one = write(tmp_path / "a.zarr", layout, [random_sample(index, layout) for index in range(20)])
    two = write(tmp_path / "b.zarr", other, [random_sample(index, other) for index in range(20)])
    with pytest.raises(UsageError, match="cannot be compared"):
        opened(one, two)


def test_a_store_without_masks_is_refused(tmp_path: Path, layout: Layout, samples: list[Sample]):
    bare = [replace(one, mask=np.zeros_like(one.mask), labelled=False) for one in samples]
    store = write(tmp_path / "a.zarr", layout, bare)
    with pytest.raises(UsageError, match="no sample has a mask"):
        opened(store, store)


def test_the_split_can_be_given_as_a_table(tmp_path: Path, layout: Layout, samples: list[Sample]):
    store = write(tmp_path / "a.zarr", layout, samples)
    table = tmp_path / "splits.csv"
    rows = [f"{one.id},{'test' if int(one.group[8:]) < 3 else 'train'}" for one in samples]
    table.write_text("\n".join(["id,split", *rows]))
    shared = TrainSettings(store=store, split_csv=table)
    found = open_samples([], shared)
    assert (found.count("test"), found.count("train"), found.count("val")) == (6, 14, 0)
    assert isinstance(found.store, AttentionStore)
