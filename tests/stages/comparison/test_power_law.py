from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from stages.comparison.power_law import dice_at, fit_power_laws, labels_at

LABELS = (8, 16, 32, 64, 128)


@pytest.mark.parametrize("known", [(0.85, 0.8, 0.6), (0.95, 0.9, 0.3), (0.7, 2.0, 1.5), (1.0, 1.1, 0.5)])
def test_known_parameters_are_found_from_exact_values(known):
    a, b, c = known
    dice = a - b * np.array(LABELS, dtype=float) ** -c
    [found] = fit_power_laws(LABELS, dice[None], np.ones(5))
    assert found == pytest.approx(known, rel=0.08)  # c lies on a grid with steps of 5 %
    assert dice_at(found[None], LABELS)[0] == pytest.approx(dice, abs=2e-3)


def test_many_curves_are_fitted_as_each_one_alone():
    dice = np.random.default_rng(0).uniform(0.4, 0.9, (20, 5))
    together = fit_power_laws(LABELS, dice, np.arange(1.0, 6.0))
    alone = [fit_power_laws(LABELS, one[None], np.arange(1.0, 6.0))[0] for one in dice]
    assert together == pytest.approx(np.array(alone))


def test_no_better_curve_is_found_by_a_general_search():
    """Noisy, flat and falling curves, also such that lie on the border of the allowed range."""
    generator = np.random.default_rng(1)
    weights = generator.uniform(1, 5, 5)
    numbers = np.array(LABELS, dtype=float)
    for slope in (0.1, 0.02, 0.0, -0.05):
        dice = np.clip(0.7 + slope * np.log2(numbers / 32) + 0.03 * generator.normal(size=5), 0, 1)

        def loss(p, dice=dice):
            return float(weights @ (dice - p[0] + p[1] * (numbers / 8) ** -p[2]) ** 2)

        [(a, b, c)] = fit_power_laws(LABELS, dice[None], weights)
        starts = [(0.8, 0.3, speed) for speed in (0.05, 0.3, 1.0)]
        bounds = [(0, 1), (0, None), (0.05, 2)]
        best = min(minimize(loss, start, bounds=bounds).fun for start in starts)
        assert loss((a, b * 8**-c, c)) <= best * 1.01 + 1e-7


@pytest.mark.parametrize("dice", [[0.6] * 5, [0.8, 0.75, 0.7, 0.65, 0.6]])
def test_without_a_rise_the_curve_is_flat_at_the_weighted_mean(dice):
    weights = np.array([1.0, 1, 1, 1, 4])
    [(a, b, _)] = fit_power_laws(LABELS, np.array([dice]), weights)
    assert b == pytest.approx(0, abs=1e-9)
    assert a == pytest.approx(np.average(dice, weights=weights))


def test_the_asymptote_is_never_above_one():
    """A straight rise over log n has no asymptote below 1."""
    [(a, _, _)] = fit_power_laws(LABELS, np.array([[0.3, 0.45, 0.6, 0.75, 0.9]]), np.ones(5))
    assert a == 1


def test_labels_at_is_the_inverse_of_dice_at():
    curves = np.array([[0.9, 0.8, 0.6], [0.8, 0.4, 1.0]])
    for number in (10.0, 100.0):
        dice = dice_at(curves, [number])[:, 0]
        assert labels_at(curves, dice) == pytest.approx([number, number])


def test_a_dice_that_is_never_reached_needs_infinitely_many_labels():
    curves = np.array([[0.8, 0.5, 0.5], [0.8, 0.0, 0.5], [0.9, 0.0, 0.5]])
    assert labels_at(curves, 0.85).tolist() == [math.inf, math.inf, 0.0]
    assert labels_at(curves[:1], 0.8).tolist() == [math.inf]


def test_dice_is_not_negative():
    assert dice_at(np.array([[0.5, 3.0, 1.0]]), [1, 2]).tolist() == [[0.0, 0.0]]
