"""Long trainings score the validation samples a hundred times, not after every epoch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.segmentation.budget import VALIDATIONS, Budget
from stages.segmentation.checkpoint import load_model, load_state
from stages.segmentation.convergence import still_improving
from stages.settings import TrainSettings
from stages.train import run
from tests.conftest import train_settings
from tests.stages.compared_runs import interrupt, same_weights


@pytest.mark.parametrize("epochs", [1, 2, 40, 99, 100, 101, 150, 199, 2000])
def test_validations_are_at_most_a_hundred_evenly_spread_and_at_the_end(epochs: int):
    budget = Budget.of(TrainSettings(epochs=epochs, batch_size=4), 4)
    due = [epoch for epoch in range(1, epochs + 1) if budget.validates_after(epoch)]
    assert len(due) == min(epochs, VALIDATIONS)
    assert due[-1] == epochs
    distances = {later - earlier for earlier, later in zip([0, *due], due, strict=False)}
    assert max(distances) - min(distances) <= 1


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Score the validation samples twice in a training, and let any number of them choose the epoch."""
    monkeypatch.setattr("stages.segmentation.budget.VALIDATIONS", 2)
    monkeypatch.setattr("stages.segmentation.trainer.FEWEST_TO_CHOOSE", 1)


def _settings(store: Path, out: Path, **changes: Any) -> TrainSettings:
    settings: TrainSettings = train_settings(store, out, **{"epochs": 5, "width": 2, **changes})
    return settings


@pytest.mark.usefixtures("seldom")
def test_the_best_epoch_is_one_that_was_scored(phantom_store: Path, tmp_path: Path):
    """Epochs 3 and 5 of five are scored. The card's Dice is that of the epoch it names."""
    report: Any = run(_settings(phantom_store, tmp_path / "a"))
    history = load_state(tmp_path / "a" / "state.safetensors").history
    assert [row["val_dice"] is not None for row in history] == [False, False, True, False, True]
    assert report.best_epoch in (3, 5)
    _, card = load_model(tmp_path / "a", torch.device("cpu"))
    assert card.val_dice == history[card.epoch - 1]["val_dice"] == max(history[2]["val_dice"], history[4]["val_dice"])


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize("at", [2, 3, 4, 5])
def test_a_run_that_is_killed_before_or_after_a_validation_is_resumed_exactly(
    phantom_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    """Also while no epoch has been scored yet."""
    run(_settings(phantom_store, tmp_path / "whole"))
    settings = _settings(phantom_store, tmp_path / "stopped")
    interrupt(settings, monkeypatch, at=at)
    run(replace(settings, resume=True))
    assert same_weights(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize(("last", "improving"), [(0.9, True), (0.5, False)])
def test_convergence_is_judged_by_the_scores_that_there_are(last: float, improving: bool):  # noqa: FBT001 - a column
    rows = [{"epoch": epoch, "loss": 1.0, "val_dice": None} for epoch in range(1, 21)]
    rows[13]["val_dice"], rows[18]["val_dice"] = 0.5, last
    assert still_improving(rows) is improving
