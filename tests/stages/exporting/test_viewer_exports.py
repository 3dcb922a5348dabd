"""Predictions and stores are exported for viewers; what does not fit together is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image
from pycocotools.coco import COCO

from stages.errors import InputProblemsError, UsageError
from stages.export import run as export
from stages.exporting.formats import FORMATS
from stages.outputs.kinds import OUTPUTS
from stages.predict import run as predict
from stages.prediction.geojson import as_geojson, class_features
from stages.segmentation.instances import split_instances
from stages.settings import ExportSettings, PredictSettings
from store import AttentionStore
from tests.conftest import pixels_of
from tests.stages.exporting.labelled_stores import make_labelled
from tests.stages.exporting.made_runs import make_run

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
"""pycocotools 2.0 with NumPy 2."""

VIEWERS = ["ome-zarr", "coco", "fiftyone", "geojson"]


@pytest.fixture(scope="module")
def images(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for file in sorted((phantoms / "images").iterdir())[:3]:
        shutil.copy(file, folder)
    return folder


@pytest.fixture(scope="module")
def run(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r", phantom_store)


@pytest.fixture(scope="module")
def predictions(images: Path, run: Path, memo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted") / "p"
    predict(PredictSettings(images=images, run=run, out=out, memo=memo, instances="components"))
    for number, file in enumerate(sorted(images.iterdir())):  # an untrained network does not draw much of interest
        mask = np.zeros((36, 48), np.uint8)
        mask[2:9, 3:12], mask[4:6, 5:8], mask[12 + number : 30, 20:40] = 255, 0, 255
        Image.fromarray(mask).save(out / f"{file.stem}.png")
        numbers = split_instances(mask > 0, "components").astype(np.uint16)
        assert numbers.max() == 2
        Image.fromarray(numbers).save(out / f"{file.stem}_instances.png")
    return out


def settings(images: Path, run: Path, predictions: Path, name: str, out: Path) -> ExportSettings:
    return ExportSettings(run=run, predictions=predictions, images=images, format=name, out=out)


def test_predicted_masks_reach_every_format_unchanged(images: Path, run: Path, predictions: Path, tmp_path: Path):
    for name in VIEWERS:
        export(settings(images, run, predictions, name, tmp_path / name))
        assert [kind for kind in OUTPUTS if kind(tmp_path / name)] == [FORMATS[name].ours]
    coco = COCO(tmp_path / "coco" / "labels.json")
    for number, file in enumerate(sorted(images.iterdir()), start=1):
        expected = pixels_of(predictions / f"{file.stem}.png") > 0
        assert 0 < expected.mean() < 1
        assert coco.loadImgs(number)[0]["file_name"] == f"{file.stem}.png"
        union = sum(coco.annToMask(one) for one in coco.loadAnns(coco.getAnnIds(imgIds=number)))
        np.testing.assert_array_equal(union, expected)
        np.testing.assert_array_equal(pixels_of(tmp_path / "fiftyone" / "labels" / f"{file.stem}.png"), expected)
        np.testing.assert_array_equal(
            pixels_of(tmp_path / "fiftyone" / "data" / f"{file.stem}.png"), np.asarray(Image.open(file).convert("RGB"))
        )
        group = zarr.open_group(tmp_path / "ome-zarr" / f"{file.stem}.ome.zarr", mode="r")
        np.testing.assert_array_equal(group["labels/classes/0"][...], expected)
        np.testing.assert_array_equal(
            group["labels/objects/0"][...], pixels_of(predictions / f"{file.stem}_instances.png")
        )
        content = (tmp_path / "geojson" / f"{file.stem}.geojson").read_bytes()
        objects = split_instances(expected, "components")
        assert content == as_geojson(class_features("foreground", 0, objects, None))
    described = json.loads((tmp_path / "fiftyone" / "export.json").read_text())["diamant_pipeline"]
    assert described["mask_targets"] == {"0": "background", "1": "foreground"}


@pytest.mark.parametrize("name", VIEWERS)
def test_labels_that_overlap_are_exported(tmp_path: Path, name: str):
    store = make_labelled(tmp_path / "s.zarr", multilabel=True)
    report = export(ExportSettings(store=store, format=name, out=tmp_path / "out"))
    assert report.facts["images"] == (3 if name == "ome-zarr" else 2)
    export(ExportSettings(store=store, format=name, out=tmp_path / "out"))
    if name == "fiftyone":
        mask = AttentionStore.open(store)[0].mask
        expected = np.where(mask == 255, 255, np.where(mask & 2 > 0, 2, 0))
        np.testing.assert_array_equal(pixels_of(tmp_path / "out" / "labels_gland" / "é 0.png"), expected)


def test_images_without_a_prediction_are_named(images: Path, run: Path, predictions: Path, tmp_path: Path):
    some = shutil.copytree(predictions, tmp_path / "some")
    first = min(images.iterdir()).stem
    (some / f"{first}.png").unlink()
    report = export(settings(images, run, some, "coco", tmp_path / "coco"))
    assert any(first in note and "no predicted mask" in note for note in report.notes)
    assert report.facts["images"] == 2


def test_a_mask_that_does_not_fit_is_refused_and_the_old_export_stays(
    images: Path, run: Path, predictions: Path, tmp_path: Path
):
    bad = shutil.copytree(predictions, tmp_path / "bad")
    wanted = settings(images, run, bad, "coco", tmp_path / "coco")
    export(wanted)
    before = (tmp_path / "coco" / "labels.json").read_bytes()
    file = bad / f"{min(images.iterdir()).stem}.png"
    pixels = pixels_of(file)
    for changed, words in (
        (np.full_like(pixels, 9), r"value 9 at row 0, column 0"),
        (pixels[:-1], r"has \d+ x \d+ pixels"),
        (np.dstack([pixels] * 3), "not a mask in the values"),
    ):
        Image.fromarray(changed).save(file)
        with pytest.raises(InputProblemsError, match=words):
            export(wanted)
    assert (tmp_path / "coco" / "labels.json").read_bytes() == before


def test_objects_of_a_mask_that_was_changed_by_hand_are_counted_again(
    images: Path, run: Path, predictions: Path, tmp_path: Path
):
    """The numbers of `predict` no longer cover the mask."""
    changed = shutil.copytree(predictions, tmp_path / "changed")
    file = changed / f"{min(images.iterdir()).stem}.png"
    Image.fromarray(np.full_like(pixels_of(file), 255)).save(file)
    export(settings(images, run, changed, "coco", tmp_path / "coco"))
    coco = COCO(tmp_path / "coco" / "labels.json")
    assert [one["area"] for one in coco.loadAnns(coco.getAnnIds(imgIds=1))] == [pixels_of(file).size]


def test_predictions_need_their_images(run: Path, predictions: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="--images"):
        export(ExportSettings(run=run, predictions=predictions, format="coco", out=tmp_path / "coco"))
    assert not (tmp_path / "coco").exists()


@pytest.mark.parametrize("name", VIEWERS)
def test_a_folder_with_files_of_the_user_is_not_replaced(tmp_path: Path, name: str):
    wanted = ExportSettings(store=make_labelled(tmp_path / "s.zarr"), format=name, out=tmp_path / "out")
    export(wanted)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        export(wanted)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_size_of_the_pixels_reaches_predictions(images: Path, run: Path, predictions: Path, tmp_path: Path):
    for name in ("ome-zarr", "geojson"):
        given = {"run": run, "predictions": predictions, "images": images, "format": name, "pixel_mm": 0.5}
        export(ExportSettings(**given, out=tmp_path / name))
    first = min(images.iterdir()).stem
    group = zarr.open_group(tmp_path / "ome-zarr" / f"{first}.ome.zarr", mode="r")
    for one in (group, group["labels/classes"]):
        (sizes,) = one.attrs["ome"]["multiscales"]
        assert sizes["axes"][-1]["unit"] == "millimeter"
        assert sizes["datasets"][0]["coordinateTransformations"][0]["scale"][-2:] == [0.5, 0.5]
    for feature in json.loads((tmp_path / "geojson" / f"{first}.geojson").read_text())["features"]:
        measured = feature["properties"]["measurements"]
        assert measured["area_mm2"] == measured["area_px"] / 4


def test_a_store_knows_the_size_of_its_pixels(tmp_path: Path):
    with pytest.raises(UsageError, match=r"--pixel-mm 0\.5: is for --predictions"):
        export(ExportSettings(store=make_labelled(tmp_path / "s.zarr"), format="coco", pixel_mm=0.5))


def test_outlines_of_photos_that_are_not_stored_upright_are_named(run: Path, memo: Path, tmp_path: Path, images: Path):
    """QuPath does not turn a photo by its EXIF orientation, so the outlines would lie beside the objects."""
    photos, out = tmp_path / "photos", tmp_path / "predicted"
    photos.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for number, file in enumerate(sorted(images.iterdir())):
        Image.open(file).convert("RGB").save(photos / f"p{number}.jpg", **({"exif": exif} if number == 1 else {}))
    predict(PredictSettings(images=photos, run=run, out=out, memo=memo))
    report = export(settings(photos, run, out, "geojson", tmp_path / "geojson"))
    assert [note for note in report.notes if "1 image with an EXIF orientation (p1): " in note]
    assert export(settings(photos, run, out, "coco", tmp_path / "coco")).notes == []  # its images are upright
