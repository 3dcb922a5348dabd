"""From tiles to scores: a run on tiles is evaluated on tiles, at their own size too, and predicts with its context."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import CheckpointError
from stages.evaluate import run as evaluate
from stages.extract import run as extract
from stages.predict import run as predict
from stages.settings import EvaluateSettings, PredictSettings
from stages.train import run as train
from store import AttentionStore
from tests.conftest import extract_settings, pixels_of, train_settings


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory, memo: Path) -> Path:
    """Return a folder with six slides, their store of tiles at half the resolution with context, and a run."""
    folder = tmp_path_factory.mktemp("slides")
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(6):
        size = (100 + 10 * number, 120)
        mask = np.zeros(size, np.uint8)
        mask[20:70, 30:90] = 255
        pixels = random.integers(0, 120, (*size, 3), dtype=np.uint8) + (mask // 2)[..., None]
        Image.fromarray(pixels).save(folder / "images" / f"s{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"s{number}.png")
    sizes = {"tile": (32, 32), "image_size": (32, 32), "attention_size": (32, 32)}
    extract(extract_settings(folder, folder / "s.zarr", memo, **sizes, resolution="2", overlap=4, context=8))
    train(train_settings(folder / "s.zarr", folder / "run", epochs=2))
    return folder


def test_tiles_are_scored_at_the_size_of_their_region(slides: Path, tmp_path: Path):
    store = AttentionStore.open(slides / "s.zarr")
    assert set(zip(store.column("height"), store.column("width"), strict=True)) == {(64, 64)}
    report = evaluate(
        EvaluateSettings(store=slides / "s.zarr", run=slides / "run", out=tmp_path / "out", masks=slides / "masks")
    )
    assert "at original size" in str(report)


def test_a_run_on_tiles_is_not_scored_on_tiles_of_another_resolution(slides: Path, tmp_path: Path, memo: Path):
    sizes = {"tile": (32, 32), "image_size": (32, 32), "attention_size": (32, 32), "context": 8}
    extract(extract_settings(slides, tmp_path / "s.zarr", memo, **sizes))
    settings = EvaluateSettings(store=tmp_path / "s.zarr", run=slides / "run", out=tmp_path / "out")
    with pytest.raises(
        CheckpointError, match=r"--tile 32x32 --resolution 2, but those of .* --tile 32x32 --resolution 1"
    ):
        evaluate(settings)


def test_the_context_is_part_of_what_a_run_computes_for_new_images(slides: Path, tmp_path: Path, memo: Path):
    """Without its context the maps would be others, or none."""
    images = tmp_path / "new"
    images.mkdir()
    Image.fromarray(pixels_of(slides / "images" / "s0.png")[:64, :64]).save(images / "tile.png")
    predict(PredictSettings(run=slides / "run", images=images, out=tmp_path / "out", memo=memo))
    assert pixels_of(tmp_path / "out" / "tile.png").shape[:2] == (64, 64)
