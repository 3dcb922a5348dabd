"""From images that keep their aspect to predictions and a report without the padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.errors import CheckpointError, UsageError
from stages.evaluate import run as evaluate
from stages.extract import plan
from stages.extract import run as extract
from stages.imaging.classes import ClassMap
from stages.imaging.fitting import Canvas
from stages.imaging.masks import read_mask
from stages.predict import run as predict
from stages.reporting.pictures import Source, case_picture
from stages.segmentation.checkpoint import load_model
from stages.settings import EvaluateSettings, PredictSettings
from stages.train import run as train
from store import AttentionStore
from store.check import verify_store
from store.records import IGNORE
from tests.conftest import extract_settings, train_settings


@pytest.fixture(scope="module")
def padded(phantoms: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the phantoms, 36 x 48, on canvases of 48 x 48; with the whole way's folders beside it."""
    folder = tmp_path_factory.mktemp("padded")
    extract(extract_settings(phantoms, folder / "s.zarr", memo, image_size=(32, 32), fit="pad"))
    train(train_settings(folder / "s.zarr", folder / "run", epochs=1))
    return folder


def test_the_store_holds_canvases_and_records_it(padded: Path):
    """Four rows of 32 above the image are black and ignored, and four below."""
    store = AttentionStore.open(padded / "s.zarr")
    assert store.description.images == {"fit": "pad"}
    assert verify_store(store.path) == []
    for sample in (store[0], store[9]):
        assert (sample.height, sample.width) == (36, 48)
        for rows in (slice(0, 3), slice(29, 32)):
            assert not sample.image[rows].any()
        assert sample.image[4:28].min(axis=2).mean() > 20
        ignored = (sample.mask == IGNORE).all(axis=1)
        assert ignored.tolist() == [True] * 4 + [False] * 24 + [True] * 4


def test_padding_does_not_count_when_images_are_compared(padded: Path, phantom_store: Path):
    """Or all images of one aspect would look alike: the hashes are nearly those of the stretched images."""
    columns = [AttentionStore.open(path).column("perceptual_hash") for path in (padded / "s.zarr", phantom_store)]
    hashes = [[int(str(one), 16) for one in column] for column in columns]
    apart = [(mine ^ other).bit_count() for mine, other in zip(*hashes, strict=True)]
    strangers = [(one ^ other).bit_count() for one, other in zip(hashes[0], hashes[1][1:], strict=False)]
    assert np.mean(apart) < 6
    assert np.mean(strangers) > 16


def test_the_model_records_it_too(padded: Path):
    assert load_model(padded / "run", "cpu")[1].images == {"fit": "pad"}


def test_a_prediction_has_the_size_of_its_image(padded: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """With all further outputs; nothing is computed anew, because the canvases are those of the store."""
    out = tmp_path / "out"
    predict(
        PredictSettings(
            run=padded / "run",
            images=phantoms / "images",
            out=out,
            memo=memo,
            probabilities=True,
            overlay=True,
            contours=True,
            uncertainty=True,
        )
    )
    name = min((phantoms / "images").iterdir()).stem
    assert np.load(out / f"{name}.npy").shape[1:] == (36, 48)
    for ending in (".png", "_uncertainty.png"):
        assert np.asarray(Image.open(out / f"{name}{ending}")).shape == (36, 48)


def test_scores_at_the_original_size_leave_out_the_padding(
    padded: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A prediction that is the truth on the canvas is nearly the truth on the image."""
    from stages.reporting import scoring

    store = AttentionStore.open(padded / "s.zarr")
    seen = []

    def recorded(prediction: np.ndarray, truth: np.ndarray, *given: object, **rules: object) -> object:
        seen.append((prediction.shape, truth))
        return original(prediction, truth, *given, **rules)

    original = scoring.score_sample
    monkeypatch.setattr(scoring, "score_sample", recorded)
    evaluate(EvaluateSettings(store=store.path, run=padded / "run", out=tmp_path / "report", masks=phantoms / "masks"))
    assert seen
    assert {shape for shape, _ in seen} == {(36, 48)}
    masks = [read_mask(path, ClassMap.binary(), (36, 48)) for path in (phantoms / "masks").iterdir()]
    assert all(any((truth == mask).all() for mask in masks) for _, truth in seen)
    assert (tmp_path / "report" / "report.html").is_file()


def test_the_picture_of_a_case_shows_the_canvas(padded: Path):
    """Image, masks and maps share the frame of the canvas, also if the source files are shown."""
    store = AttentionStore.open(padded / "s.zarr")
    sample = store[0]
    stored = case_picture(sample, classes=store.classes, heads=store.heads, aspect=store.size)
    assert (stored.height, stored.width) == (960, 960)
    source = Source(image=np.full((36, 48, 3), 200, np.uint8), mask=np.ones((36, 48), np.uint8))
    shown = case_picture(sample, classes=store.classes, heads=store.heads, aspect=store.size, source=source)
    assert (shown.height, shown.width) == (960, 960)
    assert stored.ignored
    assert shown.ignored
    (shape,) = shown.truth
    assert shape.path
    assert case_picture(sample, classes=store.classes, heads=store.heads).height == 720


def test_square_images_are_the_same_padded_and_stretched(tmp_path: Path, memo: Path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(
        tmp_path / "images" / "a.png"
    )
    for fit in ("pad", "stretch"):
        extract(extract_settings(tmp_path, tmp_path / f"{fit}.zarr", memo, masks=None, fit=fit, image_size=(32, 32)))
    samples = [AttentionStore.open(tmp_path / f"{fit}.zarr")[0] for fit in ("pad", "stretch")]
    np.testing.assert_array_equal(samples[0].image, samples[1].image)
    np.testing.assert_array_equal(samples[0].attention, samples[1].attention)
    assert Canvas.around((40, 40), (32, 32)).size == (40, 40)


def test_a_run_of_stretched_images_is_not_scored_on_padded_ones(
    padded: Path, phantoms: Path, tmp_path: Path, memo: Path
):
    extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, image_size=(32, 32)))
    with pytest.raises(CheckpointError, match=r"--fit pad, but those of .* have --fit stretch"):
        evaluate(EvaluateSettings(store=tmp_path / "s.zarr", run=padded / "run", out=tmp_path / "report"))


def test_tiles_are_not_padded(phantoms: Path, tmp_path: Path, memo: Path):
    with pytest.raises(UsageError, match="not both"):
        extract(extract_settings(phantoms, tmp_path / "s.zarr", memo, fit="pad", tile=(16, 16)))


def test_the_plan_says_that_the_aspect_is_kept(phantoms: Path, tmp_path: Path, memo: Path):
    said = str(plan(extract_settings(phantoms, tmp_path / "s.zarr", memo, fit="pad")))
    assert "images keep their aspect (--fit pad)" in said
    assert "--fit" not in str(plan(extract_settings(phantoms, tmp_path / "s.zarr", memo)))
