"""Fit Dice against the number of labels n by a power law with an asymptote: dice(n) = a - b n^-c.

a in [0, 1] is what very many labels would give, b >= 0, and c in [0.05, 2] is the speed. For a fixed c the best a and b
are those of a weighted linear regression on n^-c, or lie on the border of the allowed range. So c is tried on a grid,
and a and b follow without a starting value and without iterations (variable projection, Golub & Pereyra 1973).
Thousands of curves are fitted at once.

The form is the usual one for learning curves (Cortes et al. 1994; Hestness et al. 2017; Mahmood et al. 2022 compare it
with others: none is best on all data sets, and all are poor far beyond the measured numbers).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stages.comparison.results import Floats

__all__ = ["dice_at", "fit_power_laws", "labels_at"]

SPEEDS = np.geomspace(0.05, 2, 80)
"""Values of c that are tried; neighbours differ by 5 %."""


def fit_power_laws(labels: ArrayLike, dice: Floats, weights: Floats) -> Floats:
    """Return (curve, 3): a, b and c of the curve with the least weighted sum of squares.

    Without a rise, b is 0 and a is the weighted mean.

    Args:
        labels: (number,) numbers of labels, at least 1.
        dice: (curve, number) mean Dice of each curve at each number of labels.
        weights: (number,) positive weights of the squares.
    """
    numbers = np.asarray(labels, dtype=np.float64)
    smallest = numbers.min()
    x = (numbers / smallest) ** -SPEEDS[:, None]  # (speed, number), in (0, 1]
    total, x_sum, xx_sum = weights.sum(), x @ weights, (x * x) @ weights
    y_sum, xy_sum = (dice @ weights)[:, None], dice @ (weights * x).T  # (curve, 1), (curve, speed)
    with np.errstate(divide="ignore", invalid="ignore"):
        b = (x_sum * y_sum - total * xy_sum) / (total * xx_sum - x_sum**2)
    a = (y_sum + b * x_sum) / total
    candidates = [
        (np.where((a >= 0) & (a <= 1) & (b >= 0), a, np.nan), b),
        (np.broadcast_to(np.clip(y_sum / total, 0, 1), b.shape), np.zeros_like(b)),
        (np.ones_like(b), np.maximum(0, (x_sum - xy_sum) / xx_sum)),
    ]
    asymptotes, falls = (np.stack(values) for values in zip(*candidates, strict=True))  # (candidate, curve, speed)
    fitted = asymptotes[..., None] - falls[..., None] * x
    loss = np.nan_to_num(((dice[:, None] - fitted) ** 2) @ weights, nan=np.inf)
    best = loss.transpose(1, 0, 2).reshape(len(dice), len(candidates) * len(SPEEDS)).argmin(axis=1)
    candidate, speed = np.unravel_index(best, (len(candidates), len(SPEEDS)))
    curve = np.arange(len(dice))
    c = SPEEDS[speed]
    return np.stack([asymptotes[candidate, curve, speed], falls[candidate, curve, speed] * smallest**c, c], axis=1)


def dice_at(curves: Floats, labels: ArrayLike) -> Floats:
    """Return (curve, number): Dice of every curve at every number of labels, not below 0.

    Args:
        curves: (curve, 3) from `fit_power_laws`.
        labels: (number,) numbers of labels, at least 1.
    """
    a, b, c = (column[:, None] for column in curves.T)
    value: Floats = np.maximum(0, a - b * np.asarray(labels, dtype=np.float64) ** -c)
    return value


def labels_at(curves: Floats, dice: ArrayLike) -> Floats:
    """Return (curve,): the number of labels at which every curve reaches a Dice; 0 if always, inf if never.

    Args:
        curves: (curve, 3) from `fit_power_laws`.
        dice: The Dice to reach, or one for each curve.
    """
    a, b, c = curves.T
    target = np.broadcast_to(np.asarray(dice, dtype=np.float64), a.shape)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        numbers = (b / (a - target)) ** (1 / c)
    reached = np.where(b > 0, a > target, a >= target)
    result: Floats = np.where(reached, np.where(b > 0, numbers, 0.0), np.inf)
    return result
