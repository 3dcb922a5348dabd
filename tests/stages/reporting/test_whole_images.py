"""Whole images of a store of tiles are scored from their blended tiles; no transformer runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.evaluate import run as evaluate
from stages.extract import run as extract
from stages.predict import run as predict
from stages.reporting import whole_images
from stages.settings import EvaluateSettings, ExtractSettings, PredictSettings
from tests.conftest import extract_settings, pixels_of, train_settings
from tests.slide_runs import make_run


@pytest.fixture(scope="session")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, masks, store and run of tiles at half the resolution. Tests must not change it."""
    folder = tmp_path_factory.mktemp("tiled")
    make_run(folder, reduction=2)
    return folder


def scored(tiled: Path, out: Path, **changes: Any) -> tuple[list[dict[str, str]], dict[str, Any], str]:
    """Return the rows of `per_image.csv`, the entry `images` of `scores.json`, and the output."""
    values: dict[str, Any] = {"store": tiled / "store.zarr", "run": tiled / "run", "out": out, "overlays": 0}
    report = evaluate(EvaluateSettings(**{**values, **changes}))
    rows = list(csv.DictReader((out / "per_image.csv").read_text(encoding="utf-8").splitlines()))
    return rows, json.loads((out / "scores.json").read_text())["images"], str(report)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_an_image_has_the_scores_of_its_whole_prediction(tiled: Path, tmp_path: Path):
    """The tiles of the store, blended, give the mask that `predict` writes for the image."""
    rows, summary, text = scored(tiled, tmp_path / "report", masks=tiled / "masks")
    (row,) = rows
    predict(
        PredictSettings(
            images=tiled / "images" / f"{row['id']}.png", run=tiled / "run", out=tmp_path / "out", memo=tiled / "memo"
        )
    )
    found = pixels_of(tmp_path / "out" / f"{row['id']}.png") > 0
    truth = pixels_of(tiled / "masks" / f"{row['id']}.png") > 0
    assert row["at"] == "original"
    assert int(row["tiles"]) == 9
    # `predict` stretches the probabilities of a small image, so single pixels on the outline differ.
    assert float(row["dice"]) == pytest.approx(dice(found, truth), abs=0.01)
    assert float(row["dice"]) > 0.9
    assert summary["dice"]["mean"] == pytest.approx(float(row["dice"]), rel=1e-5)
    assert "whole images, at full resolution: Dice" in text
    assert row["hd95"]


def test_counts_of_a_large_image_equal_those_of_a_small_one(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Band by band and at once give the same overlap; a large image has no distances, and the output says so."""
    small, _, _ = scored(tiled, tmp_path / "small", masks=tiled / "masks", split="all", include_training=True)
    monkeypatch.setattr(whole_images, "MOST_WITH_DISTANCES", 100)
    monkeypatch.setattr(whole_images, "ROWS_OF_PIXELS", 5000)
    large, summary, text = scored(tiled, tmp_path / "large", masks=tiled / "masks", split="all", include_training=True)
    assert len(small) == len(large) == 4
    for one, other in zip(small, large, strict=True):
        for name in ("id", "group", "dice", "iou", "sensitivity", "specificity"):
            assert one[name] == other[name], name
        assert one["hd95"] != ""
        assert other["hd95"] == ""
    assert summary["without_distances"] == 4
    assert "HD95 and NSD are left out for 4 images" in text


def test_without_source_masks_the_stored_masks_are_the_truth(tiled: Path, tmp_path: Path):
    (row,), summary, _ = scored(tiled, tmp_path / "report")
    assert summary["at"] == row["at"] == "tiles"
    (original,), _, _ = scored(tiled, tmp_path / "original", masks=tiled / "masks")
    assert float(row["dice"]) == pytest.approx(float(original["dice"]), abs=0.03)


def test_the_stored_masks_of_tiles_make_the_mask_of_the_image(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    truths = []
    original = whole_images._Counter.add

    def spy(self: Any, prediction: np.ndarray, truth: np.ndarray) -> None:
        truths.append(truth)
        original(self, prediction, truth)

    monkeypatch.setattr(whole_images._Counter, "add", spy)
    (row,), _, _ = scored(tiled, tmp_path / "report")
    mask = pixels_of(tiled / "masks" / f"{row['id']}.png") > 0
    whole = np.concatenate(truths)
    assert whole.shape == (160, 160)
    share = mask.reshape(160, 2, 160, 2).mean(axis=(1, 3))
    certain = (share == 0) | (share == 1)
    np.testing.assert_array_equal(whole[certain], share[certain])


def test_beyond_an_image_that_is_smaller_than_a_tile_nothing_is_counted(
    tiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Outlines do not say how large their image is, and the network may find anything in the black beyond it."""
    for name in ("images", "outlines"):
        (tmp_path / name).mkdir()
    random = np.random.default_rng(0)
    for name, size in {"large": (160, 160), "small": (70, 90), "low": (70, 200)}.items():
        picture = random.integers(0, 255, (*size, 3)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "images" / f"{name}.png")
        ring = [[10, 10], [40, 10], [40, 50], [10, 50], [10, 10]]
        feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        text = json.dumps({"type": "FeatureCollection", "features": [feature]})
        (tmp_path / "outlines" / f"{name}.geojson").write_text(text)
    extract(
        ExtractSettings(
            images=tmp_path / "images",
            masks=tmp_path / "outlines",
            store=tmp_path / "store.zarr",
            memo=tmp_path / "memo",
            model="untrained_tiny8",
            tile=(64, 64),
            overlap=16,
            resolution="2",
            image_size=(64, 64),
            attention_size=(32, 32),
            layers=(-1,),
        )
    )
    seen: dict[str, set[int]] = {}
    counted = dict.fromkeys(("large", "low", "small"), 0)
    original, names = whole_images._Counter.add, iter(counted)

    def spy(self: Any, prediction: np.ndarray, truth: np.ndarray) -> None:
        self.name = getattr(self, "name", None) or next(names)
        counted[self.name] += int((truth != 255).sum())
        seen.setdefault(self.name, set()).add(prediction.shape[1])
        original(self, prediction, truth)

    monkeypatch.setattr(whole_images._Counter, "add", spy)
    scored(tiled, tmp_path / "report", store=tmp_path / "store.zarr", masks=tmp_path / "outlines", split="all")
    assert counted == {"large": 160 * 160, "low": 70 * 200, "small": 70 * 90}
    assert seen == {"large": {160}, "low": {200}, "small": {90}}


def test_a_store_of_whole_images_has_no_such_table(phantoms: Path, memo: Path, tmp_path: Path):
    from stages.train import run as train

    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo))
    train(train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1))
    evaluate(EvaluateSettings(store=tmp_path / "s.zarr", run=tmp_path / "run", out=tmp_path / "report", overlays=0))
    assert not (tmp_path / "report" / "per_image.csv").exists()
    assert "images" not in json.loads((tmp_path / "report" / "scores.json").read_text())
