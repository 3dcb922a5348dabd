"""Prediction: the run's recipe, the image's size, and no files outside the output folder."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.imaging.resizing import resize_probabilities
from stages.predict import run
from stages.prediction import loading
from stages.segmentation.batches import ResidentSamples
from stages.segmentation.checkpoint import load_model
from stages.segmentation.inputs import predict_probabilities
from stages.settings import PredictSettings
from store import AttentionStore

CPU = torch.device("cpu")


def _settings(images: Path, trained: Path, out: Path, memo: Path, **changes: Any) -> PredictSettings:
    return PredictSettings(images=images, run=trained, out=out, memo=memo, batch_size=4, **changes)


def test_masks_equal_the_models_answer_for_the_store(
    phantoms: Path, phantom_store: Path, trained: Path, tmp_path: Path, memo: Path
):
    """Predicting from the files gives the same masks as predicting from the store."""
    run(_settings(phantoms / "images", trained, tmp_path / "out", memo, probabilities=True))
    store = AttentionStore.open(phantom_store)
    model, card = load_model(trained, CPU)
    for index in (0, 7):
        samples = ResidentSamples(store, np.array([index]), CPU)
        (batch,) = samples.batches([np.array([index])])
        probabilities = predict_probabilities(model, batch, card.attention_norm)[0].numpy()
        expected = resize_probabilities(probabilities, (36, 48))
        mask = np.asarray(Image.open(tmp_path / "out" / f"{store.ids[index]}.png"))
        np.testing.assert_array_equal(mask, expected.argmax(axis=0) * 255)
        written = np.load(tmp_path / "out" / f"{store.ids[index]}.npy")
        np.testing.assert_allclose(written, expected, atol=1e-3)
    assert len(list((tmp_path / "out").iterdir())) == 2 * len(store)


def test_every_image_keeps_its_own_size(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """Masks of large, small, narrow and grey images have the size of the image. A single file works like a folder."""
    (tmp_path / "new").mkdir()
    sizes = {"wide": (90, 31), "tall": (20, 77), "tiny": (1, 1), "large": (400, 300)}
    for name, size in sizes.items():
        Image.effect_noise(size, 80).save(tmp_path / "new" / f"{name}.tif")
    run(_settings(tmp_path / "new", trained, tmp_path / "out", memo))
    for name, size in sizes.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as mask:
            assert mask.size == size
            assert set(np.unique(np.asarray(mask))) <= {0, 255}
    run(_settings(phantoms / "images" / "phantom_0000.png", trained, tmp_path / "one", memo))
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["phantom_0000.png"]


def test_predicting_into_the_folder_of_the_images_is_refused(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """The images' own folder, or one inside it, is refused before anything is written."""
    shutil.copytree(phantoms / "images", tmp_path / "images")
    before = {file.name: file.read_bytes() for file in (tmp_path / "images").iterdir()}
    for out in (tmp_path / "images", tmp_path / "images" / "predicted"):
        with pytest.raises(UsageError, match="folder of the images"):
            run(_settings(tmp_path / "images", trained, out, memo))
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "images").iterdir()}


def test_masks_drawn_by_hand_are_never_overwritten_but_ours_are(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path
):
    """A folder with a mask that `predict` did not write is refused. Masks written by `predict` may be replaced."""
    (tmp_path / "out").mkdir()
    Image.new("L", (48, 36)).save(tmp_path / "out" / "phantom_0003.png")
    with pytest.raises(UsageError, match="not written by"):
        run(_settings(phantoms / "images", trained, tmp_path / "out", memo))
    assert len(list((tmp_path / "out").iterdir())) == 1
    (tmp_path / "out" / "phantom_0003.png").unlink()
    for _ in range(2):
        run(_settings(phantoms / "images", trained, tmp_path / "out", memo))
    assert len(list((tmp_path / "out").iterdir())) == 16


def test_predictions_do_not_go_into_a_store_or_a_run(phantoms: Path, phantom_store: Path, trained: Path, memo: Path):
    """Both are replaced as a whole, so other files in them would be lost."""
    for out in (phantom_store, phantom_store / "image", trained):
        with pytest.raises(UsageError, match=r"is a (store|run) |, which is a (store|run) and"):
            run(_settings(phantoms / "images", trained, out, memo))


def test_broken_images_are_named_or_skipped(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """One message names all of them. With `skip` the other images get their masks."""
    shutil.copytree(phantoms / "images", tmp_path / "images")
    for name in ("phantom_0001.png", "phantom_0009.png"):
        (tmp_path / "images" / name).write_bytes(b"broken")
    with pytest.raises(InputProblemsError, match=r"phantom_0001[\s\S]*phantom_0009"):
        run(_settings(tmp_path / "images", trained, tmp_path / "out", memo))
    report = run(_settings(tmp_path / "images", trained, tmp_path / "out", memo, on_error="skip"))
    assert report.images == 14
    assert len(report.skipped) == 2
    assert not (tmp_path / "out" / "phantom_0001.png").exists()


def test_a_weights_file_for_a_model_without_one_is_refused(trained: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """The run's transformer has fixed random weights, so a file can only be a mistake."""
    torch.save({"pos_embed": torch.zeros(1, 2, 3)}, tmp_path / "other.pth")
    with pytest.raises(UsageError, match=r"takes no weights file .*other\.pth"):
        run(_settings(phantoms / "images", trained, tmp_path / "out", memo, weights=tmp_path / "other.pth"))
    assert not (tmp_path / "out").exists()


def test_a_run_of_a_newer_version_is_refused_by_name(
    trained: Path, phantoms: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its recipe has a key that changes the maps. The error names the run and the key, and says to update."""
    model, card = load_model(trained, CPU)
    newer = dataclasses.replace(card, recipe={**card.recipe, "smoothing": 0.5})
    monkeypatch.setattr(loading, "load_model", lambda *_: (model, newer))
    with pytest.raises(CheckpointError, match=r"smoothing, which this version does not know.*Update") as caught:
        run(_settings(phantoms / "images", trained, tmp_path / "out", memo))
    assert str(caught.value).startswith(f"{trained}: ")
    assert not (tmp_path / "out").exists()
