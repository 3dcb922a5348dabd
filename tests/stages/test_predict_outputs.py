"""The files that `predict` writes beside the masks, and predictions that are used as masks again."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from scipy.ndimage import label

from stages import extract, predict, train
from stages.attention.cls_attention import cls_attention
from stages.attention.extractor import AttentionExtractor
from stages.segmentation.checkpoint import MODEL_FILE, load_model, save_model
from stages.settings import PredictSettings
from store import AttentionStore
from tests.conftest import extract_settings, train_settings

CPU = torch.device("cpu")
EVERYTHING: dict[str, Any] = {
    "probabilities": True,
    "overlay": True,
    "contours": True,
    "table": True,
    "instances": "components",
    "uncertainty": True,
}


def _settings(images: Path, trained: Path, out: Path, memo: Path, **changes: Any) -> PredictSettings:
    return PredictSettings(**{"images": images, "run": trained, "out": out, "memo": memo, "batch_size": 4, **changes})


@pytest.fixture(scope="module")
def trained(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that has learnt enough to find something in the phantoms. Tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "finding"
    train.run(train_settings(phantom_store, out, epochs=12, lr=1e-2))
    return out


@pytest.fixture(scope="module")
def written(phantoms: Path, trained: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every kind of output for all phantoms. Tests must not change it."""
    out = tmp_path_factory.mktemp("everything") / "out"
    predict.run(_settings(phantoms / "images", trained, out, memo, pixel_mm=0.5, **EVERYTHING))
    return out


def _ids(phantoms: Path) -> list[str]:
    return sorted(path.stem for path in (phantoms / "images").iterdir())


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _fill(geometry: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centre lies inside, by the even-odd rule on vertical edges."""
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    crossings = np.zeros(shape, int)
    for ring in (ring for polygon in polygons for ring in polygon):
        for (x1, y1), (x2, y2) in pairwise(ring):
            if x1 == x2:
                crossings[min(y1, y2) : max(y1, y2), x1:] += 1
    return crossings % 2 == 1


def test_each_output_is_written_for_each_image(phantoms: Path, written: Path):
    """The files are those that the options ask for, and pictures have the size of the image."""
    endings = (".png", ".npy", "_overlay.png", ".geojson", "_instances.png", "_uncertainty.png")
    expected = {f"{one}{ending}" for one in _ids(phantoms) for ending in endings} | {"table.csv"}
    assert {path.name for path in written.iterdir()} == expected
    for one in _ids(phantoms):
        for ending in (".png", "_instances.png", "_uncertainty.png"):
            assert _read(written / f"{one}{ending}").shape == (36, 48)


def test_table_contours_and_instances_describe_the_mask(phantoms: Path, written: Path):
    """Areas, objects, outlines and numbers are those of the mask that is written beside them."""
    rows = {row["id"]: row for row in _rows(written)}
    assert list(rows) == _ids(phantoms)
    assert any(int(row["area_px"]) for row in rows.values()), "empty masks would prove nothing"
    for one, row in rows.items():
        mask = _read(written / f"{one}.png") == 255
        probability = np.load(written / f"{one}.npy")[1]
        area = int(mask.sum())
        assert (row["class"], int(row["area_px"])) == ("foreground", area)
        assert float(row["area_mm2"]) == pytest.approx(area / 4)
        assert float(row["share"]) == pytest.approx(area / mask.size, rel=1e-5)
        if area:
            assert float(row["mean_confidence"]) == pytest.approx(probability[mask].mean(), abs=1e-3)
        else:
            assert row["mean_confidence"] == ""
        instances = _read(written / f"{one}_instances.png")
        np.testing.assert_array_equal(instances > 0, mask)
        assert instances.max() == int(row["objects"]) <= label(mask)[1]
        features = json.loads((written / f"{one}.geojson").read_text())["features"]
        assert len(features) == int(row["objects"])
        covered = sum((_fill(feature["geometry"], mask.shape).astype(int) for feature in features), np.zeros_like(mask))
        np.testing.assert_array_equal(covered, mask)


def test_uncertainty_is_highest_where_the_probability_is_near_one_half(phantoms: Path, written: Path):
    """The picture is the entropy in bits of the written probabilities."""
    for one in _ids(phantoms)[:3]:
        probability = np.load(written / f"{one}.npy").astype(float).clip(1e-6, 1)
        entropy = -(probability * np.log2(probability)).sum(axis=0)
        np.testing.assert_allclose(_read(written / f"{one}_uncertainty.png"), entropy * 255, atol=2)


def test_overlays_show_the_image_and_the_outline(written: Path):
    """A small image is enlarged by a whole factor; the outline has the colour of the legend."""
    rows = {row["id"]: int(row["area_px"]) for row in _rows(written)}
    for one, area in rows.items():
        picture = _read(written / f"{one}_overlay.png")
        assert picture.shape[1] >= 48 * 8
        outline = (picture == (230, 159, 0)).all(axis=-1)
        assert outline.any() == (area > 0)


@pytest.mark.parametrize(
    ("classes", "values"),
    [
        pytest.param({"skin": 0, "lesion": 255}, {0, 255}, id="values"),
        pytest.param({"lesion": ">0", "background": 0}, {0, 255}, id="above_0"),
        pytest.param({"lesion": "200-255", "background": "0-199"}, {0, 255}, id="ranges"),
        pytest.param({"skin": "#000000", "lesion": "#ffffff"}, {0, 255}, id="colours"),
        pytest.param({"lesion": 0, "background": 255}, {0, 255}, id="white_background"),
    ],
)
def test_predictions_can_be_used_as_masks_again(
    phantoms: Path,
    trained: Path,
    memo: Path,
    tmp_path: Path,
    classes: dict[str, Any],
    values: set[int],
):
    """Extract, train, predict, and extract again with the predictions: the same classes and the predicted indices."""
    store, run, out, again = (tmp_path / name for name in ("s.zarr", "run", "out", "again.zarr"))
    extract.run(extract_settings(phantoms, store, memo, classes=classes))
    train.run(train_settings(store, run, epochs=1))
    _use_weights_of(trained, run)
    predict.run(_settings(phantoms / "images", run, out, memo, probabilities=True))
    extract.run(extract_settings(phantoms, again, memo, masks=out, classes=classes, image_size=(36, 48)))
    first, second = AttentionStore.open(store), AttentionStore.open(again)
    assert (first.classes, list(first.ids)) == (second.classes, list(second.ids))
    predicted = second.read_array("mask", np.arange(len(second)))
    assert set(np.unique(predicted)) == {0, 1}, "masks of one class would prove nothing"
    for identifier, mask in zip(second.ids, predicted, strict=True):
        probabilities = np.load(out / f"{identifier}.npy").astype(float)
        clear = np.abs(probabilities[1] - probabilities[0]) > 2e-3  # the file is rounded to float16
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(probabilities.argmax(axis=0)[clear], mask[clear])
        written = _read(out / f"{identifier}.png")
        assert set(np.unique(written)) <= values
        assert (written.ndim == 3) == any("#" in str(value) for value in classes.values())


def test_predicted_labels_that_overlap_can_be_used_as_masks_again(phantoms: Path, memo: Path, tmp_path: Path):
    """A multi-label run writes a file per label, which `extract` reads with the pattern of their names."""
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in (phantoms / "masks").iterdir():
        whole = _read(path)
        half = whole.copy()
        half[:, 24:] = 0
        for name, mask in (("lesion", whole), ("left part", half)):
            Image.fromarray(mask).save(masks / f"{path.stem.removesuffix('_segmentation')}_{name}.png")
    options = {"labels": "multilabel", "mask_pattern": "{id}_{label}.png", "image_size": (36, 48)}
    store, run, out, again = (tmp_path / name for name in ("s.zarr", "run", "out", "again.zarr"))
    extract.run(extract_settings(phantoms, store, memo, masks=masks, **options))
    train.run(train_settings(store, run, epochs=40, lr=1e-2))
    images = phantoms / "images"
    predict.run(_settings(images, run, out, memo))
    assert {path.name for path in out.iterdir()} == {
        f"{one}_{name}.png" for one in _ids(phantoms) for name in ("lesion", "left_part")
    }
    extract.run(extract_settings(phantoms, again, memo, masks=out, **options))
    read = AttentionStore.open(again)
    bits = read.read_array("mask", np.arange(len(read)))
    assert (bits & 3 == 3).any(), "labels that never overlap would prove nothing"
    for identifier, mask in zip(read.ids, bits, strict=True):
        for index, name in enumerate(read.classes[1:]):
            np.testing.assert_array_equal(mask >> index & 1 == 1, _read(out / f"{identifier}_{name}.png") == 255)
    everything = tmp_path / "everything"
    predict.run(_settings(images, run, everything, memo, **EVERYTHING))
    rows = _rows(everything)
    assert [row["class"] for row in rows[:2]] == list(AttentionStore.open(store).classes[1:])
    for row in rows:
        mask = _read(everything / f"{row['id']}_{row['class'].replace(' ', '_')}.png") == 255
        numbers = _read(everything / f"{row['id']}_{row['class'].replace(' ', '_')}_instances.png")
        np.testing.assert_array_equal(numbers > 0, mask)
        assert (int(row["area_px"]), int(row["objects"])) == (mask.sum(), numbers.max())


def test_predicted_instances_can_be_used_as_labels_again(
    phantoms: Path, trained: Path, written: Path, memo: Path, tmp_path: Path
):
    """The numbered objects are what `extract --labels instances` reads: as many objects, in the same places."""
    del trained
    labels = tmp_path / "labels"
    labels.mkdir()
    for one in _ids(phantoms):
        shutil.copy(written / f"{one}_instances.png", labels / f"{one}.png")
    store = tmp_path / "s.zarr"
    extract.run(extract_settings(phantoms, store, memo, masks=labels, labels="instances", image_size=(36, 48)))
    read = AttentionStore.open(store)
    numbers = read.instances(np.arange(len(read)))
    counts = {row["id"]: int(row["objects"]) for row in _rows(written)}
    for identifier, objects in zip(read.ids, numbers, strict=True):
        assert len(np.unique(objects[objects > 0])) == counts[str(identifier)]
        np.testing.assert_array_equal(objects > 0, _read(written / f"{identifier}.png") == 255)


def _use_weights_of(trained: Path, run: Path) -> None:
    """Give a run the weights of another one, and leave its card."""
    _, card = load_model(run, CPU)
    save_model(run / MODEL_FILE, load_file(trained / MODEL_FILE), card)


def test_masks_have_the_values_that_training_data_had(phantoms: Path, trained: Path, memo: Path, tmp_path: Path):
    """The card carries the values; a model that did not record them writes 0 and 255."""
    model, card = load_model(trained, CPU)
    for masks, expected in (({"values": {"background": 3, "foreground": 7}}, {3, 7}), (None, {0, 255})):
        run = tmp_path / f"run{len(expected & {255})}"
        run.mkdir()
        save_model(run / MODEL_FILE, model.state_dict(), dataclasses.replace(card, masks=masks))
        predict.run(_settings(phantoms / "images", run, run / "../out", memo))
        found = {int(value) for path in (tmp_path / "out").iterdir() for value in np.unique(_read(path))}
        assert found == expected
        shutil.rmtree(tmp_path / "out")


def test_a_trained_run_records_the_meaning_of_its_masks(trained: Path):
    """The card holds values, decoding and the pairing rule, and no path of the data set."""
    with safe_open(trained / MODEL_FILE, "pt") as file:
        assert json.loads(file.metadata()["diamant"])["masks"]["decoding"] == "binary"
    _, card = load_model(trained, CPU)
    assert card.masks is not None
    assert card.masks["values"] is None
    assert card.masks["pairing"]["rule"] == "name"


def test_one_image_costs_one_image(phantoms: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A single photograph is not padded to a batch, and its maps are those that it has among others."""
    computed: list[int] = []

    def recorded(module: torch.nn.Module, batch: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
        computed.append(len(batch))
        return cls_attention(module, batch, layers)

    monkeypatch.setattr("stages.attention.extractor.cls_attention", recorded)
    own_memo, image = tmp_path / "memo", phantoms / "images" / "phantom_0000.png"
    predict.run(_settings(image, trained, tmp_path / "one", own_memo, batch_size=1_000_000_000))
    assert computed == [1]
    computed.clear()
    report = predict.run(_settings(phantoms / "images", trained, tmp_path / "all", own_memo, batch_size=4))
    assert report.images == 16
    assert sum(computed) <= 15 + 2 * 4, "more was computed than the other 15 images and one trial of a batch of four"
    np.testing.assert_array_equal(
        _read(tmp_path / "one" / "phantom_0000.png"), _read(tmp_path / "all" / "phantom_0000.png")
    )


def test_a_store_does_not_depend_on_earlier_predictions_of_few_images(
    phantoms: Path, phantom_store: Path, trained: Path, tmp_path: Path
):
    """Maps that were computed for single images are the maps of a store, and are not computed again."""
    own_memo, store = tmp_path / "memo", tmp_path / "s.zarr"
    for index in range(3):
        image = phantoms / "images" / f"phantom_{index:04}.png"
        predict.run(_settings(image, trained, tmp_path / "out", own_memo))
    report = extract.run(extract_settings(phantoms, store, own_memo))
    assert report.computed == 13
    assert (
        AttentionStore.open(store).description.contents_sha256
        == AttentionStore.open(phantom_store).description.contents_sha256
    )


def test_few_images_are_not_computed_twice(
    phantoms: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The maps of single images are cached too."""
    image, own_memo = phantoms / "images" / "phantom_0000.png", tmp_path / "memo"
    predict.run(_settings(image, trained, tmp_path / "out", own_memo))
    monkeypatch.setattr(AttentionExtractor, "extract", lambda *_: pytest.fail("computed again"))
    predict.run(_settings(image, trained, tmp_path / "out", own_memo))


def test_masks_among_the_images_are_never_segmented(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """They are recognised by their names, left out, and named with the reason."""
    for source in (phantoms / "images").iterdir():
        (tmp_path / "both").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "both" / source.name)
        shutil.copy(
            phantoms / "masks" / f"{source.stem}_segmentation.png", tmp_path / "both" / f"{source.stem}_mask.png"
        )
    report = predict.run(_settings(tmp_path / "both", trained, tmp_path / "out", memo))
    assert report.images == 16
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == _ids(phantoms)
    assert "16 files left out" in str(report)


def test_a_table_names_images_and_the_size_of_their_pixels(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """The table's own `pixel_mm` counts for an image; the option counts where the table says nothing."""
    images = phantoms / "images"
    (tmp_path / "t.csv").write_text(
        f"id,image,pixel_mm\na,{images / 'phantom_0000.png'},0.1\nb,{images / 'phantom_0001.png'},\n"
    )
    predict.run(
        _settings(Path("none"), trained, tmp_path / "out", memo, csv=tmp_path / "t.csv", pixel_mm=2, table=True)
    )
    a, b = _rows(tmp_path / "out")
    assert (a["id"], b["id"]) == ("a", "b")
    assert float(a["area_mm2"]) == pytest.approx(int(a["area_px"]) * 0.01)
    assert float(b["area_mm2"]) == pytest.approx(int(b["area_px"]) * 4)


def test_an_image_pattern_chooses_the_images(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """Only the images whose names fit are segmented, and the id is the part that the pattern names."""
    settings = _settings(phantoms / "images", trained, tmp_path / "out", memo, image_pattern="phantom_{id}.png")
    assert predict.run(settings).images == 16
    assert (tmp_path / "out" / "0003.png").exists()
