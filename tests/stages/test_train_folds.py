"""Cross-validation: every sample is predicted by the model that did not see it, and interruptions lose no fold."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages import evaluate
from stages.errors import CheckpointError, UsageError
from stages.prediction.full_size import Prediction
from stages.runtime.progress import SILENT
from stages.segmentation.checkpoint import is_run, load_model
from stages.segmentation.folds import is_cross_validation
from stages.segmentation.scoring import Scored, score_store
from stages.segmentation.trainer import SegmentationTrainer
from stages.settings import EvaluateSettings
from stages.train import CrossValidationReport, run
from store import AttentionStore
from store.writer import Layout
from tests.conftest import train_settings

CPU = torch.device("cpu")
FOLDS = 3


@pytest.fixture(scope="module")
def validated(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished cross-validation of the phantoms. Tests must not change it."""
    out = tmp_path_factory.mktemp("runs") / "cv"
    report = run(train_settings(phantom_store, out, epochs=1, folds=FOLDS))
    assert isinstance(report, CrossValidationReport)
    return out


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def _scored(store: AttentionStore, fold: Path) -> Iterator[Scored]:
    """Predict the test samples of a fold with its run."""
    model, card = load_model(fold, CPU)
    indices = np.array([at for at, row in enumerate(_rows(fold / "splits.csv")) if row["split"] == "test"])
    with SILENT.task("scoring", 1) as task:
        yield from score_store(store, indices, model=model, card=card, device=CPU, batch_size=4, task=task)


def test_every_sample_is_in_one_test_fold_with_its_group(phantom_store: Path, validated: Path):
    """Sizes of the folds differ by at most one image, and each fold has training and validation samples."""
    folds = [{row["id"]: row["split"] for row in _rows(validated / f"fold{k}" / "splits.csv")} for k in (1, 2, 3)]
    assert all(is_run(validated / f"fold{k}") for k in (1, 2, 3))
    ids = set(map(str, AttentionStore.open(phantom_store).ids))
    tested = Counter(name for fold in folds for name, split in fold.items() if split == "test")
    assert tested == dict.fromkeys(ids, 1)
    assert sorted(list(fold.values()).count("test") for fold in folds) == [5, 5, 6]
    assert all({"train", "val", "test"} == set(fold.values()) for fold in folds)


def test_scores_are_those_of_evaluate_on_each_fold(phantom_store: Path, validated: Path, tmp_path: Path):
    """The rows of a fold are what `evaluate` finds for its run; the summary is over all rows."""
    rows = {row["id"]: row for row in _rows(validated / "per_sample.csv")}
    assert len(rows) == 16
    for number in (1, 2, 3):
        out = tmp_path / str(number)
        evaluate.run(EvaluateSettings(store=phantom_store, run=validated / f"fold{number}", out=out, overlays=0))
        for row in _rows(out / "per_sample.csv"):
            assert rows[row["id"]]["fold"] == str(number)
            assert float(rows[row["id"]]["dice"]) == pytest.approx(float(row["dice"]), abs=1e-5)
    metrics = json.loads((validated / "scores.json").read_text())
    assert metrics["n"] == 16
    assert metrics["dice"]["mean"] == pytest.approx(np.mean([float(row["dice"]) for row in rows.values()]), abs=1e-5)
    means = [np.mean([float(row["dice"]) for row in rows.values() if row["fold"] == fold]) for fold in "123"]
    assert [one["dice"]["mean"] for one in metrics["folds"]] == pytest.approx(means, abs=1e-5)
    assert [one["n"] for one in metrics["folds"]] == [[row["fold"] for row in rows.values()].count(f) for f in "123"]
    assert metrics["fold_dice"]["sd"] == pytest.approx(np.std(means, ddof=1), abs=1e-5)
    evaluated = json.loads((tmp_path / "1" / "scores.json").read_text())
    assert evaluated.keys() <= metrics.keys()


def test_predictions_have_the_size_of_the_images_and_are_decided_as_by_predict(phantom_store: Path, validated: Path):
    """The probabilities are enlarged first. `stages.prediction` decides in the same way."""
    store = AttentionStore.open(phantom_store)
    for one in _scored(store, validated / "fold2"):
        size = (int(store.column("height")[one.index]), int(store.column("width")[one.index]))
        picture = np.array(Image.open(validated / "predictions" / f"{store.ids[one.index]}.png"))
        assert picture.shape == size != one.prediction.shape
        np.testing.assert_array_equal(picture, Prediction(one.probabilities, size).mask * np.uint8(255))
    assert {file.stem for file in (validated / "predictions").iterdir()} == set(map(str, store.ids))


@pytest.mark.parametrize(
    ("multilabel", "names"),
    [(True, ["a_b", "c"]), (False, ["a b", "c"])],
)
def test_several_classes_are_indices_and_overlapping_labels_are_files(
    make_store: Callable[..., Path], layout: Layout, tmp_path: Path, multilabel, names
):
    """The files have the names that `predict` gives them."""
    classes = ["background", "a b", "c"]
    path = make_store(8, layout=replace(layout, classes=classes, multilabel=multilabel))
    run(train_settings(path, tmp_path / "cv", epochs=1, folds=2))
    files = {file.name for file in (tmp_path / "cv" / "predictions").iterdir()}
    ids = [f"sample-{number:03d}" for number in range(8)]
    assert files == (
        {f"{one}_{name}.png" for one in ids for name in names} if multilabel else {f"{i}.png" for i in ids}
    )
    for one in _scored(AttentionStore.open(path), tmp_path / "cv" / "fold1"):
        decided = Prediction(one.probabilities, (100 + one.index, 200 + one.index), multilabel=multilabel)
        wanted = [decided.region(label) * np.uint8(255) for label in (1, 2)] if multilabel else [decided.mask]
        for name, picture in zip(names, wanted, strict=multilabel):
            file = f"{ids[one.index]}_{name}.png" if multilabel else f"{ids[one.index]}.png"
            np.testing.assert_array_equal(np.array(Image.open(tmp_path / "cv" / "predictions" / file)), picture)
    assert {row["group"] for row in _rows(tmp_path / "cv" / "per_sample.csv")} == {f"patient-{k}" for k in range(4)}


def test_an_interrupted_cross_validation_goes_on_with_the_unfinished_fold(
    phantom_store: Path, validated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The former result stays until the end. The resumed result is the same byte for byte."""
    out = tmp_path / "cv"
    run(train_settings(phantom_store, out, epochs=1, folds=2))
    former = (out / "scores.json").read_bytes()
    settings = train_settings(phantom_store, out, epochs=1, folds=FOLDS)
    with monkeypatch.context() as patch:
        _count_epochs(patch, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            run(settings)
    assert (out / "scores.json").read_bytes() == former
    assert is_cross_validation(out)
    with monkeypatch.context() as patch:
        trained = _count_epochs(patch)
        run(replace(settings, resume=True))
    assert len(trained) == 2  # the second and the third fold
    for name in ("metrics.json", "scores.json", "per_sample.csv", "fold1/model.safetensors", "fold3/model.safetensors"):
        assert (out / name).read_bytes() == (validated / name).read_bytes()
    assert [file.name for file in tmp_path.iterdir()] == ["cv"]


def test_a_finished_cross_validation_is_not_trained_again(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With --resume it is only reported; with other settings it is refused and stays as it is."""
    out = tmp_path / "cv"
    settings = train_settings(phantom_store, out, epochs=1, folds=FOLDS)
    first = run(settings)
    trained = _count_epochs(monkeypatch)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert str(run(replace(settings, resume=True))) == str(first)
    with pytest.raises(CheckpointError, match="folds: was 3, now 2"):
        run(replace(settings, resume=True, folds=2))
    assert trained == []
    assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert [file.name for file in tmp_path.iterdir()] == ["cv"]


@pytest.mark.parametrize(
    "written", ["", "[]", "{", '{"folds": []}', '{"dice": 3, "folds": 3, "fold_dice": null, "n": 1}', "[" * 2000]
)
def test_a_damaged_summary_of_a_finished_cross_validation_is_an_error(
    phantom_store: Path, validated: Path, tmp_path: Path, written: str
):
    """Its figures are never shown as the result."""
    shutil.copytree(validated, tmp_path / "cv")
    (tmp_path / "cv" / "scores.json").write_text(written)
    with pytest.raises((CheckpointError, UsageError), match=r"scores\.json|did not write"):
        run(train_settings(phantom_store, tmp_path / "cv", epochs=1, folds=FOLDS, resume=True))


def test_the_report_names_every_fold_and_says_that_the_last_epoch_counts(validated: Path):
    """Two or three validation samples of a fold are too few to choose an epoch."""
    metrics = json.loads((validated / "scores.json").read_text())
    text = str(CrossValidationReport(out=validated, metrics=metrics, notes=["note: x"]))
    assert f"16 samples, each predicted by the one of {FOLDS} models that did not see it" in text
    assert [line.split(":")[0] for line in text.splitlines()[2:5]] == ["fold 1", "fold 2", "fold 3"]
    assert text.endswith("note: x")
    assert "for comparison: Dice of everything foreground" in text
    assert "16 images are few" in text
    undefined = metrics | {"dice": dict.fromkeys(("mean", "low", "high")), "fold_dice": {"mean": None, "sd": None}}
    assert "Dice undefined" in str(CrossValidationReport(out=validated, metrics=undefined, notes=[]))


def test_a_finished_cross_validation_of_an_earlier_version_is_reported(
    phantom_store: Path, validated: Path, tmp_path: Path
):
    """Up to version 0.3 `metrics.json` held all scores, and there was no `scores.json`."""
    old = shutil.copytree(validated, tmp_path / "cv")
    scores = json.loads((old / "scores.json").read_text())
    for name in ("trivial", "one_sided", "calibration", "nsd", "groups", "hd95_definition", "tolerance_px"):
        del scores[name]
    (old / "scores.json").unlink()
    (old / "metrics.json").write_text(json.dumps(scores))
    report = run(train_settings(phantom_store, old, epochs=1, folds=FOLDS, resume=True))
    assert f"Dice {scores['dice']['mean']:.3f}" in str(report)


def test_a_run_and_a_cross_validation_do_not_replace_each_other(
    phantom_store: Path, trained: Path, validated: Path, tmp_path: Path
):
    """Neither does a cross-validation replace a folder with files of the user."""
    with pytest.raises(UsageError, match="did not write"):
        run(train_settings(phantom_store, trained, folds=2))
    with pytest.raises(UsageError, match="did not write"):
        run(train_settings(phantom_store, validated))
    mixed = tmp_path / "cv"
    run(train_settings(phantom_store, mixed, epochs=1, folds=2))
    (mixed / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="did not write"):
        run(train_settings(phantom_store, mixed, epochs=1, folds=2))
    assert (mixed / "notes.txt").read_text() == "mine"


def test_folds_that_cannot_be_made_are_refused(make_store: Callable[..., Path], tmp_path: Path):
    """The message says what to change; nothing is written."""
    store = make_store(6)  # three patients of two images
    table = tmp_path / "splits.csv"
    table.write_text("id,split\n")
    for changes, message in (
        ({"folds": 4}, r"3 groups of labelled samples cannot be divided into 4 folds(?s:.*)fewer --folds"),
        ({"folds": 1}, "one fold leaves nothing to train on"),
        ({"folds": 3, "split_csv": table}, "--folds or --split-csv, not both"),
    ):
        with pytest.raises(UsageError, match=message):
            run(train_settings(store, tmp_path / "cv", **changes))
    assert {file.name for file in tmp_path.iterdir()} == {"test.zarr", "splits.csv"}


def _count_epochs(patch: pytest.MonkeyPatch, stop_at: int | None = None) -> list[int]:
    """Return a list that gets an entry for every trained epoch. The one with number `stop_at` is interrupted."""
    trained: list[int] = []
    original = SegmentationTrainer.run_epoch
    stop = KeyboardInterrupt()

    def counting(self: SegmentationTrainer, epoch: int, task: object) -> object:
        trained.append(epoch)
        if len(trained) == stop_at:
            raise stop
        return original(self, epoch, task)  # type: ignore[arg-type]

    patch.setattr(SegmentationTrainer, "run_epoch", counting)
    return trained
