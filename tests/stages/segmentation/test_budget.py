"""The length of a training, in epochs, in exact steps, or not given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.segmentation.batches import shuffled
from stages.segmentation.budget import Budget, with_epochs
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


@pytest.mark.parametrize(
    ("samples", "batch_size", "epochs", "steps"),
    [
        pytest.param(65, 16, 400, 2000, id="65_labels"),
        pytest.param(1, 16, 2000, 2000, id="one_label"),
        pytest.param(48, 16, 667, 2001, id="no_epoch_is_cut"),
        pytest.param(784, 16, 41, 2009, id="just_above_40_epochs"),
        pytest.param(800, 16, 40, 2000, id="40_epochs_are_2000_steps"),
        pytest.param(2000, 8, 40, 10_000, id="a_large_set_keeps_40"),
    ],
)
def test_a_length_that_is_not_given_is_at_least_40_epochs_and_2000_steps(samples, batch_size, epochs, steps):
    budget = _budget(samples, batch_size=batch_size, epochs=None)
    assert (budget.epochs, budget.steps) == (epochs, steps)
    assert budget.samples_until(epochs) == epochs * samples


@pytest.mark.parametrize("epochs", [1, 40, 401])
def test_epochs_that_are_given_are_kept_however_few_or_many(epochs: int):
    assert _budget(65, batch_size=16, epochs=epochs).steps == 5 * epochs


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        pytest.param({"epochs": None}, 400, id="the_default_of_this_version"),
        pytest.param({"epochs": 7}, 7, id="epochs"),
        pytest.param({"epochs": None, "steps": 9}, 40, id="steps_as_earlier_versions_recorded_them"),
        pytest.param({"epochs": 7, "steps": 9}, 7, id="both_in_a_program"),
    ],
)
def test_a_run_records_a_number_of_epochs(given, recorded):
    settings = train_settings(Path("s"), Path("r"), batch_size=16, **given)
    assert with_epochs(settings, 65).epochs == recorded
    assert Budget.of(with_epochs(settings, 65), 65) == Budget.of(settings, 65)
