"""Answer how many labels are needed, from the Dice measured at a few numbers of labels.

A power law is fitted to the mean Dice of every arm (`stages.comparison.power_law`). Two questions are answered with it:
how many labels for a Dice, and what more labels would bring. Beyond the measured numbers an answer is an extrapolation
and is called so.

**Intervals.** The means of all arms and numbers of labels are drawn anew 2,000 times. Each draw adds the two
errors of `stages.comparison.crossed_effects`: that of the seeds with covariance A / (S G), from Student's t with S - 1
degrees of freedom, and that of the images with covariance (B - E) / (S G), from t with G - 1. Each draw is fitted, and
the middle 95 % of the answers are the interval. Images are common to all numbers of labels, so their errors shift a
whole curve and hardly change what more labels bring. With S seeds, A has only S - 1 directions; errors in the others
would be taken as 0. So the covariances in A are shrunk towards 0 by the factor 1 - 2 / (S + 1).

Simulated with 48 images, 3 to 10 seeds, 3 or 5 numbers of labels and three curves, "95 %" intervals hold the true
number of labels in 92 to 98 % of cases and the true gain in 94 to 100 %. From a single seed, they would hold the
gain in 57 to 92 %, so there is no interval. All this is for curves that are power laws. Real ones may not be, and no
interval accounts for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stages.comparison.crossed_effects import group_columns, mean_squares
from stages.comparison.power_law import dice_at, fit_power_laws, labels_at
from stages.comparison.results import Comparison, Floats
from stages.segmentation.bootstrap import FEWEST

__all__ = ["Answer", "Curves", "LearningCurve", "fit_curves"]

DRAWS = 2000
CONFIDENCE = 0.95
FEWEST_NUMBERS = 3
"""Numbers of labels that a curve needs: it has three parameters."""
FARTHEST = 10
"""Largest extrapolation: this many times the largest number of labels that was measured."""
FAR = 0.02
"""Distance of a mean from the curve that is noted, in Dice."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Hold a figure that was read from a learning curve."""

    value: float
    """Number of labels (0: with any number, inf: with none), or gain of Dice."""
    low: float | None
    """Lower end of the 95 % interval; None if none can be given."""
    high: float | None
    extrapolated: bool
    """True if the value lies beyond the measured numbers of labels."""


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """Hold the curve fitted to the means of one arm."""

    arm: str
    labels: tuple[int, ...]
    """Numbers of labels that were measured, in increasing order."""
    means: tuple[float, ...]
    """Mean Dice at each of them."""
    fit: Floats
    """(1, 3) a, b and c of a - b n^-c."""
    draws: Floats
    """(draw, 3) curves of means that were drawn anew, in the same order for all arms; empty if there is no interval."""

    @property
    def rises(self) -> bool:
        """Return False if the fitted curve is flat: the measured Dice does not rise with the number of labels."""
        return bool(self.fit[0, 1] > 0)

    @property
    def miss(self) -> float:
        """Return the largest distance of a measured mean from the curve, in Dice."""
        return float(np.abs(dice_at(self.fit, self.labels)[0] - self.means).max())

    def at(self, labels: Floats) -> Floats:
        """Return the Dice of the fitted curve, (number,)."""
        curve: Floats = dice_at(self.fit, labels)[0]
        return curve

    def band(self, labels: Floats) -> tuple[Floats, Floats] | None:
        """Return the ends of the 95 % interval of Dice, (number,) each; None if there is none."""
        if not len(self.draws):
            return None
        low, high = np.quantile(dice_at(self.draws, labels), _TAILS, axis=0)
        return low, high

    def labels_for(self, dice: float) -> Answer:
        """Return the number of labels at which the curve reaches a Dice."""
        return self._numbers(labels_at(self.fit, dice), labels_at(self.draws, dice))

    def labels_to_match(self, other: LearningCurve) -> Answer:
        """Return the number of labels at which the curve reaches what another one has at its largest measured number.

        Both curves are from the same `fit_curves`, so that their draws belong together.
        """
        most = [other.labels[-1]]
        goal, goals = dice_at(other.fit, most)[:, 0], dice_at(other.draws, most)[:, 0]
        return self._numbers(labels_at(self.fit, goal), labels_at(self.draws, goals))

    def gain(self, more: int) -> Answer:
        """Return what further labels would add to the Dice at the largest measured number of labels."""
        ends = [self.labels[-1], self.labels[-1] + more]
        value = float(np.diff(dice_at(self.fit, ends))[0, 0])
        low, high = _quantiles(np.diff(dice_at(self.draws, ends))[:, 0])
        return Answer(value=value, low=low, high=high, extrapolated=True)

    def _numbers(self, fitted: Floats, drawn: Floats) -> Answer:
        low, high = _quantiles(drawn)
        value = float(fitted[0])
        return Answer(value=value, low=low, high=high, extrapolated=value > self.labels[-1])


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Hold the learning curves of a comparison, or the reason why there are none."""

    by_arm: Mapping[str, LearningCurve]
    reason: str = ""
    """A sentence that says why there is no curve; "" if there are curves."""
    notes: tuple[str, ...] = ()
    """Limits of the curves, as sentences for the reader."""


def fit_curves(comparison: Comparison, *, seed: int = 0) -> Curves:
    """Fit a curve to the mean Dice of every arm.

    Args:
        comparison: At least three numbers of labels give curves.
        seed: Of the draws. The same comparison and seed give the same curves.
    """
    labels, arms = comparison.labels, comparison.arms
    if not comparison.ids:
        return Curves(by_arm={}, reason="There is no learning curve: no image has a Dice in every run.")
    if len(labels) < FEWEST_NUMBERS:
        measured = " and ".join(map(str, labels))
        reason = (
            f"There is no learning curve: it needs at least {FEWEST_NUMBERS} numbers of labels, and {measured} "
            f"{'was' if len(labels) == 1 else 'were'} measured. Give more with --labels."
        )
        return Curves(by_arm={}, reason=reason)
    dice = np.stack([comparison.dice(arm, count) for arm in arms for count in labels])
    columns = group_columns(dice, comparison.clusters)
    means, drawn = columns.mean(axis=(1, 2)), _drawn_means(columns, np.random.default_rng(seed))
    variances = _variances(columns).reshape(len(arms), -1)
    curves = {}
    for number, arm in enumerate(arms):
        part = slice(number * len(labels), (number + 1) * len(labels))
        # The variances are rough, so they are averaged with their mean: no number of labels decides the curve alone.
        weights = 1 / (variances[number] + variances[number].mean())
        curves[arm] = LearningCurve(
            arm=arm,
            labels=labels,
            means=tuple(map(float, means[part])),
            fit=fit_power_laws(labels, means[None, part], weights),
            draws=fit_power_laws(labels, drawn[:, part], weights),
        )
    return Curves(by_arm=curves, notes=tuple(_notes(comparison, curves)))


def _drawn_means(columns: Floats, generator: np.random.Generator) -> Floats:
    """Return (draw, table): means of (table, seed, group) tables with the errors of the module; none for one seed."""
    count, seeds, groups = columns.shape
    if seeds == 1 or groups < FEWEST:
        return np.zeros((0, count))
    of_seeds, of_groups, rest = mean_squares(columns)
    shrunk = 2 / (seeds + 1)
    of_seeds = (1 - shrunk) * of_seeds + shrunk * np.diag(np.diag(of_seeds))
    errors = np.zeros((DRAWS, count))
    for part, degrees in ((of_seeds, seeds - 1), (of_groups - rest, groups - 1)):
        values, vectors = np.linalg.eigh(part / (seeds * groups))
        root = vectors * np.sqrt(np.maximum(values, 0))  # B - E may have negative directions, where E is all there is
        scale = np.sqrt(degrees / generator.chisquare(degrees, size=(DRAWS, 1)))
        errors += scale * (generator.standard_normal((DRAWS, count)) @ root.T)
    drawn: Floats = np.clip(columns.mean(axis=(1, 2)) + errors, 0, 1)
    return drawn


def _variances(columns: Floats) -> Floats:
    """Return (table,): a positive variance of the mean of each table, for the weights. All 1 if none is known."""
    _, seeds, groups = columns.shape
    if groups == 1:
        return np.ones(len(columns))
    a, b, e = (np.diag(part) for part in mean_squares(columns))
    variances: Floats = np.maximum(a + b - e, np.maximum(a, b)) / (seeds * groups)
    return variances + max(1e-12, 1e-3 * float(variances.max()))


def _notes(comparison: Comparison, curves: Mapping[str, LearningCurve]) -> list[str]:
    notes = []
    if len(comparison.seeds) == 1:
        notes.append("There is one seed, so the learning curves have no intervals.")
    elif not all(len(curve.draws) for curve in curves.values()):
        notes.append(f"There are fewer than {FEWEST} images or groups, so the learning curves have no intervals.")
    for curve in curves.values():
        if not curve.rises:
            notes.append(f"The Dice of {curve.arm} does not rise with the number of labels, so its curve is flat.")
        elif curve.miss > FAR:
            notes.append(
                f"The curve of {curve.arm} misses a measured mean by {curve.miss:.2f} Dice, so its answers are rough."
            )
    return notes


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _quantiles(values: Floats) -> tuple[float | None, float | None]:
    """Return the ends of the middle 95 %; None without values. They may be infinite, so they are not interpolated."""
    if not len(values):
        return None, None
    low, high = np.quantile(values, _TAILS, method="nearest")
    return float(low), float(high)
