"""Features of tiles are placed where the tiles lie."""

from __future__ import annotations

import numpy as np
import pytest

from stages.features.found import Features
from stages.features.placing import place, step_of
from stages.features.reduction import as_maps


def at(places: list[tuple[float, float]], side: float) -> Features:
    left, top = np.array(places, np.float64).T
    return Features(np.zeros((len(places), 1), np.float32), left, top, (side, side))


def test_a_cell_has_the_mean_of_its_tiles_by_area():
    """One tile covers the left quarter of the first cell, one all of it; the second cell has none."""
    placed, covered = place(at([(-7.5, 0), (0, 0)], 10), np.array([[4.0], [1.0]], np.float32), (0, 0, 10, 20), (1, 2))
    assert placed.ravel().tolist() == [pytest.approx((4 * 0.25 + 1) / 1.25), 0]
    assert covered == 0.5


def test_a_tile_that_touches_a_cell_is_not_in_it():
    placed, covered = place(at([(10, 0)], 10), np.ones((1, 1), np.float32), (0, 0, 10, 20), (1, 2))
    assert placed.ravel().tolist() == [0, 1]
    assert covered == 0.5


def test_the_step_is_the_distance_of_neighbours():
    assert step_of(at([(0, 0), (8, 0), (24, 30)], 10)) == (30, 8)
    assert step_of(at([(3, 4)], 10)) == (10, 10)


def test_maps_are_values_that_a_store_can_hold():
    """Not negative, at most 1, finite; the logarithm gives the component back."""
    components = np.linspace(-9, 9, 181, dtype=np.float32)
    maps = as_maps(components)
    assert maps.min() > 1e-4
    assert maps.max() == 1
    np.testing.assert_allclose(np.log(maps.astype(np.float64)) + 4, np.clip(components, -4, 4), atol=2e-3)
