"""Whether a training was still getting better at its end."""

from __future__ import annotations

import pytest

from stages.runs.history import Row
from stages.segmentation.convergence import still_improving


def _history(losses: list[float], dice: list[float | None]) -> list[Row]:
    return [{"loss": loss, "val_dice": one} for loss, one in zip(losses, dice, strict=True)]


RISING: list[float | None] = [0.05 * step for step in range(15)]
LEVEL: list[float | None] = [0.5] * 15
FALLING = [1.0 - 0.05 * step for step in range(15)]


def test_the_validation_dice_decides_where_there_is_one():
    """A loss that still falls while the validation Dice stays is no improvement: the model only fits its images."""
    assert still_improving(_history(FALLING, RISING)) is True
    assert still_improving(_history(FALLING, LEVEL)) is False
    assert still_improving(_history([0.3] * 15, RISING)) is True


def test_the_loss_decides_without_validation_samples():
    assert still_improving(_history(FALLING, [None] * 15)) is True
    assert still_improving(_history([0.3] * 15, [None] * 15)) is False
    assert still_improving(_history([0.3 - 0.0005 * step for step in range(15)], [None] * 15)) is False


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_epochs_cannot_say(count: int):
    assert still_improving(_history(FALLING[:count], RISING[:count])) is None


def test_one_good_epoch_at_the_end_is_chance():
    assert still_improving(_history([0.3] * 50, [*([0.5] * 49), 0.55])) is False
