"""Evaluation: leakage is rejected, and scores are right at both resolutions."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import CheckpointError, InputProblemsError, UsageError
from stages.evaluate import EvaluationReport, run
from stages.settings import EvaluateSettings
from tests.conftest import extract_settings


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the prediction by the mask in the store, as probabilities."""

    def answer(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        return torch.nn.functional.one_hot(batch.mask.long(), 2).movedim(-1, 1).float()

    monkeypatch.setattr("stages.segmentation.scoring.predict_probabilities", answer)


def test_metrics_and_rows_agree(phantom_store: Path, trained: Path, phantoms: Path, tmp_path: Path):
    """The means are those of the rows, only test samples are scored, and a second run gives the same bytes."""
    settings = EvaluateSettings(
        store=phantom_store, run=trained, out=tmp_path / "report", masks=phantoms / "masks", overlays=1
    )
    run(settings)
    metrics = json.loads((tmp_path / "report" / "scores.json").read_text())
    with (tmp_path / "report" / "per_sample.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (trained / "splits.csv").open() as file:
        wanted = {row["id"] for row in csv.DictReader(file) if row["split"] == "test"}
    assert {row["id"] for row in rows} == wanted
    assert metrics["n"] == len(wanted)
    assert metrics["dice"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows]), abs=1e-5)
    original = np.mean([float(row["original_dice"]) for row in rows])
    assert metrics["original"]["dice"]["mean"] == pytest.approx(original, abs=1e-5)
    assert metrics["includes_training_samples"] is False
    pictures = {file.name for file in (tmp_path / "report" / "overlays").iterdir()}
    assert "worst_1.png" in pictures
    first = {file.name: file.read_bytes() for file in (tmp_path / "report").iterdir() if file.is_file()}
    run(settings)
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "report").iterdir() if file.is_file()}


def test_the_summary_shows_dice_with_its_interval(tmp_path: Path):
    """Users read the summary on the terminal, so it must survive scores that are not defined or were not written."""
    metrics = {"dice": {"mean": 0.9124, "low": 0.9, "high": 0.925}, "n": 37, "split": "test"}
    metrics |= {"includes_training_samples": False, "original": {"dice": {"mean": None, "low": None, "high": None}}}
    lines = str(EvaluationReport(out=tmp_path, metrics=metrics)).splitlines()
    assert lines == [
        f"{tmp_path}: Dice 0.912 (0.900 to 0.925) over 37 samples of split test",
        "at original size: Dice undefined",
    ]


@pytest.mark.usefixtures("perfect")
def test_a_perfect_prediction_scores_one(phantom_store: Path, trained: Path, phantoms: Path, tmp_path: Path):
    """Scores are exactly 1 at the store's size, and a little lower at the original size because of resizing."""
    report = run(EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", masks=phantoms / "masks"))
    assert report.metrics["dice"]["mean"] == 1
    assert report.metrics["hd95"]["mean"] == 0
    assert report.metrics["thresholded_jaccard"] == 1
    assert 0.85 < report.metrics["original"]["dice"]["mean"] < 1


@pytest.mark.usefixtures("perfect")
def test_source_masks_are_decoded_with_the_classes_of_the_store(phantoms: Path, tmp_path: Path, memo: Path):
    """A store with `lesion` as class 0 is compared with source masks in the same order of classes."""
    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    store, masks = tmp_path / "s.zarr", phantoms / "masks"
    extract(extract_settings(phantoms, store, memo, classes={"lesion": 255, "skin": 0}))
    train(train_settings(store, tmp_path / "run", epochs=1))
    report = run(EvaluateSettings(store=store, run=tmp_path / "run", out=tmp_path / "report", masks=masks, overlays=0))
    assert report.metrics["dice"]["mean"] == 1
    assert report.metrics["original"]["dice"]["mean"] > 0.9


@pytest.mark.parametrize("split", ["train", "all"])
def test_training_samples_are_rejected_unless_asked_for(phantom_store: Path, trained: Path, tmp_path: Path, split):
    """Training samples are scored only with `--include-training`, and the metrics record it."""
    settings = {"store": phantom_store, "run": trained, "out": tmp_path / "report", "split": split}
    with pytest.raises(UsageError, match="--include-training"):
        run(EvaluateSettings(**settings))
    report = run(EvaluateSettings(**settings, include_training=True))
    assert report.metrics["includes_training_samples"] is True
    assert "these scores are biased" in " ".join(str(report).split())


def test_training_images_are_recognised_in_another_store(trained: Path, phantoms: Path, tmp_path: Path, memo: Path):
    """Training images under other file names are recognised by their digest."""
    from stages.extract import run as extract

    for kind, ending in (("images", ""), ("masks", "_mask")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number, file in enumerate(sorted((phantoms / kind).iterdir())):
            (tmp_path / "set" / kind / f"other{number}{ending}.png").write_bytes(file.read_bytes())
    extract(extract_settings(tmp_path / "set", tmp_path / "s.zarr", memo))
    with pytest.raises(UsageError, match="trained on"):
        run(EvaluateSettings(store=tmp_path / "s.zarr", run=trained, out=tmp_path / "report", split="all"))


def test_splits_edited_after_training_are_rejected(phantom_store: Path, trained: Path, tmp_path: Path):
    """Renaming `train` to `test` in `splits.csv` is detected."""
    import shutil

    run_folder = shutil.copytree(trained, tmp_path / "run")
    splits = (run_folder / "splits.csv").read_text()
    (run_folder / "splits.csv").write_text(splits.replace(",train", ",test"))
    settings = {"store": phantom_store, "run": run_folder, "out": tmp_path / "report", "overlays": 0}
    with pytest.raises(CheckpointError, match=r"splits\.csv: was changed after training"):
        run(EvaluateSettings(**settings, include_training=True))
    (run_folder / "splits.csv").write_text(splits)
    run(EvaluateSettings(**settings))


def test_test_images_that_a_newer_store_groups_with_training_images_are_rejected(
    phantoms: Path, trained: Path, tmp_path: Path, memo: Path
):
    """Test images of the run are rejected if a newer store groups them with training images."""
    from stages.extract import run as extract

    images, masks = phantoms / "images", phantoms / "masks"
    rows = [
        f"n{n},{images}/phantom_{n:04d}.png,{masks}/phantom_{n:04d}_segmentation.png,patient{n // 8}" for n in range(16)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["id,image,mask,group", *rows]))
    store = tmp_path / "s.zarr"
    extract(extract_settings(phantoms, store, memo, masks=None, csv=tmp_path / "t.csv"))
    with pytest.raises(UsageError, match="or on others of their group"):
        run(EvaluateSettings(store=store, run=trained, out=tmp_path / "report"))


def test_validation_images_are_scored_only_with_split_val(phantoms: Path, trained: Path, tmp_path: Path, memo: Path):
    """Validation images under other names are rejected with `--split all` and scored with `--split val`."""
    from stages.extract import run as extract

    with (trained / "splits.csv").open() as file:
        chosen_by = [row["id"] for row in csv.DictReader(file) if row["split"] == "val"]
    rows = [
        f"n{n},{phantoms}/images/{id_}.png,{phantoms}/masks/{id_}_segmentation.png" for n, id_ in enumerate(chosen_by)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["id,image,mask", *rows]))
    store = tmp_path / "s.zarr"
    extract(extract_settings(phantoms, store, memo, masks=None, csv=tmp_path / "t.csv"))
    settings = {"store": store, "run": trained, "out": tmp_path / "report", "overlays": 0}
    with pytest.raises(UsageError, match="checkpoint was chosen by them"):
        run(EvaluateSettings(**settings, split="all"))
    assert run(EvaluateSettings(**settings, split="val")).metrics["n"] == len(chosen_by) > 0


def test_an_unseen_store_is_scored_as_a_whole(trained: Path, tmp_path: Path, memo: Path):
    """New images with the names of training images are scored with `--split all`; `--split test` finds none."""
    from stages.extract import run as extract
    from stages.phantom import run as phantom
    from stages.settings import PhantomSettings

    new = phantom(PhantomSettings(out=tmp_path / "new", samples=4, image_size=(36, 48), seed=99))
    extract(extract_settings(new, tmp_path / "s.zarr", memo))
    settings = {"store": tmp_path / "s.zarr", "run": trained, "out": tmp_path / "report"}
    with pytest.raises(UsageError, match="--split all"):
        run(EvaluateSettings(**settings))
    assert run(EvaluateSettings(**settings, split="all")).metrics["n"] == 4


def test_missing_source_masks_are_all_named(phantom_store: Path, trained: Path, tmp_path: Path):
    """A folder without the masks is rejected before scoring, and every missing mask is named."""
    Image.new("L", (4, 4)).save(tmp_path / "unrelated.png")
    settings = EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", masks=tmp_path)
    with pytest.raises(InputProblemsError, match="no mask for") as caught:
        run(settings)
    with (trained / "splits.csv").open() as file:
        assert len(caught.value.problems) == sum(row["split"] == "test" for row in csv.DictReader(file))
    assert not (tmp_path / "report").exists()


def test_images_of_a_patient_that_was_trained_on_are_rejected(phantoms: Path, tmp_path: Path, memo: Path):
    """A new image of a patient in the training set is rejected, whatever its file name."""
    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    def store_of(name: str, numbers: range, prefix: str) -> Path:
        images, masks = phantoms / "images", phantoms / "masks"
        rows = [
            f"{prefix}{n},{images}/phantom_{n:04d}.png,{masks}/phantom_{n:04d}_segmentation.png,p{n % 4}"
            for n in numbers
        ]
        table = tmp_path / f"{name}.csv"
        table.write_text("\n".join(["id,image,mask,group", *rows]))
        extract(extract_settings(phantoms, tmp_path / f"{name}.zarr", memo, masks=None, csv=table))
        return tmp_path / f"{name}.zarr"

    train(train_settings(store_of("first", range(8), "a"), tmp_path / "run", val=0, test=0, epochs=1))
    with pytest.raises(UsageError, match="or on others of their group"):
        run(
            EvaluateSettings(
                store=store_of("second", range(8, 16), "b"), run=tmp_path / "run", out=tmp_path / "r", split="all"
            )
        )


def test_a_report_folder_with_another_file_in_it_is_not_replaced(phantom_store: Path, trained: Path, tmp_path: Path):
    """A folder with a file that this stage did not write is not replaced."""
    settings = EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", overlays=0)
    run(settings)
    (tmp_path / "report" / "notes.txt").write_text("case 7 looks odd")
    with pytest.raises(UsageError, match="did not write"):
        run(settings)
    assert (tmp_path / "report" / "notes.txt").exists()


def test_an_unlabelled_copy_does_not_hide_a_test_image(phantoms: Path, tmp_path: Path, memo: Path):
    """A test image is scored although a copy of it without a mask is in no split."""
    import shutil

    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    shutil.copytree(phantoms, tmp_path / "set")
    for number in range(16):
        shutil.copy(
            tmp_path / "set" / "images" / f"phantom_{number:04d}.png", tmp_path / "set/images" / f"z{number}.png"
        )
    extract(extract_settings(tmp_path / "set", tmp_path / "s.zarr", memo))
    train(train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1))
    with (tmp_path / "run" / "splits.csv").open() as file:
        tested = sum(row["split"] == "test" for row in csv.DictReader(file))
    report = run(EvaluateSettings(store=tmp_path / "s.zarr", run=tmp_path / "run", out=tmp_path / "report"))
    assert report.metrics["n"] == tested > 0


def test_the_summary_says_what_its_numbers_cannot_show(tmp_path: Path):
    """Few images and lost classes are said in words, with the numbers of both."""
    metrics = {"dice": {"mean": 0.5, "low": None, "high": None}, "n": 7, "groups": 7, "split": "test", "lost": 3}
    metrics |= {"includes_training_samples": False}
    text = str(EvaluationReport(out=tmp_path, metrics=metrics))
    assert "in 3 of these samples the store's mask lost a class" in text
    assert "--image-size" in text
    assert "Dice 0.500 over 7 samples" in text
    assert "no interval: fewer than ten images (7 images)" in text


@pytest.mark.usefixtures("perfect")
def test_a_table_names_the_source_masks(phantoms: Path, tmp_path: Path, memo: Path):
    """A store that was extracted from a table is scored at the original size with the same table."""
    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    rows = [
        f"n{n},{phantoms}/images/phantom_{n:04d}.png,{phantoms}/masks/phantom_{n:04d}_segmentation.png"
        for n in range(16)
    ]
    table, store = tmp_path / "t.csv", tmp_path / "s.zarr"
    table.write_text("\n".join(["id,image,mask", *rows]))
    extract(extract_settings(phantoms, store, memo, masks=None, csv=table))
    train(train_settings(store, tmp_path / "run", epochs=1))
    report = run(EvaluateSettings(store=store, run=tmp_path / "run", out=tmp_path / "report", csv=table, overlays=0))
    assert 0.85 < report.metrics["original"]["dice"]["mean"] < 1


def test_a_network_that_finds_nothing_scores_zero_where_the_store_lost_the_lesion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Masks that are empty only because they were shrunk reward neither training nor evaluation."""
    from dataclasses import replace

    from stages.train import run as train
    from store.writer import Layout, new_store
    from tests.conftest import RECIPE, random_sample, train_settings

    def nothing(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        empty = torch.zeros(len(batch.image), 2, *batch.image.shape[2:])
        empty[:, 0] = 1
        return empty

    layout = Layout(
        size=(32, 40), grid=(4, 5), heads=["L1H0"], keys=21, classes=["skin", "lesion"], columns=("lost_classes",)
    )
    with new_store(tmp_path / "s.zarr", layout=layout, recipe=RECIPE) as writer:
        for index in range(16):
            sample = random_sample(index, layout)
            writer.append(replace(sample, mask=sample.mask * 0, lost_classes="1", group=sample.id))
    for module in ("scoring", "validation"):
        monkeypatch.setattr(f"stages.segmentation.{module}.predict_probabilities", nothing)
    trained = train(train_settings(tmp_path / "s.zarr", tmp_path / "run", epochs=1))
    assert "1.000" not in str(trained)
    report = run(EvaluateSettings(store=tmp_path / "s.zarr", run=tmp_path / "run", out=tmp_path / "r", overlays=1))
    assert report.metrics["dice"]["mean"] == report.metrics["pooled_dice"] == 0
    assert report.metrics["lost"] == report.metrics["n"] > 0
