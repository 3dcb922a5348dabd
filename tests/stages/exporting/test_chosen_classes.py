"""`export --classes` keeps, renames and merges classes in every format of viewers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from pycocotools.coco import COCO

from stages.errors import UsageError
from stages.export import run as export
from stages.exporting.chosen_classes import with_classes
from stages.exporting.labelled import Collection, Item, Labels
from stages.settings import ExportSettings
from store import AttentionStore
from tests.conftest import pixels_of
from tests.stages.exporting.labelled_stores import make_labelled

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
"""pycocotools 2.0 with NumPy 2."""

FIRST = "é 0"
"""Id of the first image of the stores; it has masks of `cell, round` (1) and `gland` (2)."""


def mask_of(store: Path) -> np.ndarray:
    return AttentionStore.open(store)[0].mask


@pytest.mark.parametrize(
    ("text", "values", "names"),
    [
        ("gland", {2: 1}, ["gland"]),
        ("gland,cell, round", {2: 1, 1: 2}, ["gland", "cell, round"]),
        ("round cells=cell, round", {1: 1}, ["round cells"]),
        ("tissue = gland + cell, round", {1: 1, 2: 1}, ["tissue"]),
    ],
)
def test_masks_have_the_chosen_classes_in_the_chosen_order(
    tmp_path: Path, text: str, values: dict[int, int], names: list[str]
):
    """Other classes are background, and ignored pixels stay ignored. A class may have a comma in its name."""
    store = make_labelled(tmp_path / "s.zarr")
    mask = mask_of(store)
    expected = np.zeros_like(mask)
    for old, new in values.items():
        expected[mask == old] = new
    expected[mask == 255] = 255
    for name in ("fiftyone", "ome-zarr", "coco", "geojson"):
        export(ExportSettings(store=store, format=name, classes=text, out=tmp_path / name))
    np.testing.assert_array_equal(pixels_of(tmp_path / "fiftyone" / "labels" / f"{FIRST}.png"), expected)
    group = zarr.open_group(tmp_path / "ome-zarr" / f"{FIRST}.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["labels/classes/0"][...], expected)
    described = group["labels/classes"].attrs["ome"]["image-label"]["properties"]
    assert [one["class"] for one in described] == names
    coco = COCO(tmp_path / "coco" / "labels.json")
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == names
    for index in range(1, len(names) + 1):
        found = coco.loadAnns(coco.getAnnIds(imgIds=1, catIds=index, iscrowd=False))
        np.testing.assert_array_equal(sum(coco.annToMask(one) for one in found), expected == index)
    features = json.loads((tmp_path / "geojson" / f"{FIRST}.geojson").read_text())["features"]
    assert {one["properties"]["classification"]["name"] for one in features} == set(names)
    written = json.loads((tmp_path / "coco" / "export.json").read_text())["diamant_pipeline"]
    assert written["classes"] == ["background", *names]
    assert list(written["classes_from"]) == names


def test_objects_of_merged_classes_that_the_source_numbers_stay_apart(tmp_path: Path):
    store = make_labelled(tmp_path / "s.zarr", instances=True)
    report = export(ExportSettings(store=store, format="coco", classes="all=cell, round+gland", out=tmp_path / "o"))
    before = export(ExportSettings(store=store, format="coco", out=tmp_path / "before"))
    assert report.facts["objects"] == before.facts["objects"] == 8


def collection(first: list[str], numbers: list[list[str]] | None, *, multilabel: bool = False) -> Collection:
    """Return one image whose classes `a`, `b`, `c` are drawn as letters; in capitals where two classes overlap."""
    drawn = np.array([list(row) for row in first])
    regions = {1: np.isin(drawn, ["a", "X"]), 2: np.isin(drawn, ["b", "X"]), 3: drawn == "c"}
    instances = None
    if numbers is not None:
        instances = {
            k: np.where(regions[k], np.array([list(row) for row in one], np.int32), 0)
            for k, one in enumerate(numbers, 1)
        }
    labels = Labels(regions, drawn == "?", instances)
    item = Item("one", np.zeros((*drawn.shape, 3), np.uint8), labels, None)
    return Collection(classes=["none", "a", "b", "c"], multilabel=multilabel, ids=["one"], read=lambda _: item)


def test_regions_that_touch_are_one_object_of_a_merged_class_without_numbers():
    merged = with_classes(collection(["ab.b", "...c"], None), "ab=a+b")
    labels = merged.read(0).labels
    assert labels is not None
    np.testing.assert_array_equal(labels.objects(1), [[1, 1, 0, 2], [0, 0, 0, 0]])
    assert merged.notes == ["classes left out, which are background here: c"]


def test_merged_labels_that_overlap_are_counted_again():
    """Every label numbers its own objects from 1, so equal numbers do not mean one object."""
    numbers = [["11000"], ["01002"], ["00000"]]
    merged = with_classes(collection(["aX..b"], numbers, multilabel=True), "ab=a+b,c")
    labels = merged.read(0).labels
    assert labels is not None
    np.testing.assert_array_equal(labels.objects(1), [[1, 1, 0, 0, 2]])
    assert merged.notes == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "The classes are a, b, c"),
        ("d", "read from 'd' on"),
        ("a,none", "read from 'none' on"),
        ("a,,b", "read from ',b' on"),
        ("new=", "read from 'new=' on"),
        ("a+b", r"Write NAME=a\+b"),
        ("x=a,x=b", "'x' would be the name of two classes"),
        ("none=a", "'none' would be the name of two classes"),
        ("x=a,y=a", "a is named twice"),
        ("x=a+a", "a is named twice"),
        ("x\ud8ff=a", "is not printable text"),
        ("x\ny=a", "is not printable text"),
        (" =a", "is not printable text"),
        ("x" * 61 + "=a", "of at most 60 characters"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        with_classes(collection(["abc"], None), text)


def test_names_with_signs_are_read_as_names():
    source = collection(["abc"], None)
    odd = Collection(classes=["none", "a+b", "a", "c=d"], multilabel=False, ids=["one"], read=source.read)
    assert with_classes(odd, "x=a+b+a,c=d").classes == ["none", "x", "c=d"]
    assert with_classes(odd, "a+b").facts["classes_from"] == {"a+b": ["a+b"]}


def test_a_network_keeps_its_classes(tmp_path: Path):
    with pytest.raises(UsageError, match="--classes a: is for formats of viewers"):
        export(ExportSettings(run=tmp_path, format="onnx", classes="a"))
