"""Arrays are predicted like files, warm, from many threads, and without writing anything."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.extract import run as extract
from stages.predict import run as predict
from stages.prediction.predictor import Predictor
from stages.settings import PredictSettings, TrainSettings
from stages.train import run as train
from tests.conftest import extract_settings, pixels_of, train_settings

SIZES = ((36, 48), (1, 1), (90, 31), (20, 77), (150, 200))


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that predicts both classes. Tests must not change it."""
    out = tmp_path_factory.mktemp("learnt") / "run"
    train(learning(phantom_store, out))
    return out


def learning(store: Path, out: Path) -> TrainSettings:
    """Return the settings of a short training after which both classes are predicted."""
    return train_settings(store, out, epochs=None, steps=20, lr=0.01, augment="none")


def pictures(dtype: type = np.uint8, shape: tuple[int, ...] = ()) -> list[NDArray[Any]]:
    """Return images of several sizes with random values and a bright square."""
    random = np.random.default_rng(1)
    made = []
    for size in SIZES:
        values = random.integers(0, 120, (*size, *shape))
        values[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] += 120
        made.append((values * (1 if dtype is np.uint8 else 200)).astype(dtype))
    return made


def masks_of_files(images: list[NDArray[Any]], run: Path, folder: Path, **options: Any) -> list[dict[str, Any]]:
    """Write images as PNG, predict them by the command, and return the files of each by the end of its name."""
    (folder / "new").mkdir(parents=True)
    for at, image in enumerate(images):
        Image.fromarray(image).save(folder / "new" / f"i{at}.png")
    predict(PredictSettings(images=folder / "new", run=run, out=folder / "out", memo=folder / "memo", **options))
    return [
        {
            path.stem.removeprefix(f"i{at}") + path.suffix: np.load(path) if path.suffix == ".npy" else pixels_of(path)
            for path in (folder / "out").glob(f"i{at}[_.]*")
        }
        for at in range(len(images))
    ]


@pytest.mark.parametrize(("dtype", "shape"), [(np.uint8, (3,)), (np.uint8, (4,)), (np.uint8, ()), (np.uint16, ())])
def test_labels_and_probabilities_are_those_of_the_files(
    dtype: type, shape: tuple[int, ...], trained: Path, tmp_path: Path
):
    """Colour, alpha, grey and 16 bits, of any size: the same mask, pixel by pixel, as `predict` writes for the PNG."""
    images = pictures(dtype, shape)
    files = masks_of_files(images, trained, tmp_path, probabilities=True, uncertainty=True, instances="watershed")
    predictor = Predictor.load(trained, device="cpu")
    with pytest.warns(UserWarning, match="8 bits") if dtype is np.uint16 else pytest.MonkeyPatch.context():
        results = predictor.batch(images)
    assert predictor.classes == results[0].classes == ("background", "foreground")
    seen = set()
    for image, one, written in zip(images, results, files, strict=True):
        assert one.size == one.labels.shape == image.shape[:2]
        np.testing.assert_array_equal(one.labels * 255, written[".png"])
        assert one.labels.dtype == np.uint8
        np.testing.assert_allclose(one.probabilities, written[".npy"], atol=1e-3)
        np.testing.assert_array_equal(one.probabilities[1], one.probability(one.classes[1]))
        np.testing.assert_array_equal(one.uncertainty(), written["_uncertainty.png"])
        np.testing.assert_array_equal(one.instances(method="watershed"), written["_instances.png"])
        np.testing.assert_array_equal(one.region(one.classes[1]), written[".png"] == 255)
        seen |= set(np.unique(one.labels))
    assert seen == {0, 1}, "a mask of one class everywhere would prove nothing"


@pytest.mark.parametrize("changes", [{"fit": "pad"}, {"channels": "1"}, {"window": "0:30000"}, {"window": "auto"}])
def test_rules_of_the_images_are_followed(changes: dict[str, Any], phantoms: Path, tmp_path: Path, memo: Path):
    """Padding, channels and the window of the run hold for arrays too, also where the image has 16 bits."""
    images = phantoms / "images"
    if "window" in changes:
        images = tmp_path / "deep"
        images.mkdir()
        for path in (phantoms / "images").iterdir():
            Image.fromarray(pixels_of(path)[..., 0].astype(np.uint16) * 150).save(images / path.name)
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    extract(extract_settings(phantoms, store, memo, **{"images": images, **changes}))
    train(learning(store, run))
    made = pictures(np.uint16) if "window" in changes else pictures(np.uint8, (3,))
    files = masks_of_files(made, run, tmp_path)
    results = Predictor.load(run, device="cpu").batch(made)
    for one, written in zip(results, files, strict=True):
        np.testing.assert_array_equal(one.labels * 255, written[".png"])


@pytest.mark.parametrize("context", [0, 8])
def test_a_run_on_tiles_predicts_whole_images(
    context: int, phantoms: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
):
    """Small images go through windows in memory; large ones have the labels of the TIFF and no probabilities."""
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    sizes = {"tile": (24, 24), "image_size": (24, 24), "attention_size": (24, 24)}
    extract(extract_settings(phantoms, store, memo, **sizes, context=context, resolution="1.5"))
    train(learning(store, run))
    images = pictures(np.uint8, (3,))
    files = masks_of_files(images, run, tmp_path)
    predictor = Predictor.load(run, device="cpu")
    for image, written in zip(images, files, strict=True):
        one = predictor(image)
        np.testing.assert_array_equal(one.labels * 255, written[".png"])
        assert one.probabilities.shape == (2, *image.shape[:2])
    monkeypatch.setattr("stages.prediction.large.driver.MOST_PIXELS", 1000)
    (large,) = masks_of_files(images[-1:], run, tmp_path / "large")
    one = predictor(images[-1])
    np.testing.assert_array_equal(one.labels * 255, large[".tif"])
    with pytest.raises(UsageError, match=r"150 x 200 .* too large for probabilities"):
        _ = one.probabilities


def test_tiles_in_micrometres_need_the_size_of_a_pixel(phantoms: Path, tmp_path: Path, memo: Path):
    table = tmp_path / "t.csv"
    rows = [
        f"{path.stem},{path},{next((phantoms / 'masks').glob(f'{path.stem}*'))},0.001"
        for path in sorted((phantoms / "images").iterdir())
    ]
    table.write_text("\n".join(["id,image,mask,pixel_mm", *rows]))
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    sizes = {"tile": (24, 24), "image_size": (24, 24), "attention_size": (24, 24), "resolution": "1.2um"}
    extract(extract_settings(phantoms, store, memo, **sizes, csv=table, masks=None))
    train(learning(store, run))
    predictor, image = Predictor.load(run, device="cpu"), pictures(np.uint8, (3,))[0]
    with pytest.raises(UsageError, match=r"(?s)image: .* pixel_mm="):
        predictor(image)
    with pytest.raises(InputProblemsError, match="larger than --resolution"):
        predictor(image, pixel_mm=0.1)
    with pytest.raises(UsageError, match="pixel_mm is -1"):
        predictor(image, pixel_mm=-1)
    (written,) = masks_of_files([image], run, tmp_path, pixel_mm=0.001)
    np.testing.assert_array_equal(predictor(image, pixel_mm=0.001).labels * 255, written[".png"])


def test_labels_that_overlap_are_bits_and_each_has_its_region(phantoms: Path, tmp_path: Path, memo: Path):
    (tmp_path / "masks").mkdir()
    for path in (phantoms / "masks").iterdir():
        mask, name = pixels_of(path), path.stem.removesuffix("_segmentation")
        half = mask * (np.arange(mask.shape[1]) < mask.shape[1] // 2)
        for label, values in (("all", mask), ("half", half)):
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / "masks" / f"{name}_{label}.png")
    store, run = tmp_path / "s.zarr", tmp_path / "run"
    extract(
        extract_settings(
            phantoms, store, memo, masks=tmp_path / "masks", labels="multilabel", mask_pattern="{id}_{label}.png"
        )
    )
    train(learning(store, run))
    image = pictures(np.uint8, (3,))[4]
    (written,) = masks_of_files([image], run, tmp_path, instances="components")
    one = Predictor.load(run, device="cpu")(image)
    assert one.multilabel
    for name in one.classes[1:]:
        np.testing.assert_array_equal(one.region(name), written[f"_{name}.png"] == 255)
        np.testing.assert_array_equal(one.instances(name), written[f"_{name}_instances.png"])
    with pytest.raises(UsageError, match="Name one: "):
        one.instances()


def test_threads_and_batches_give_the_bits_of_single_calls_and_nothing_is_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Eight threads at once, a batch, and one call after the other: the same bits. The folder stays empty."""
    monkeypatch.chdir(tmp_path)
    images = pictures(np.uint8, (3,)) * 5
    predictor = Predictor.load(trained, device="cpu", batch_size=4)
    alone = [predictor(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda image: predictor(image).probabilities, images))
    for one, other, together in zip(alone, threaded, predictor.batch(images), strict=True):
        assert one.probabilities.tobytes() == other.tobytes() == together.probabilities.tobytes()
    assert not list(tmp_path.iterdir())


def test_the_memo_is_used_from_every_thread(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Maps are computed once; later calls, also of another thread, take them from the memo and give the same result."""
    image = pictures(np.uint8, (3,))[0]
    predictor = Predictor.load(trained, device="cpu", memo=tmp_path / "memo")
    first = predictor(image)
    assert list((tmp_path / "memo").iterdir())
    monkeypatch.setattr(predictor._extractor, "extract", None)  # would fail
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(predictor, image).result()
    assert first.probabilities.tobytes() == again.probabilities.tobytes()
    np.testing.assert_array_equal(Predictor.load(trained, device="cpu")(image).labels, first.labels)


def test_flips_are_those_of_the_command(trained: Path, tmp_path: Path):
    images = pictures(np.uint8, (3,))
    files = masks_of_files(images, trained, tmp_path, flips=True)
    for one, written in zip(Predictor.load(trained, device="cpu", flips=True).batch(images), files, strict=True):
        np.testing.assert_array_equal(one.labels * 255, written[".png"])


@pytest.fixture(scope="module")
def warm(trained: Path) -> Predictor:
    return Predictor.load(trained, device="cpu")


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "list": ([[1, 2], [3, 4]], UsageError, "builtins.list, and a NumPy array"),
    "picture": (Image.new("RGB", (4, 4)), UsageError, "PIL.Image.Image"),
    "one axis": (np.zeros(5, np.uint8), UsageError, r"shape \(5,\)"),
    "four channels in float": (np.zeros((5, 5, 4), np.float32), UsageError, "alpha"),
    "two channels": (np.zeros((5, 5, 2), np.uint8), UsageError, "Choose one channel"),
    "five channels": (np.zeros((5, 5, 5), np.uint8), UsageError, r"shape \(5, 5, 5\)"),
    "masked": (np.ma.masked_greater(np.eye(5, dtype=np.uint8), 0), UsageError, r"masked array.*filled\(0\)"),
    "channels first": (np.zeros((3, 5, 5), np.uint8), UsageError, "moveaxis"),
    "one channel": (np.zeros((5, 5, 1), np.uint8), UsageError, "last axis"),
    "a batch": (np.zeros((2, 5, 5, 3), np.uint8), UsageError, "`batch`"),
    "no pixels": (np.zeros((0, 5, 3), np.uint8), UsageError, "no pixel"),
    "complex": (np.zeros((5, 5), complex), UsageError, "complex128"),
    "text": (np.full((5, 5), "a"), UsageError, "<U1"),
    "objects": (np.full((5, 5), None), UsageError, "object"),
    "dates": (np.zeros((5, 5), "datetime64[s]"), UsageError, "datetime64"),
    "nan": (np.full((5, 5), np.nan), InputProblemsError, "25 of 25 pixels are NaN"),
    "infinity": (np.array([[1, np.inf]]), InputProblemsError, "1 of 2 pixels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arrays_that_are_no_images_are_refused(case: str, warm: Predictor):
    """The message names the image; alone and in a batch. The predictor works on."""
    value, error, message = WRONG[case]
    sound = pictures()[0]
    with pytest.raises(error, match=f"(?s)^(1 problem.*)?image: .*{message}"):
        warm(value)
    with pytest.raises(error, match=f"(?s)image 1: .*{message}"):
        warm.batch([sound, value])
    assert warm(sound).labels.shape == sound.shape


def test_a_predictor_names_the_licence_of_the_weights(warm: Predictor):
    """It is that which `predict` prints."""
    assert warm.licence == "none needed"


def test_one_image_is_no_batch(warm: Predictor):
    for image in (np.zeros((5, 4, 3), np.uint8), np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4), np.uint8)):
        with pytest.raises(UsageError, match="is one image"):
            warm.batch(image)
    assert warm.batch([]) == []
    assert len(warm.batch(np.zeros((2, 5, 4, 3), np.uint8))) == 2
    assert len(warm.batch(np.zeros((2, 5, 7), np.uint8))) == 2


def test_too_many_pixels_are_refused_without_tiles(warm: Predictor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stages.prediction.predictor.MOST_PIXELS_AT_ONCE", 19)
    with pytest.raises(UsageError, match="image: has 5 x 4 pixels, too many"):
        warm(np.zeros((5, 4), np.uint8))


def test_unknown_classes_and_methods_are_refused(warm: Predictor):
    one = warm(np.zeros((5, 4), np.uint8))
    for wrong, message in (
        (lambda: one.region("liver"), "'liver' is no class of this run; it has background, foreground"),
        (lambda: one.probability("liver"), "no class"),
        (lambda: one.instances("background"), "no objects"),
        (lambda: one.instances(method="magic"), "components, watershed"),
    ):
        with pytest.raises(UsageError, match=message):
            wrong()
    np.testing.assert_array_equal(one.region("background"), ~one.region("foreground"))


def test_what_is_no_run_is_refused(trained: Path, phantom_store: Path, tmp_path: Path):
    """A missing folder, a store, an empty folder, a cross-validation; weights and devices that do not fit."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty", phantom_store):
        with pytest.raises(CheckpointError, match=folder.name):
            Predictor.load(folder)
    train(train_settings(phantom_store, tmp_path / "folds", epochs=1, folds=2, test=0))
    with pytest.raises(CheckpointError, match="cross-validation: give the run of one fold"):
        Predictor.load(tmp_path / "folds")
    assert Predictor.load(str(tmp_path / "folds" / "fold1"), device="cpu").classes
    with pytest.raises(UsageError, match="takes no weights file"):
        Predictor.load(trained, device="cpu", weights=tmp_path / "weights.pth")
    with pytest.raises(UsageError, match="gpu7"):
        Predictor.load(trained, device="gpu7")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is a file, and a folder"):
        Predictor.load(trained / "model.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0: give a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size 2.5"),
        ({"run": None}, "run is a NoneType: give one path"),
        ({"run": 3}, "run is a int"),
        ({"weights": b"x"}, "weights is a bytes"),
        ({"memo": 5}, "memo is a int"),
    ],
)
def test_arguments_of_other_types_are_refused(arguments: dict[str, Any], message: str, trained: Path):
    with pytest.raises(UsageError, match=message):
        Predictor.load(**{"run": trained, "device": "cpu", **arguments})


def test_a_predictor_names_its_run_and_stays_in_its_process(warm: Predictor, trained: Path):
    assert str(trained) in repr(warm)
    assert "foreground" in repr(warm)
    with pytest.raises(TypeError, match=r"load.* in each"):
        pickle.dumps(warm)


def test_a_warm_predictor_loads_nothing(warm: Predictor, monkeypatch: pytest.MonkeyPatch):
    """After the first call neither weights nor the run are read again: no file is opened at all."""
    image = pictures(np.uint8, (3,))[0]
    first = warm(image)

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a file was opened")

    for place in ("builtins.open", "io.open", "os.open"):
        monkeypatch.setattr(place, refused)
    again = warm(image)
    labels = again.labels
    monkeypatch.undo()
    np.testing.assert_array_equal(labels, first.labels)
