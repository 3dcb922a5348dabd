"""The length of a training, in epochs or in exact steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.segmentation.batches import shuffled
from stages.segmentation.budget import Budget
from tests.conftest import train_settings


def _budget(samples: int, **changes: int | None) -> Budget:
    return Budget.of(train_settings(Path("s"), Path("r"), **changes), samples)


@pytest.mark.parametrize(
    ("samples", "batch_size", "steps"), [(34, 16, 75), (5, 8, 9), (33, 4, 20), (7, 3, 1), (9, 3, 3)]
)
def test_the_steps_and_samples_of_all_epochs_add_up(samples: int, batch_size: int, steps: int):
    """The number of samples is counted in the batches that the training draws."""
    budget = _budget(samples, batch_size=batch_size, steps=steps)
    sizes: list[int] = []
    for epoch in range(1, budget.epochs + 1):
        batches = shuffled(np.arange(samples), batch_size, seed=0, epoch=epoch)[: budget.steps_in(epoch)]
        sizes += map(len, batches)
        assert budget.samples_until(epoch) == sum(sizes)
    assert len(sizes) == budget.steps == steps
    assert budget.samples_until(0) == 0


def test_epochs_are_passes_over_all_samples():
    budget = _budget(34, batch_size=16, epochs=25)
    assert (budget.steps_per_epoch, budget.steps, budget.epochs) == (3, 75, 25)
    assert budget.samples_until(25) == 25 * 34


def test_steps_take_the_place_of_epochs():
    budget = _budget(34, batch_size=16, epochs=25, steps=10)
    assert (budget.steps, budget.epochs, budget.steps_in(4)) == (10, 4, 1)
