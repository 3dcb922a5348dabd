"""The prediction of a run in the viewer: the same as `predict` and `evaluate` compute, and with its split."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import CheckpointError
from stages.evaluate import run as evaluate
from stages.settings import EvaluateSettings
from stages.view import open_viewer
from stages.viewing.prediction import RunPredictor
from stages.viewing.sample_json import SPLIT_FLAGS, sample_json
from store import AttentionStore


def test_dice_is_that_of_evaluate(trained: Path, phantom_store: Path, tmp_path: Path):
    store = AttentionStore.open(phantom_store)
    predictor = RunPredictor(trained, store)
    settings = EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", overlays=0)
    evaluate(settings)
    rows = list(csv.DictReader((tmp_path / "report" / "per_sample.csv").read_text().splitlines()))
    assert rows
    position = {str(name): index for index, name in enumerate(store.ids)}
    for row in rows:
        index = position[row["id"]]
        predicted = predictor.predict(index, store[index])
        assert predicted.dice == pytest.approx(float(row["dice"]), abs=1e-4)
        assert predicted.split == "test"


def test_a_prediction_is_drawn_with_its_probability_and_split(trained: Path, phantom_store: Path):
    store = AttentionStore.open(phantom_store)
    predictor = RunPredictor(trained, store)
    seen: dict[str, set[str]] = {}
    for index in range(len(store)):
        case = sample_json(store, index, store[index], predictor)["case"]
        assert case["scores"].keys() == {"dual"}
        assert case["picture"]["predictions"].keys() == {"dual"}
        assert case["picture"]["probability"]["dual"].startswith("data:image/png")
        seen.setdefault(predictor.predict(index, store[index]).split, set()).update(case["flags"])
    assert seen == {"train": {SPLIT_FLAGS["train"]}, "val": {SPLIT_FLAGS["val"]}, "test": set()}
    foreign = predictor.predict(0, replace(store[0], digest="0" * 64))
    assert foreign.split == ""


def test_a_sample_without_a_mask_has_no_dice(trained: Path, phantom_store: Path):
    store = AttentionStore.open(phantom_store)
    sample = replace(store[0], labelled=False, mask=np.full(store.size, 255, np.uint8))
    case = sample_json(store, 0, sample, RunPredictor(trained, store))["case"]
    assert case["scores"] == {"dual": {"dice": None}}
    assert case["picture"]["truth"] == []


def test_a_run_that_does_not_fit_starts_no_server(trained: Path, make_store, tmp_path: Path):
    with pytest.raises(CheckpointError, match="another recipe"):
        open_viewer(make_store(2), run=trained)
    with pytest.raises(CheckpointError, match="nowhere"):
        open_viewer(make_store(2, name="other.zarr"), run=tmp_path / "nowhere")
