"""Evaluation end to end: definitions, millimetres, groups, calibration, and what stands beside a score."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.errors import UsageError
from stages.evaluate import EvaluationReport, run
from stages.segmentation import metrics as metrics_module
from stages.segmentation.metrics import Metric
from stages.settings import EvaluateSettings
from store.writer import Layout, new_store
from tests.conftest import RECIPE, extract_settings, random_sample, train_settings


@pytest.fixture
def evaluated(phantom_store: Path, trained: Path, tmp_path: Path) -> Callable[..., EvaluationReport]:
    """Return a function that scores the run on the phantoms it was not trained on; `changes` replace settings."""

    def evaluate(**changes: Any) -> EvaluationReport:
        settings = {"store": phantom_store, "run": trained, "out": tmp_path / "report", "overlays": 0}
        return run(EvaluateSettings(**{**settings, **changes}))

    return evaluate


def predicting(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every prediction by one class, with a probability of .9."""

    def answer(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        probabilities = torch.full((len(batch.image), 2, *batch.image.shape[2:]), 0.1)
        probabilities[:, value] = 0.9
        return probabilities

    monkeypatch.setattr("stages.segmentation.scoring.predict_probabilities", answer)


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace every prediction by the true mask, moved by three pixels and with a false corner."""

    def answer(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        moved = torch.roll(batch.mask.long(), (3, 1), dims=(1, 2))
        moved[:, :2, :2] = 1
        return torch.nn.functional.one_hot(moved, 2).movedim(-1, 1).float()

    monkeypatch.setattr("stages.segmentation.scoring.predict_probabilities", answer)


def rows_of(report: Path) -> list[dict[str, str]]:
    with (report / "per_sample.csv").open() as file:
        return list(csv.DictReader(file))


def flat(text: object) -> str:
    """Return a text without line breaks."""
    return " ".join(str(text).split())


def test_the_small_file_agrees_with_the_large_one(
    evaluated: Callable[..., EvaluationReport], tmp_path: Path, phantoms: Path
):
    """`dvc metrics show` has eight columns; intervals are not given for four images, and the summary says so."""
    report = evaluated(masks=phantoms / "masks")
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores == report.metrics
    small = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert list(small) == ["n", "dice", "dice_low", "dice_high", "dice_original", "iou", "hd95", "nsd"]
    assert small["dice"] == scores["dice"]["mean"]
    assert small["dice_original"] == scores["original"]["dice"]["mean"]
    assert small["dice_low"] is None
    assert scores["n"] == scores["groups"] == 4
    assert "no interval: fewer than ten images (4 images)" in str(report)


@pytest.mark.usefixtures("shifted")
def test_the_definition_of_hd95_can_be_chosen(evaluated: Callable[..., EvaluationReport], tmp_path: Path):
    """It changes the distances, is recorded, and is named in the summary. Nothing else changes."""
    usual = evaluated()
    monai = rows_of(tmp_path / "report")
    pooled = evaluated(hd95="pooled")
    assert (usual.metrics["hd95_definition"], pooled.metrics["hd95_definition"]) == ("monai", "pooled")
    assert "(monai)" in str(usual)
    assert "warning" not in str(usual)
    assert "(pooled)" in str(pooled)
    others = rows_of(tmp_path / "report")
    assert [row["hd95"] for row in others] != [row["hd95"] for row in monai]
    assert [row["dice"] for row in others] == [row["dice"] for row in monai]
    assert [row["nsd"] for row in others] == [row["nsd"] for row in monai]


@pytest.mark.usefixtures("shifted")
def test_a_larger_tolerance_gives_a_higher_nsd(evaluated: Callable[..., EvaluationReport]):
    """The tolerance is recorded and named."""
    strict, usual, generous = (evaluated(tolerance=tolerance) for tolerance in (0.0, 2.0, 100.0))
    assert strict.metrics["nsd"]["mean"] < usual.metrics["nsd"]["mean"] < generous.metrics["nsd"]["mean"] == 1
    assert strict.metrics["tolerance_px"] == 0
    assert "at 100 px" in str(generous)


@pytest.mark.usefixtures("shifted")
def test_millimetres_come_from_the_option(evaluated: Callable[..., EvaluationReport], tmp_path: Path, phantoms: Path):
    """Only distances at the original size are given in mm: the store's images have lost their aspect."""
    report = evaluated(masks=phantoms / "masks", pixel_mm=0.25, tolerance_mm=0.5)
    original = report.metrics["original"]
    assert original["hd95_mm"]["mean"] == pytest.approx(original["hd95"]["mean"] * 0.25)
    assert original["nsd_mm"]["mean"] == pytest.approx(original["nsd"]["mean"])  # 0.5 mm are 2 px
    assert "hd95_mm" not in report.metrics
    for row in rows_of(tmp_path / "report"):
        assert float(row["original_hd95_mm"]) == pytest.approx(float(row["original_hd95"]) * 0.25, rel=1e-4)
        assert "hd95_mm" not in row
    assert f" px ({original['hd95_mm']['mean']:.2f} mm), NSD" in flat(report)
    assert "at 0.5 mm" in flat(report)


def test_millimetres_come_from_the_table_and_the_option_fills_the_rest(
    phantoms: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
):
    """A size in the table wins. Without the option, images that the table gives no size for have no score in mm."""
    from stages.extract import run as extract
    from stages.train import run as train

    def table(cell: Callable[[int], str]) -> Path:
        rows = [
            f"n{n},{phantoms}/images/phantom_{n:04d}.png,{phantoms}/masks/phantom_{n:04d}_segmentation.png,{cell(n)}"
            for n in range(16)
        ]
        (tmp_path / "t.csv").write_text("\n".join(["id,image,mask,pixel_mm", *rows]))
        return tmp_path / "t.csv"

    csv_file, store, trained = table(lambda n: "0.5" if n % 2 else ""), tmp_path / "s.zarr", tmp_path / "run"
    extract(extract_settings(phantoms, store, memo, masks=None, csv=csv_file))
    train(train_settings(store, trained, epochs=1))
    predicting(1, monkeypatch)
    settings = EvaluateSettings(
        store=store, run=trained, out=tmp_path / "r", csv=csv_file, overlays=0, split="all", include_training=True
    )
    report = run(settings)
    sizes = {row["id"]: row["original_hd95_mm"] for row in rows_of(tmp_path / "r")}
    assert {name: bool(cell) for name, cell in sizes.items()} == {f"n{n}": n % 2 == 1 for n in range(16)}
    assert report.metrics["original"]["hd95_mm"]["n"] == 8
    assert "mm over 8 images with a known pixel size)" in flat(report)
    run(replace(settings, pixel_mm=2.0))
    for row in rows_of(tmp_path / "r"):
        side = 0.5 if int(row["id"][1:]) % 2 else 2
        assert float(row["original_hd95_mm"]) == pytest.approx(float(row["original_hd95"]) * side, rel=1e-4)
    table(lambda _: "")
    with pytest.raises(UsageError, match="size of a pixel is known for none"):
        run(replace(settings, tolerance_mm=1.0))


@pytest.mark.parametrize("changes", [{"pixel_mm": 0.1}, {"tolerance_mm": 1.0}])
def test_millimetres_need_the_source_masks(evaluated: Callable[..., EvaluationReport], tmp_path: Path, changes):
    """Otherwise the option would have no effect, and nothing would say so."""
    with pytest.raises(UsageError, match="Give the source masks too"):
        evaluated(**changes)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("value", "words"), [(1, "predicts 'foreground' in every pixel"), (0, "predicts nothing anywhere")]
)
def test_a_model_that_predicts_one_thing_is_no_better_than_that(
    evaluated: Callable[..., EvaluationReport], monkeypatch: pytest.MonkeyPatch, value: int, words: str
):
    """Its Dice is that of the trivial prediction, and a warning says why."""
    predicting(value, monkeypatch)
    report = evaluated()
    trivial = report.metrics["trivial"]
    assert list(trivial) == ["everything foreground", "nothing"]
    assert report.metrics["dice"]["mean"] == pytest.approx(list(trivial.values())[1 - value])
    assert f"warning: this model {words}" in flat(report)
    assert (
        f"for comparison: Dice of everything foreground {trivial['everything foreground']:.3f}, nothing 0.000"
        in str(report)
    )


def test_calibration_is_that_of_the_scored_pixels(
    evaluated: Callable[..., EvaluationReport], monkeypatch: pytest.MonkeyPatch, phantom_store: Path
):
    """A model that says .9 everywhere is wrong by .9 minus the share of lesion."""
    from store import AttentionStore

    predicting(1, monkeypatch)
    report = evaluated(split="all", include_training=True)
    masks = np.stack([sample.mask for sample in AttentionStore.open(phantom_store)])
    share = float(np.mean(masks == 1))
    calibration = report.metrics["calibration"]
    assert calibration["pixels"] == masks.size
    assert calibration["ece"] == pytest.approx(abs(0.9 - share), abs=1e-5)
    assert calibration["brier"] == pytest.approx(share * 0.01 + (1 - share) * 0.81, abs=1e-5)
    (full,) = [one for one in calibration["bins"] if one["count"]]
    assert full["share"] == pytest.approx(share)


def test_patients_are_drawn_as_groups_and_decide_whether_there_is_an_interval(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of 32 images, those of 16 patients have an interval, and those of eight have none."""
    from stages.train import run as train

    predicting(1, monkeypatch)
    reports = {}
    for per_patient in (2, 4):
        store, trained = tmp_path / f"{per_patient}.zarr", tmp_path / f"run{per_patient}"
        with new_store(store, layout=layout, recipe=RECIPE) as writer:
            for index in range(32):
                writer.append(replace(random_sample(index, layout), group=f"patient-{index // per_patient}"))
        train(train_settings(store, trained, epochs=1, val=0, test=0))
        settings = {"store": store, "run": trained, "split": "all", "include_training": True, "overlays": 0}
        reports[per_patient] = run(EvaluateSettings(**settings, out=tmp_path / f"r{per_patient}"))
    assert reports[2].metrics["dice"]["groups"] == reports[2].metrics["groups"] == 16
    assert reports[2].metrics["dice"]["low"] is not None
    assert "16 groups with 32 images are few" in flat(reports[2])
    assert reports[4].metrics["dice"]["low"] is reports[4].metrics["dice"]["high"] is None
    assert "fewer than ten groups (8 groups with 32 images)" in flat(reports[4])


@pytest.mark.parametrize(("samples", "optimistic"), [(40, True), (12, False)])
def test_scores_of_the_validation_split_say_that_the_checkpoint_was_chosen_there(
    layout: Layout, tmp_path: Path, samples: int, optimistic
):
    """With fewer than ten validation samples no epoch is chosen, so nothing is optimistic."""
    from stages.train import run as train

    store = tmp_path / "s.zarr"
    with new_store(store, layout=layout, recipe=RECIPE) as writer:
        for index in range(samples):
            writer.append(replace(random_sample(index, layout), group=f"patient-{index}"))
    train(train_settings(store, tmp_path / "run", epochs=1, val=0.3, test=0.2))
    settings = EvaluateSettings(store=store, run=tmp_path / "run", out=tmp_path / "r", split="val", overlays=0)
    report = run(settings)
    assert report.metrics["chosen_on_these_samples"] is optimistic
    assert ("these scores are optimistic" in flat(report)) is optimistic
    assert "optimistic" not in flat(run(replace(settings, split="test")))


def test_every_class_has_a_line(layout: Layout, tmp_path: Path):
    """Several classes are scored each by itself, and the terminal shows it."""
    from stages.train import run as train

    store = tmp_path / "s.zarr"
    layout = replace(layout, classes=["skin", "lesion", "hair"])
    with new_store(store, layout=layout, recipe=RECIPE) as writer:
        for index in range(12):
            writer.append(random_sample(index, layout))
    train(train_settings(store, tmp_path / "run", epochs=1))
    report = run(EvaluateSettings(store=store, run=tmp_path / "run", out=tmp_path / "r", overlays=0))
    lines = str(report).splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:2] == ["class", "images"])
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["lesion", "hair"]
    assert max(map(len, lines[1:])) <= 80
    assert list(report.metrics["trivial"]) == ["everything lesion", "everything hair", "nothing"]
    assert report.metrics["calibration"]["kind"] == "top_label"


@pytest.mark.usefixtures("shifted")
def test_a_new_metric_is_one_entry_of_the_table(
    evaluated: Callable[..., EvaluationReport], tmp_path: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch
):
    """It is then in every file, at both sizes."""
    area = Metric(heading="False area", unit="px", better="lower", of=lambda region: float(region.counts.fp))
    monkeypatch.setitem(metrics_module.METRICS, "false_area", area)
    report = evaluated(masks=phantoms / "masks")
    rows = rows_of(tmp_path / "report")
    assert report.metrics["false_area"]["mean"] == pytest.approx(np.mean([float(row["false_area"]) for row in rows]))
    assert "original_false_area" in rows[0]
    assert "false_area" in report.metrics["original"]
