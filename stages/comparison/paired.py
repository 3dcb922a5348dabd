"""Estimate mean Dice, and the difference of two arms, with an interval that holds for new trainings and new images.

Dice is a table of seeds × images. Both are samples: another seed draws other labelled images and other weights, and
another test set would hold other images. The model is that of two crossed random effects, for a difference as for a
single arm:

    dice[seed, image] = mean + effect of the seed + effect of the image + rest

With S seeds and G images the mean squares of the seeds (A), of the images (B) and of the rest (E) estimate the variance
of the grand mean without bias, and Satterthwaite's formula gives the degrees of freedom of Student's t:

    variance = (A + B - E) / (S G)
    degrees  = (A + B - E)² / (A² / (S-1) + B² / (G-1) + E² / ((S-1)(G-1)))

With few seeds the estimate can be far too small by chance. So it is never taken below A / (S G) or B / (S G): the
interval is at least as wide as the Student intervals over seeds alone and over images alone. One seed leaves
B / (S G), and a note says what that interval lacks.

**Groups.** Images of one patient are alike. The images of a group are first summed to one column of the table:
y[seed, group] = mean + G / I × the sum of (dice - mean) over the group's images, for I images in G groups. The mean of
y is the mean over images, and B becomes the variance between groups (linearised, as in cluster sampling).

**Why not the percentile bootstrap.** Drawing seeds and images with replacement (the pigeonhole bootstrap, Owen 2007)
gives intervals that are too narrow for few seeds and too wide where the rest dominates. Coverage of "95 %" intervals,
simulated with 10 to 200 images and standard deviations of 0 to .03 for seeds, 0 to .1 for images, .02 to .1 for the
rest:

| seeds | pigeonhole bootstrap | this module | Student over seeds | Student over images |
|------:|---------------------:|------------:|-------------------:|--------------------:|
|     2 |           55 to 100 % | 87 to 98 % |         85 to 96 % |           8 to 96 % |
|     3 |           72 to 100 % | 92 to 98 % |         64 to 96 % |           7 to 96 % |
|     5 |           82 to 100 % | 94 to 98 % |         41 to 96 % |           8 to 96 % |
|    10 |           88 to 100 % | 94 to 98 % |         26 to 96 % |           7 to 96 % |

With skewed effects (exponential) the lowest coverage of this module is 82, 87, 88 and 90 %.

Sources: Satterthwaite 1946, "An approximate distribution of estimates of variance components"; Searle, Casella and
McCulloch 1992, "Variance Components", chapter 4; Owen 2007, "The pigeonhole bootstrap".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.comparison.results import Floats
from stages.errors import UsageError
from stages.segmentation.bootstrap import FEW, FEWEST

__all__ = [
    "FEW_SEEDS",
    "Difference",
    "Estimate",
    "estimate_mean",
    "group_columns",
    "mean_squares",
    "paired_difference",
]

CONFIDENCE = 0.95
FEW_SEEDS = 5
"""Number of seeds below which a note is made."""
ROUNDING = 1e-20
"""Variance of a mean that rounding errors of equal values can reach."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Hold a mean over seeds and images, with its 95 % interval."""

    mean: float
    """Mean Dice, or mean difference of Dice. nan without images."""
    low: float | None
    """Lower end of the interval; None if there are too few images, or if all values are equal."""
    high: float | None
    per_seed: tuple[float, ...]
    """Mean over the images for each seed."""
    images: int
    groups: int
    """Number of groups of the images; equal to `images` if every image is its own group."""
    variance: float | None
    """Variance of the mean; None where the interval is None."""
    degrees: float | None
    """Degrees of freedom of that variance; None where the interval is None."""
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the interval."""

    @property
    def constant(self) -> bool:
        """Return True if all values are equal, so that there is no interval, however many images there are."""
        return self.low is None and self.groups >= FEWEST


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """Hold the paired difference of two arms: the first minus the second, on the same images and seeds."""

    p: float | None
    """Two-sided p of "no difference on average", from the same t distribution as the interval; None without one."""
    wins: float
    """Share of the images on which the first arm is better on average over seeds; ties count half. nan if no image."""


def estimate_mean(dice: Floats, clusters: Sequence[str]) -> Estimate:
    """Return the mean Dice of an arm with its interval, which is cut to [0, 1].

    Args:
        dice: (seed, image) in [0, 1], without nan.
        clusters: Group of each image.

    Raises:
        UsageError: there is no seed, or `clusters` has another length than the images.
    """
    estimate = _estimate(dice, clusters)
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def paired_difference(first: Floats, second: Floats, clusters: Sequence[str]) -> Difference:
    """Return the mean of `first` minus `second` with its interval, p and win rate.

    Args:
        first: (seed, image) Dice of one arm, without nan.
        second: (seed, image) Dice of the other arm, for the same seeds and images in the same order.
        clusters: Group of each image.

    Raises:
        UsageError: the two are not of the same shape, there is no seed, or `clusters` has another length.
    """
    if first.shape != second.shape:
        raise UsageError(
            f"A paired difference needs the same seeds and images of both arms, but there are {first.shape} and "
            f"{second.shape} scores. Score both arms on the same split."
        )
    difference = first - second
    estimate = _estimate(difference, clusters)
    p = None
    if estimate.variance is not None and estimate.degrees is not None:
        from scipy.stats import t

        p = float(2 * t.sf(abs(estimate.mean) / math.sqrt(estimate.variance), estimate.degrees))
    by_image = difference.mean(axis=0).round(12)  # equal Dice may differ in the last bit
    wins = float(np.mean((by_image > 0) + 0.5 * (by_image == 0))) if by_image.size else math.nan
    return Difference(**_fields(estimate), p=p, wins=wins)


def group_columns(values: Floats, clusters: Sequence[str]) -> Floats:
    """Return the values by group, (…, seed, group), so that their mean is the mean over images.

    Args:
        values: (…, seed, image).
        clusters: Group of each image, at least one.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    number = np.array([numbers[name] for name in clusters])
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(numbers)))
    grand = values.mean(axis=(-2, -1), keepdims=True)
    sums = np.add.reduceat((values - grand)[..., order], starts, axis=-1)
    columns: Floats = grand + (len(numbers) / len(clusters)) * sums
    return columns


def mean_squares(columns: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean squares of several tables over the same seeds and groups, and their mean products.

    Args:
        columns: (table, seed, group), as `group_columns` returns them; at least two groups.

    Returns:
        (table, table) each: A of the seeds, B of the groups and E of the rest. With one seed, A and E are 0.
    """
    count, seeds, groups = columns.shape
    by_seed, by_group, grand = columns.mean(axis=2), columns.mean(axis=1), columns.mean(axis=(1, 2))
    off_seed, off_group = by_seed - grand[:, None], by_group - grand[:, None]
    rest = (columns - by_seed[:, :, None] - by_group[:, None, :] + grand[:, None, None]).reshape(count, -1)
    freedom = max(1, seeds - 1)  # of the seeds; with one seed all their deviations are 0
    of_seeds: Floats = groups * (off_seed @ off_seed.T) / freedom
    of_groups: Floats = seeds * (off_group @ off_group.T) / (groups - 1)
    of_rest: Floats = rest @ rest.T / (freedom * (groups - 1))
    return of_seeds, of_groups, of_rest


def _variance(columns: Floats) -> tuple[float, float]:
    """Return the variance of the mean of a (seed, group) table and its degrees of freedom; see the module."""
    seeds, groups = columns.shape
    a, b, e = (float(part[0, 0]) for part in mean_squares(columns[None]))
    cells, unbiased = seeds * groups, a + b - e
    if unbiased > max(a, b):
        spread = a**2 / (seeds - 1) + b**2 / (groups - 1) + e**2 / ((seeds - 1) * (groups - 1))
        return unbiased / cells, unbiased**2 / spread
    return max(a, b) / cells, float(seeds - 1 if a > b else groups - 1)


def _estimate(values: Floats, clusters: Sequence[str]) -> Estimate:
    """Return the mean of (seed, image) values with its interval and notes."""
    seeds, images = values.shape
    if seeds == 0 or images != len(clusters):
        raise UsageError(
            f"There are scores of {seeds} seeds and {images} images, and groups of {len(clusters)} images. "
            "A comparison needs at least one seed, and a group for every image."
        )
    groups = len(set(clusters))
    plain: dict[str, Any] = {"images": images, "groups": groups}
    plain |= {"low": None, "high": None, "variance": None, "degrees": None}
    if images == 0:
        note = "No image has a Dice in every run, so nothing can be compared."
        return Estimate(mean=math.nan, per_seed=(math.nan,) * seeds, notes=(note,), **plain)
    plain |= {"mean": float(values.mean()), "per_seed": tuple(map(float, values.mean(axis=1)))}
    what = "images" if groups == images else "groups of images"
    if groups < FEWEST:
        note = f"There are {groups} {what}. An interval needs at least {FEWEST}, so none is given."
        return Estimate(notes=(note,), **plain)
    variance, degrees = _variance(group_columns(values, clusters))
    if variance < ROUNDING:
        return Estimate(**plain)
    from scipy.stats import t

    half = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * math.sqrt(variance)
    plain |= {"low": plain["mean"] - half, "high": plain["mean"] + half}
    plain |= {"variance": variance, "degrees": degrees}
    return Estimate(notes=_notes(seeds, groups, what), **plain)


def _notes(seeds: int, groups: int, what: str) -> tuple[str, ...]:
    notes = []
    if seeds == 1:
        notes.append(
            "There is one seed. The intervals hold for other images, but not for another training: "
            "how much the result varies between seeds is unknown. Use at least 3 seeds."
        )
    elif seeds < FEW_SEEDS:
        notes.append(
            f"There are {seeds} seeds. From fewer than {FEW_SEEDS}, the variation between trainings is known only "
            "roughly, and the intervals are wide for this reason."
        )
    if groups < FEW:
        notes.append(
            f"There are {groups} {what}. Intervals from fewer than {FEW} are rough, "
            "and too narrow where a few images are very different from the others."
        )
    return tuple(notes)


def _fields(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in Estimate.__dataclass_fields__}
