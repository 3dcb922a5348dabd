"""What a training says at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.segmentation.training_report import TrainingReport


def _text(**changes: Any) -> str:
    values: dict[str, Any] = {
        "out": Path("runs/a"),
        "samples": {"train": 34, "val": 12, "test": 20},
        "parameters": 500_000,
        "best_epoch": 19,
        "val_dice": 0.8234,
        "epochs": 200,
        "steps": 600,
    }
    return str(TrainingReport(**values | changes))


def test_the_best_of_many_epochs_is_not_called_a_validation_score():
    text = _text()
    assert "epoch 19, the best of 200 by its Dice on 12 validation samples: 0.823" in text
    assert "too high an estimate" in text
    assert "validation Dice" not in text


def test_few_validation_samples_do_not_choose_and_the_text_says_so():
    text = _text(samples={"train": 34, "val": 5, "test": 20}, best_epoch=200)
    assert "weights of the last epoch, 200, because fewer than 10 validation samples" in text
    assert "best of" not in text


def test_without_validation_samples_there_is_no_score():
    assert "there are no validation samples" in _text(val_dice=None, samples={"train": 3, "val": 0, "test": 2})


@pytest.mark.parametrize(("steps", "said"), [(75, True), (1999, True), (2000, False), (4000, False)])
def test_a_short_training_is_called_short(steps: int, said: bool):  # noqa: FBT001 - a column of the table
    assert ("are few" in _text(steps=steps)) is said


@pytest.mark.parametrize(("improving", "said"), [(True, True), (False, False), (None, False)])
def test_a_training_that_was_still_improving_says_so(improving: bool | None, said: bool):  # noqa: FBT001 - likewise
    assert ("still improving at the last step: train longer" in _text(improving=improving, steps=4000)) is said
