"""From images of more than 8 bits to predictions: one rule, recorded, named and used again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import UsageError
from stages.extract import plan
from stages.extract import run as extract
from stages.imaging.decoding import read_image
from stages.imaging.image_rules import ImageRules
from stages.imaging.intensities import IntensityRule
from stages.imaging.resizing import resize_image
from stages.predict import run as predict
from stages.pretrain import run as pretrain
from stages.runtime.progress import Progress
from stages.segmentation.checkpoint import load_model
from stages.settings import PredictSettings, PretrainSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import extract_settings, train_settings

PERCENTILES = IntensityRule(name="percentiles")
CONVERSION = "values: 16-bit images, shown from the 0.5th to the 99.5th percentile of each file (--window)"


@dataclass
class Listening(Progress):
    """Keep the lines that are said before the work begins."""

    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)


@pytest.fixture
def scans(phantoms: Path, tmp_path: Path) -> Path:
    """Return a folder with eight phantoms in grey of 16 bits, each with one hot pixel, and their masks."""
    (tmp_path / "scans" / "images").mkdir(parents=True)
    shutil.copytree(phantoms / "masks", tmp_path / "scans" / "masks")
    for path in sorted((phantoms / "images").iterdir())[:8]:
        values = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 12
        values[0, 0] = 60000
        Image.fromarray(values).save(tmp_path / "scans" / "images" / path.name)
    for path in sorted((phantoms / "masks").iterdir())[8:]:
        (tmp_path / "scans" / "masks" / path.name).unlink()
    return tmp_path / "scans"


def test_deep_pictures_are_shown_by_percentiles_and_the_store_records_it(scans: Path, tmp_path: Path, memo: Path):
    said = Listening()
    report = extract(extract_settings(scans, tmp_path / "s.zarr", memo), said)
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.description.images == {"window": "percentiles"}
    assert CONVERSION in said.lines
    assert CONVERSION in str(report).splitlines()
    for sample in (store[0], store[7]):
        image = read_image(scans / "images" / f"{sample.id}.png", rule=PERCENTILES).pixels
        np.testing.assert_array_equal(sample.image, resize_image(image, (32, 40)))
        assert sample.image.max() > 200  # scaled to the hot pixel, 13


@pytest.mark.parametrize(
    ("window", "recorded"),
    [("minmax", None), ("0:4095", {"window": "0:4095"}), ("percentiles:2:98", {"window": "percentiles:2:98"})],
)
def test_the_user_chooses_another_rule(
    window: str, recorded: dict[str, str] | None, scans: Path, tmp_path: Path, memo: Path
):
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, window=window))
    store = AttentionStore.open(tmp_path / "s.zarr")
    assert store.description.images == recorded
    image = read_image(scans / "images" / f"{store[1].id}.png", rule=IntensityRule.parse(window)).pixels
    np.testing.assert_array_equal(store[1].image, resize_image(image, (32, 40)))


def test_maps_of_another_rule_are_computed_anew(scans: Path, tmp_path: Path):
    """The memo has those of the same files by another rule, and they are used for that rule only."""
    memo = tmp_path / "memo"
    computed = [
        extract(extract_settings(scans, tmp_path / f"{at}.zarr", memo, window=window)).computed
        for at, window in enumerate(["minmax", "auto", "percentiles", "minmax"])
    ]
    assert computed == [8, 8, 0, 0]
    maps = [AttentionStore.open(tmp_path / f"{at}.zarr")[0].attention for at in range(4)]
    assert (maps[0] != maps[1]).any()
    np.testing.assert_array_equal(maps[0], maps[3])


def test_images_of_8_bits_record_nothing(phantoms: Path, phantom_store: Path, tmp_path: Path, memo: Path):
    """Whatever the rule, the store has the same bytes, and the user reads that the rule has no effect."""
    report = extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, window="0:100"))
    assert "--window 0:100 has no effect: all images have 8 bits" in str(report)
    files = [path.relative_to(phantom_store) for path in phantom_store.rglob("*") if path.is_file()]
    assert all((tmp_path / "s.zarr" / file).read_bytes() == (phantom_store / file).read_bytes() for file in files)


@pytest.mark.parametrize("window", ["bright", "200:100"])
def test_a_rule_that_is_none_is_refused_before_anything_is_read(window: str, tmp_path: Path, memo: Path):
    with pytest.raises(UsageError, match=f"--window {window}"):
        extract(extract_settings(tmp_path / "no such folder", tmp_path / "s.zarr", memo, window=window))


def test_a_mixture_is_named_before_anything_is_computed(scans: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """Depths and channels differ: two warnings, and the extraction goes on."""
    for name in ("images", "masks"):
        path = max((phantoms / name).iterdir())
        shutil.copy(path, scans / name)
    said = Listening()
    settings = extract_settings(scans, tmp_path / "s.zarr", memo)
    report = extract(settings, said)
    values, channels = said.lines[1:]
    first = min((scans / "images").iterdir()).stem
    assert values.startswith(f"note: mixed values: 16-bit (8 images, such as {first}), 8-bit (1 image, such as ")
    assert channels.startswith(f"note: mixed channels: grey (8 images, such as {first}), colour (1 image, such as ")
    assert report.samples == 9
    planned = " ".join(str(plan(settings)).split())
    assert " values 8 of 9 images (16-bit), shown from the 0.5th" in planned
    assert " note mixed values: 16-bit" in planned


def test_a_run_predicts_by_the_rule_of_its_store(scans: Path, tmp_path: Path, memo: Path):
    """Also in the overlay, which reads the image again."""
    extract(extract_settings(scans, tmp_path / "s.zarr", memo, window="0:3060"))
    train(train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1))
    _, card = load_model(tmp_path / "run", "cpu")
    assert ImageRules.from_dict(card.images).window == IntensityRule.parse("0:3060")
    said = Listening()
    settings = PredictSettings(
        run=tmp_path / "run", images=scans / "images", out=tmp_path / "out", memo=tmp_path / "new", overlay=True
    )
    report = predict(settings, said)
    line = "values: 16-bit images, shown from 0 to 3060 (the rule of the run)"
    assert line in said.lines
    assert line in str(report).splitlines()
    name = min((scans / "images").iterdir()).stem
    overlay = np.asarray(Image.open(tmp_path / "out" / f"{name}_overlay.png").convert("L"))
    assert np.median(overlay[len(overlay) // 2 :]) > 40  # scaled to the hot pixel, at most 13


def test_the_planes_of_a_file_are_one_group_in_the_plan_too(tmp_path: Path, memo: Path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "images" / f"{name}.npy", np.random.default_rng(0).integers(0, 4096, (3, 20, 30)))
    settings = extract_settings(tmp_path, tmp_path / "s.zarr", memo, masks=None)
    extract(settings)
    assert list(AttentionStore.open(tmp_path / "s.zarr").column("group")) == ["a", "a", "a", "b", "b", "b"]
    assert "2; the largest is 'a' with 3 images" in str(plan(settings))


def test_pretraining_takes_the_rule_and_keeps_it(scans: Path, tmp_path: Path):
    settings = {
        "images": scans / "images",
        "arch": "vit_tiny_patch8",
        "image_size": 32,
        "global_crop": 32,
        "local_crop": 16,
        "batch_size": 4,
        "steps": 1,
        "watch_every": 1,
        "prototypes": 8,
        "head_width": 8,
    }
    said = Listening()
    report = pretrain(PretrainSettings(out=tmp_path / "a.safetensors", **settings), said)
    assert CONVERSION in said.lines
    assert report.card.settings["window"] == "percentiles"
    report = pretrain(PretrainSettings(out=tmp_path / "b.safetensors", window="0:4000", **settings))
    assert report.card.settings["window"] == "0:4000"
