"""OME-Zarr exports are valid, and hold image, labels, names and the size of a pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
import zarr

from stages.export import run as export
from stages.exporting.labelled import Collection, Item, Labels
from stages.exporting.ome_zarr import write
from stages.runtime.progress import SILENT
from stages.settings import ExportSettings
from store import AttentionStore
from tests.stages.exporting.labelled_stores import make_labelled


def test_a_container_is_valid_and_holds_image_and_labels(tmp_path: Path):
    store = make_labelled(tmp_path / "s.zarr", instances=True, pixel_mm="0.5 0.25")
    export(ExportSettings(store=store, format="ome-zarr", out=tmp_path / "out"))
    opened = AttentionStore.open(store)
    for sample in opened:
        path = tmp_path / "out" / f"{sample.id}.ome.zarr"
        group = zarr.open_group(path, mode="r")
        image = ome_zarr_models.open_ome_zarr(group, version="0.5")
        multiscale = image.attributes.ome.multiscales[0]
        assert [axis.name for axis in multiscale.axes] == ["c", "y", "x"]
        assert [axis.unit for axis in multiscale.axes] == [None, "millimeter", "millimeter"]
        # 40 x 84 pixels of the file are 20 x 28 of the store
        assert multiscale.datasets[0].coordinateTransformations[0].scale == [1, 1.0, 0.75]
        np.testing.assert_array_equal(group["0"][...], sample.image.transpose(2, 0, 1))
        if not sample.labelled:
            assert "labels" not in group
            continue
        assert image.labels is not None
        assert image.labels.attributes.ome.labels == ["classes", "objects"]
        np.testing.assert_array_equal(group["labels/classes/0"][...], sample.mask)
        np.testing.assert_array_equal(group["labels/objects/0"][...], sample.instances)
        label = ome_zarr_models.open_ome_zarr(group["labels/classes"], version="0.5").attributes.ome.image_label
        assert [(one.label_value, one.model_dump()["class"]) for one in label.properties] == [
            (1, "cell, round"),
            (2, "gland"),
        ]
        assert [one.label_value for one in label.colors] == [1, 2]
        assert all(one.rgba is not None and one.rgba[3] == 255 for one in label.colors)


def test_labels_that_overlap_have_one_label_image_each(tmp_path: Path):
    store = make_labelled(tmp_path / "s.zarr", multilabel=True)
    export(ExportSettings(store=store, format="ome-zarr", out=tmp_path / "out"))
    sample = AttentionStore.open(store)[0]
    group = zarr.open_group(tmp_path / "out" / f"{sample.id}.ome.zarr", mode="r")
    known = sample.mask != 255
    np.testing.assert_array_equal(group["labels/cell_round/0"][...] > 0, known & (sample.mask & 1 > 0))
    np.testing.assert_array_equal(group["labels/gland/0"][...], np.where(known & (sample.mask & 2 > 0), 2, 0))


@pytest.mark.parametrize("size", [(600, 1), (513, 1025), (300, 256)])
def test_smaller_sizes_lie_where_the_full_size_lies(tmp_path: Path, size: tuple[int, int]):
    """Every size is half the one before, rounded up; a flat image stays flat; labels get no new values."""
    region = np.zeros(size, np.bool_)
    region[::3] = True
    item = Item("big", np.full((*size, 3), 77, np.uint8), Labels({1: region}, np.zeros(size, np.bool_)), None)
    collection = Collection(classes=["background", "one"], multilabel=False, ids=["big"], read=lambda _: item)
    write(collection, tmp_path / "out", SILENT)
    group = zarr.open_group(tmp_path / "out" / "big.ome.zarr", mode="r")
    image = ome_zarr_models.open_ome_zarr(group, version="0.5")
    datasets = image.attributes.ome.multiscales[0].datasets
    assert len(datasets) > 1
    for level, dataset in enumerate(datasets):
        factor = 1 << level
        array = group[dataset.path]
        assert array.shape == (3, -(-size[0] // factor), -(-size[1] // factor))
        assert (array[...] == 77).all()
        scale = dataset.coordinateTransformations[0].scale
        assert scale == [1, factor, factor]
        if level:
            assert dataset.coordinateTransformations[1].translation == [0, (factor - 1) / 2, (factor - 1) / 2]
        np.testing.assert_array_equal(group["labels/classes"][str(level)][...], region[::factor, ::factor])
    assert max(group[datasets[-1].path].shape[1:]) <= 256
