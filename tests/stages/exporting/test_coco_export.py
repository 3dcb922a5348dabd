"""COCO files give every mask back bit by bit, with pycocotools and with our own reader."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from stages.export import run as export
from stages.exporting.from_store import from_store
from stages.imaging.annotations.run_lengths import decode_columns, decode_text, encode_columns
from stages.settings import ExportSettings
from store import AttentionStore
from tests.stages.exporting.labelled_stores import make_labelled

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
"""pycocotools 2.0 with NumPy 2."""


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_are_those_of_pycocotools(region: np.ndarray):
    text = encode_columns(region)
    assert text == coco_masks.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(decode_columns(decode_text(text), region.shape), region)


def test_long_runs_have_the_text_of_pycocotools():
    region = np.zeros((700, 900), np.bool_)
    region[100:650, 300:301] = region[5, 600:] = region[::7, 10] = True
    assert encode_columns(region) == coco_masks.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()


@pytest.mark.parametrize("kind", ["classes", "instances", "multilabel"])
def test_pycocotools_reads_the_masks_of_a_store_back(tmp_path: Path, kind: str):
    store = make_labelled(tmp_path / "s.zarr", instances=kind == "instances", multilabel=kind == "multilabel")
    settings = ExportSettings(store=store, format="coco", out=tmp_path / "coco")
    report = export(settings)
    coco = COCO(tmp_path / "coco" / "labels.json")
    assert [(one["id"], one["name"]) for one in coco.loadCats(coco.getCatIds())] == [(1, "cell, round"), (2, "gland")]
    assert any("1 sample without a mask" in note for note in report.notes)
    opened = AttentionStore.open(store)
    collection = from_store(settings, unlabelled=False)
    assert len(coco.getImgIds()) == 2
    for number, item in enumerate(collection, start=1):
        assert coco.loadImgs(number)[0]["file_name"] == f"{opened.ids[number - 1]}.png"
        mask = opened[number - 1].mask
        for category in (1, 2):
            known = mask != 255
            expected = known & ((mask & category > 0) if kind == "multilabel" else mask == category)
            found = coco.loadAnns(coco.getAnnIds(imgIds=number, catIds=category, iscrowd=False))
            union = np.zeros(mask.shape, np.uint8)
            for one in found:
                pixels = coco.annToMask(one)
                union += pixels
                assert one["area"] == pixels.sum() == coco_masks.area(one["segmentation"])
                assert one["bbox"] == coco_masks.toBbox(one["segmentation"]).tolist()
            np.testing.assert_array_equal(union, expected)
            assert item.labels is not None
            assert len(found) == len(np.unique(item.labels.objects(category))) - 1
            crowds = coco.loadAnns(coco.getAnnIds(imgIds=number, catIds=category, iscrowd=True))
            np.testing.assert_array_equal(coco.annToMask(crowds[0]), mask == 255)
    cells = coco.getAnnIds(imgIds=1, catIds=1, iscrowd=False)
    assert len(cells) == (3 if kind == "instances" else 2)


def test_a_new_export_replaces_the_old_one_and_keeps_it_when_a_mask_is_bad(tmp_path: Path):
    settings = ExportSettings(store=make_labelled(tmp_path / "s.zarr"), format="coco", out=tmp_path / "coco")
    export(settings)
    before = (tmp_path / "coco" / "labels.json").read_bytes()
    assert json.loads(before)["annotations"]
    export(settings)
    assert (tmp_path / "coco" / "labels.json").read_bytes() == before
