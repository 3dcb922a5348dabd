"""Exact splits: the sizes that were asked for, foreground alike in all parts, and whole groups."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.errors import UsageError
from stages.segmentation.balancing import Traits
from stages.segmentation.exact_splits import deal, part_sizes
from stages.segmentation.sample_traits import sample_traits
from stages.segmentation.splits import SMALL, resolve_rule, split_by_hash, split_by_rule, split_exactly
from store import AttentionStore
from store.writer import Layout, new_store
from tests.conftest import RECIPE, random_sample

LAYOUT = Layout(size=(4, 5), grid=(1, 1), heads=["L0H0"], keys=2, classes=["background", "common", "rare"])
PARTS = ("train", "test", "val")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., AttentionStore]:
    """Return a function that writes a store of masks, one per group name; a mask of None is not labelled."""

    def make(
        masks: Sequence[np.ndarray | None], groups: Sequence[str] | None = None, layout: Layout = LAYOUT
    ) -> AttentionStore:
        path = tmp_path / "s.zarr"
        with new_store(path, layout=layout, recipe=RECIPE) as writer:
            for index, mask in enumerate(masks):
                sample = random_sample(index, layout)
                content = np.zeros(layout.size, np.uint8) if mask is None else mask
                group = sample.id if groups is None else groups[index]
                writer.append(replace(sample, mask=content, group=group, labelled=mask is not None))
        return AttentionStore.open(path)

    return make


def _mask(value: int, pixels: int) -> np.ndarray:
    """Return a mask with so many pixels of one class."""
    mask = np.zeros(LAYOUT.size, np.uint8)
    mask.flat[:pixels] = value
    return mask


def _traits(store: AttentionStore, count: int) -> dict[int, frozenset[str]]:
    """Return the traits of the first samples."""
    found = sample_traits(store, np.arange(count))
    return {index: found.kinds[kind] for index, kind in enumerate(found.kind_of)}


@pytest.mark.parametrize(
    ("images", "val", "test", "expected"),
    [
        pytest.param(100, 0.15, 0.2, (65, 15, 20), id="as_asked"),
        pytest.param(30, 0.15, 0.2, (20, 4, 6), id="rounded"),
        pytest.param(10, 0.15, 0.6, (2, 2, 6), id="a_large_share_is_kept"),
        pytest.param(8, 0.1, 0.1, (4, 2, 2), id="at_least_two"),
        pytest.param(4, 0.1, 0.1, (2, 1, 1), id="room_for_one"),
        pytest.param(3, 0.1, 0.1, (1, 1, 1), id="one_each"),
    ],
)
def test_parts_have_their_share_of_the_images_and_at_least_two(images, val, test, expected):
    """The rest is for training."""
    sizes = part_sizes(images, {"test": test, "val": val, "train": 1 - val - test})
    assert (sizes["train"], sizes["val"], sizes["test"]) == expected


@given(images=st.integers(3, 600), val=st.floats(0.01, 0.45), test=st.floats(0.01, 0.45))
def test_sizes_add_up_and_leave_nothing_empty(images, val, test):
    """They differ from the rounded share only to give a part two images, or training something to train on."""
    sizes = part_sizes(images, {"test": test, "val": val, "train": 1 - val - test})
    assert sum(sizes.values()) == images
    assert min(sizes.values()) >= 1
    if images >= 40:
        assert all(sizes[name] == max(2, round(share * images)) for name, share in (("val", val), ("test", test)))


@settings(max_examples=60, deadline=None)
@given(
    traits=st.lists(st.sets(st.sampled_from(["class 1", "class 2", "class 3"])), min_size=6, max_size=60),
    seed=st.integers(0, 5),
    random=st.randoms(use_true_random=False),
)
def test_groups_of_one_image_give_the_exact_sizes_in_any_order(traits, seed, random):
    """The division depends on the names and the seed, and not on the order."""
    groups = {f"g{number}": Traits(1, frozenset(names)) for number, names in enumerate(traits)}
    sizes = part_sizes(len(groups), {"test": 0.2, "val": 0.15, "train": 0.65})
    parts = deal(groups, sizes, seed=seed)
    assert Counter(parts.values()) == sizes
    shuffled = list(groups)
    random.shuffle(shuffled)
    assert deal({name: groups[name] for name in shuffled}, sizes, seed=seed) == parts


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(1, 12), min_size=3, max_size=40), seed=st.integers(0, 5))
@example(counts=[1, 1, 3], seed=0)
def test_whole_patients_leave_no_part_empty_and_miss_the_sizes_by_less_than_the_largest(counts, seed):
    """A patient is in one part. Three patients are enough for three parts, however many images each has."""
    groups = {f"g{number}": Traits(count, frozenset({"class 1"})) for number, count in enumerate(counts)}
    sizes = part_sizes(sum(counts), {"test": 0.2, "val": 0.15, "train": 0.65})
    parts = deal(groups, sizes, seed=seed)
    have = {part: sum(groups[name].images for name, own in parts.items() if own == part) for part in sizes}
    assert parts.keys() == groups.keys()
    assert min(have.values()) >= 1
    assert all(abs(have[part] - sizes[part]) <= max(counts) for part in sizes) or len(counts) < 6


@pytest.mark.parametrize(("patients", "expected"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2))])
def test_patients_of_ten_slices_are_divided_well(write, patients, expected):
    """No split is empty, although no patient fits into the share for validation of the smallest set."""
    names = [f"p{number // 10}" for number in range(patients * 10)]
    store = write([_mask(1, 5)] * len(names), names)
    splits = split_exactly(store, seed=0, val=0.2, test=0.2)
    members = {split: {name for name, own in zip(names, splits, strict=True) if own == split} for split in PARTS}
    assert (len(members["train"]), len(members["val"]), len(members["test"])) == expected
    assert sum(map(len, members.values())) == patients


@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_small_and_large_lesions_and_empty_masks_are_in_every_split(write, seed):
    """By chance, the three images of the rare class would rarely be in three different splits."""
    masks = [_mask(2, 8)] * 3 + [_mask(1, 8)] * 5 + [_mask(1, 18)] * 8 + [_mask(1, 2)] * 9 + [_mask(0, 0)] * 5
    store = write(masks)
    splits = split_exactly(store, seed=seed, val=0.2, test=0.2)
    assert Counter(splits) == {"train": 18, "val": 6, "test": 6}
    for kind in (slice(0, 3), slice(0, 8), slice(8, 16), slice(16, 25), slice(25, 30)):
        assert set(splits[kind]) == set(PARTS)


@pytest.mark.parametrize("seed", range(20))
def test_a_class_in_three_groups_is_in_every_part(seed):
    """Also when its groups have other rare traits that pull them elsewhere."""
    kinds = [
        *([{"class 1", "class 2", "foreground low"}] * 3),
        *([{"class 2", "class 3", "foreground high"}] * 3),
        *([{"class 1", "foreground middle"}] * 8),
        *([{"foreground empty"}] * 4),
    ]
    groups = {f"g{number}": Traits(1 + number % 2, frozenset(names)) for number, names in enumerate(kinds)}
    images = sum(group.images for group in groups.values())
    parts = deal(groups, part_sizes(images, {"test": 0.25, "val": 0.25, "train": 0.5}), seed=seed)
    for name in ("class 1", "class 2", "class 3"):
        assert {parts[group] for group, traits in groups.items() if name in traits.names} == set(PARTS)


def test_traits_are_the_classes_and_the_third_of_the_foreground(write):
    """Ignored pixels count neither as foreground nor as background."""
    ignored = _mask(1, 4)
    ignored[ignored == 0] = 255
    store = write([_mask(0, 0), _mask(1, 2), _mask(2, 10), ignored])
    traits = _traits(store, 4)
    assert traits == {
        0: {"foreground empty"},
        1: {"class 1", "foreground low"},
        2: {"class 2", "foreground middle"},
        3: {"class 1", "foreground high"},
    }


def test_labels_that_overlap_are_classes_of_their_own(write):
    """A pixel with the bits of two labels counts for both."""
    store = write([_mask(3, 2), _mask(2, 2)], layout=replace(LAYOUT, multilabel=True))
    traits = _traits(store, 2)
    assert {name for name in traits[0] if name.startswith("class")} == {"class 1", "class 2"}
    assert {name for name in traits[1] if name.startswith("class")} == {"class 2"}


def test_copies_and_images_without_a_mask(write):
    """Unlabelled images are in no split, and do not count for the sizes."""
    splits = split_exactly(write([_mask(1, 3)] * 10 + [None] * 7), seed=0, val=0.2, test=0.2)
    assert Counter(splits) == {"train": 6, "val": 2, "test": 2, "": 7}


def test_too_few_groups_are_an_error_that_says_what_to_do(write):
    """Two patients cannot be in three splits."""
    store = write([_mask(1, 3)] * 20, ["a"] * 10 + ["b"] * 10)
    with pytest.raises(UsageError, match=r"no sample in (val|test).*20 labelled samples in 2 groups(?s:.*)--val 0"):
        split_exactly(store, seed=0, val=0.2, test=0.2)
    assert Counter(split_exactly(store, seed=0, val=0, test=0.5)) == {"train": 10, "test": 10}


def test_a_single_group_is_written_in_the_singular(write):
    with pytest.raises(UsageError, match="4 labelled samples in 1 group are too few"):
        split_exactly(write([_mask(1, 3)] * 4, ["a"] * 4), seed=0, val=0.2, test=0.2)


def test_small_sets_are_split_exactly_and_large_ones_by_the_hash(write):
    """The number of patients decides, not that of images."""
    layout = Layout(size=(1, 1), grid=(1, 1), heads=["L0H0"], keys=2, classes=["background", "lesion"])
    masks = [np.ones((1, 1), np.uint8)] * (SMALL + 1)
    shares = {"seed": 0, "val": 0.2, "test": 0.2}
    store = write(masks, [f"p{max(1, number)}" for number in range(SMALL + 1)], layout)
    assert resolve_rule(store, "auto") == "hash"
    assert split_by_rule(store, rule="auto", **shares) == split_by_hash(store, **shares)
    assert Counter(split_by_rule(store, rule="exact", **shares))["test"] == math.ceil(0.2 * SMALL)
    (store.path).rename(store.path.with_name("other.zarr"))
    store = write(masks, [f"p{max(2, number)}" for number in range(SMALL + 1)], layout)
    assert resolve_rule(store, "auto") == "exact"
    assert split_by_rule(store, rule="auto", **shares) == split_exactly(store, **shares)
