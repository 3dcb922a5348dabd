"""The rules of a store hold for images that are added to it, and a plan compares them as the extraction does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import extract
from stages.errors import UsageError
from stages.imaging.image_rules import ImageRules
from stages.settings import ExtractSettings
from store import AttentionStore
from tests.stages.growing_folders import Folders
from tests.stages.imaging.scans import write_set


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def by(window: str) -> dict[str, str] | None:
    """Return the record of a rule of intensities."""
    return None if window == "minmax" else {"window": window}


@pytest.mark.parametrize(
    ("first", "later"),
    [("auto", "auto"), ("percentiles:2:98", "auto"), ("0:4000", "auto"), ("0:4000", "0:4000"), ("minmax", "minmax")],
)
def test_added_images_are_converted_by_the_rule_of_the_store(folders: Folders, first: str, later: str):
    """The samples are those of an extraction of all images by the rule of the first one."""
    folders.add_deep("a", "b")
    folders.change(window=first)
    extract.run(folders.settings())
    recorded = AttentionStore.open(folders.store).description.images
    assert recorded == by("percentiles" if first == "auto" else first)
    folders.add_deep("c")
    folders.change(window=later)
    extract.run(folders.settings())
    store = AttentionStore.open(folders.store)
    assert store.description.images == recorded
    whole = replace(folders.settings(), store=folders.store.with_name("whole.zarr"), window=first)
    extract.run(whole)
    np.testing.assert_array_equal(store.read([0, 1, 2]).image, AttentionStore.open(whole.store).read([0, 1, 2]).image)


def test_images_of_8_bits_are_added_to_a_store_of_deeper_ones(folders: Folders):
    """No value of theirs is converted, so the rule of the store stays."""
    folders.add_deep("a", "b")
    extract.run(folders.settings())
    folders.add("c")
    assert extract.run(folders.settings()).samples == 3
    assert AttentionStore.open(folders.store).description.images == by("percentiles")


def test_a_store_without_a_rule_takes_deep_images_only_by_the_rule_that_this_means(folders: Folders):
    """`auto` would show the new images by percentiles, which the store cannot record for them alone."""
    folders.add("a", "b")
    extract.run(folders.settings())
    folders.add_deep("c")
    before = folders.files()
    for run in (extract.run, extract.plan):
        with pytest.raises(UsageError, match="give --window minmax"):
            run(folders.settings())
    assert folders.files() == before
    folders.change(window="minmax")
    assert extract.run(folders.settings()).samples == 3


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("run", [extract.run, extract.plan])
def test_another_rule_than_that_of_the_store_is_refused(
    folders: Folders, run: Callable[[ExtractSettings], object], *, deep: bool
):
    folders.add_deep("a", "b")
    extract.run(folders.settings())
    folders.change(window="0:4000")
    (folders.add_deep if deep else folders.add)("c")
    with pytest.raises(UsageError, match=r"in another way \(images"):
        run(folders.settings())


def test_another_rule_is_refused_without_new_images(folders: Folders):
    folders.add_deep("a", "b")
    extract.run(folders.settings())
    folders.change(window="0:4000")
    with pytest.raises(UsageError, match=r"in another way \(images"):
        extract.run(folders.settings())


def test_the_output_says_that_the_rule_comes_from_the_store(folders: Folders):
    folders.add_deep("a", "b")
    folders.change(window="0:4000")
    extract.run(folders.settings())
    folders.add_deep("c")
    folders.change(window="auto")
    assert "values: 16-bit images, shown from 0 to 4000 (as in the store)" in str(extract.run(folders.settings()))


def test_scans_of_one_orientation_are_added_to_a_store_of_several(folders: Folders, monkeypatch: pytest.MonkeyPatch):
    """The orientation of the store stays unknown, as in an extraction of all images."""
    folders.add("a", "b")
    extract.run(folders.settings())
    monkeypatch.setattr("stages.extraction.preparation.only_orientation", lambda _: "axial")
    folders.add("c")
    assert extract.run(folders.settings()).samples == 3
    assert ImageRules.from_dict(AttentionStore.open(folders.store).description.images).orientation == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": (-1,)}, r"in another way \(model or recipe, heads"),
        ({"image_size": (16, 24)}, r"in another way \(size"),
        ({"fit": "pad"}, r"in another way \(images"),
        ({"compress": True}, r"in another way \(compress"),
        ({"position_embedding": "original", "attention_size": (16, 24)}, "model or recipe"),
    ],
    ids=["layers", "size", "fit", "compress", "positions"],
)
@pytest.mark.parametrize("new", [True, False])
def test_a_plan_refuses_what_the_extraction_refuses(
    folders: Folders, changes: dict[str, object], message: str, *, new: bool
):
    folders.add("a", "b")
    extract.run(folders.settings())
    if new:
        folders.add("c")
    folders.change(**changes)
    for run in (extract.plan, extract.run):
        with pytest.raises(UsageError, match=message):
            run(folders.settings())


def test_a_plan_names_the_images_that_would_be_added(folders: Folders):
    """It writes nothing, and works without a new image too."""
    folders.add("a", "b", "c")
    extract.run(folders.settings())
    before = folders.files()
    assert "0 images; 3 samples of the store are kept as they are" in str(extract.plan(folders.settings()))
    folders.add("d")
    text = str(extract.plan(folders.settings()))
    assert "1 image; 3 samples of the store are kept as they are" in text
    assert "1 sample of 16 x 16" in text
    assert folders.files() == before


def test_a_new_image_of_another_depth_does_not_touch_old_samples(folders: Folders):
    """Old samples keep their bytes whatever the new image is."""
    folders.add_deep("a", "b")
    extract.run(folders.settings())
    before = AttentionStore.open(folders.store).read([0, 1])
    Image.new("RGB", (24, 20), (10, 20, 30)).save(folders.images / "c.png")
    extract.run(folders.settings())
    after = AttentionStore.open(folders.store).read([0, 1])
    np.testing.assert_array_equal(before.image, after.image)
    np.testing.assert_array_equal(before.attention, after.attention)


@pytest.mark.parametrize("more", [False, True])
def test_a_store_of_scans_says_that_scans_cannot_be_added(folders: Folders, tmp_path: Path, *, more: bool):
    """The ids of the store are those of slices. Nobody has removed an image."""
    scans, classes = tmp_path / "scans", {"background": 0, "ball": 2}
    folders.change(images=scans / "images", masks=scans / "labels", classes=classes)
    write_set(scans, 2)
    extract.run(folders.settings())
    if more:
        write_set(scans, 3)
    with pytest.raises(UsageError, match=r"case_0.* are volumes, which --append does not add"):
        extract.run(folders.settings())
