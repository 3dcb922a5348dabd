"""Evaluation of objects and of labels that overlap, at the size of the store and of the image."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages.errors import CheckpointError, UsageError
from stages.evaluate import run
from stages.segmentation.checkpoint import load_model, require_fit
from stages.settings import EvaluateSettings
from store import AttentionStore
from tests.conftest import extract_settings


def test_objects_are_scored_at_both_sizes(phantoms: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch):
    """The right region has a perfect AJI if objects lie apart; metrics, rows and summary have the objects."""
    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    masks = tmp_path / "objects"
    masks.mkdir()
    two = np.zeros((36, 48), np.uint8)
    two[6:18, 6:18], two[20:32, 28:44] = 1, 2
    for file in (phantoms / "images").iterdir():
        Image.fromarray(two).save(masks / file.name)
    store = tmp_path / "s.zarr"
    extract(extract_settings(phantoms, store, memo, masks=masks, labels="instances"))
    train(train_settings(store, tmp_path / "run", epochs=1))

    def answer(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        return torch.nn.functional.one_hot(batch.mask.long(), 2).movedim(-1, 1).float()

    monkeypatch.setattr("stages.segmentation.scoring.predict_probabilities", answer)
    for method in ("components", "watershed"):
        settings = EvaluateSettings(
            store=store, run=tmp_path / "run", out=tmp_path / method, masks=masks, overlays=0, instances=method
        )
        report = run(settings)
        found, number = report.metrics["instances"], report.metrics["n"]
        assert found["aji"]["mean"] == found["pq"]["mean"] == found["dq"]["mean"] == 1
        assert found["true_objects"] == found["predicted_objects"] == 2 * number
        assert 0.8 < report.metrics["original"]["instances"]["aji"]["mean"] < 1
        with (tmp_path / method / "per_sample.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {(row["aji"], row["true_objects"], row["original_true_objects"]) for row in rows} == {("1", "2", "2")}
        assert "objects: AJI 1.000, PQ 1.000" in str(report)


def test_objects_cannot_be_scored_without_true_objects(phantom_store: Path, trained: Path, tmp_path: Path):
    """A store of plain masks is refused with the option that keeps objects."""
    settings = EvaluateSettings(store=phantom_store, run=trained, out=tmp_path / "report", instances="components")
    with pytest.raises(UsageError, match="--labels instances"):
        run(settings)


def test_labels_that_overlap_are_trained_and_scored_at_both_sizes(
    phantoms: Path, tmp_path: Path, memo: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each of two labels, one inside the other, has its score; a run for plain classes does not fit such a store."""
    import shutil
    from dataclasses import replace

    from stages.extract import run as extract
    from stages.train import run as train
    from tests.conftest import train_settings

    root = tmp_path / "set"
    (root / "masks").mkdir(parents=True)
    shutil.copytree(phantoms / "images", root / "images")
    for file in (phantoms / "masks").iterdir():
        identifier = file.stem.removesuffix("_segmentation")
        whole = np.asarray(Image.open(file).convert("L"))
        lower = whole * (np.arange(36)[:, None] >= 18).astype(np.uint8)
        Image.fromarray(whole).save(root / "masks" / f"{identifier}_attribute_whole.png")
        Image.fromarray(lower).save(root / "masks" / f"{identifier}_attribute_lower.png")
    store, trained = tmp_path / "s.zarr", tmp_path / "run"
    pattern = {"labels": "multilabel", "mask_pattern": "{id}_attribute_{label}.png"}
    extract(extract_settings(root, store, memo, **pattern))
    train(train_settings(store, trained, epochs=2))
    settings = EvaluateSettings(store=store, run=trained, out=tmp_path / "r", masks=root / "masks", overlays=1)
    assert run(settings).metrics["dice"]["mean"] < 1

    def bits(_model, batch, _norm, _portions, _name) -> torch.Tensor:
        labels = [(batch.mask >> label & 1).float() for label in range(2)]
        return torch.stack([torch.zeros_like(labels[0]), *labels], dim=1)

    monkeypatch.setattr("stages.segmentation.scoring.predict_probabilities", bits)
    metrics = run(settings).metrics
    assert metrics["dice"]["mean"] == 1
    for name in ("lower", "whole"):
        assert metrics["per_class"][name]["dice"]["mean"] == 1
        assert 0.8 < metrics["original"]["per_class"][name]["dice"]["mean"] < 1
    _, card = load_model(trained, torch.device("cpu"))
    plain = replace(card, network=replace(card.network, multilabel=False))
    with pytest.raises(CheckpointError, match="--labels of the run's store"):
        require_fit(plain, trained, AttentionStore.open(store))
