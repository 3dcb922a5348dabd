"""A store records the rules of its images and the licence of the weights only where they are stated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from store import AttentionStore, StoreCorruptError
from store.upgrade import layout_of
from store.writer import Layout
from tests.store.optional_samples import sample_of, write


def test_the_rules_of_images_are_recorded_only_where_there_are_any(layout: Layout, tmp_path: Path):
    """They come back as written, also from an upgraded store; other stores have no such key."""
    rules = {"window": "percentiles", "tile": {"size": [8, 8]}}
    for name, images in (("plain", None), ("ruled", rules)):
        changed = replace(layout, images=images)
        store = AttentionStore.open(write(tmp_path / f"{name}.zarr", changed, [sample_of(0, layout)]))
        assert store.description.images == images
        assert store.description.to_dict().get("images") == images
        assert ("images" in store.description.to_dict()) == (images is not None)
        assert layout_of(store).images == images


def test_rules_of_images_that_are_no_object_are_refused(layout: Layout, tmp_path: Path):
    path = write(tmp_path / "s.zarr", replace(layout, images={"window": "file"}), [sample_of(0, layout)])
    group = json.loads((path / "zarr.json").read_text())
    group["attributes"]["attention_store"]["images"] = ["file"]
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(StoreCorruptError, match="`images`"):
        AttentionStore.open(path)


def test_the_licence_of_the_weights_is_recorded_only_if_it_is_stated(layout: Layout, tmp_path: Path):
    """It comes back as written, also from an upgraded store; other stores have no such key."""
    for name, licence in (("plain", ""), ("stated", "CC0-1.0")):
        changed = replace(layout, weights_licence=licence)
        store = AttentionStore.open(write(tmp_path / f"{name}.zarr", changed, [sample_of(0, layout)]))
        assert store.description.weights_licence == licence
        assert ("weights_licence" in store.description.to_dict()) == bool(licence)
        assert layout_of(store).weights_licence == licence


@pytest.mark.parametrize("licence", [7, "x" * 1001], ids=["number", "too_long"])
def test_a_licence_of_another_kind_is_refused(layout: Layout, tmp_path: Path, licence: object):
    path = write(tmp_path / "s.zarr", replace(layout, weights_licence="CC0-1.0"), [sample_of(0, layout)])
    group = json.loads((path / "zarr.json").read_text())
    group["attributes"]["attention_store"]["weights_licence"] = licence
    (path / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(StoreCorruptError, match="`weights_licence`"):
        AttentionStore.open(path)
