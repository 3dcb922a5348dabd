"""Estimate mean Dice, and the difference of two arms, with an interval that holds for new trainings and new images.

Two arms are compared by their differences per seed and image: a seed draws the same labelled images for both, and an
image that is hard for one is hard for the other. `stages.comparison.crossed_effects` has the model and its accuracy.

There is no interval below ten groups of images, nor where all values are equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.comparison.crossed_effects import crossed_error, group_columns
from stages.comparison.results import Floats
from stages.errors import UsageError
from stages.runtime.wording import counted
from stages.segmentation.bootstrap import FEW, FEWEST

__all__ = [
    "FEW_SEEDS",
    "Difference",
    "Estimate",
    "estimate_mean",
    "paired_difference",
]

FEW_SEEDS = 5
"""Number of seeds below which a note is made."""
ROUNDING = 1e-10
"""Standard error that rounding errors of equal values can reach."""


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
    p: float | None
    """Two-sided p of "the true mean is 0", from the same distribution as the interval; None without one."""
    notes: tuple[str, ...] = ()
    """Limits of the interval, as sentences for the reader."""

    @property
    def constant(self) -> bool:
        """Return True if all values are equal, so that there is no interval, however many images there are."""
        return self.low is None and self.groups >= FEWEST


@dataclass(frozen=True, kw_only=True)
class Difference(Estimate):
    """Hold the paired difference of two arms: the first minus the second, on the same images and seeds."""

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
    return _estimate(dice, clusters, lowest=0.0)


def paired_difference(first: Floats, second: Floats, clusters: Sequence[str]) -> Difference:
    """Return the mean of `first` minus `second` with its interval, which is cut to [-1, 1], p and win rate.

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
    estimate = _estimate(difference, clusters, lowest=-1.0)
    by_image = difference.mean(axis=0).round(12)  # equal Dice may differ in the last bit
    wins = float(np.mean((by_image > 0) + 0.5 * (by_image == 0))) if by_image.size else math.nan
    return Difference(**_fields(estimate), wins=wins)


def _estimate(values: Floats, clusters: Sequence[str], *, lowest: float) -> Estimate:
    """Return the mean of (seed, image) values in [lowest, 1] with its interval and notes."""
    seeds, images = values.shape
    if seeds == 0 or images != len(clusters):
        raise UsageError(
            f"There are scores of {seeds} seeds and {images} images, and groups of {len(clusters)} images. "
            "A comparison needs at least one seed, and a group for every image."
        )
    groups = len(set(clusters))
    plain: dict[str, Any] = {"images": images, "groups": groups}
    plain |= {"low": None, "high": None, "p": None}
    if images == 0:
        note = "No image has a Dice in every run, so nothing can be compared."
        return Estimate(mean=math.nan, per_seed=(math.nan,) * seeds, notes=(note,), **plain)
    plain |= {"mean": float(values.mean()), "per_seed": tuple(map(float, values.mean(axis=1)))}
    there = counted(images, "image") if groups == images else f"{counted(groups, 'group')} of images"
    there = f"There {'is' if groups == 1 else 'are'} {there}."
    if groups < FEWEST:
        note = f"{there} An interval needs at least {FEWEST}, so none is given."
        return Estimate(notes=(note,), **plain)
    error = crossed_error(group_columns(values, clusters))
    if error.size < ROUNDING:
        return Estimate(**plain)
    half, mean = error.half_width(), plain["mean"]
    plain |= {"low": max(lowest, mean - half), "high": min(1.0, mean + half), "p": error.p(mean)}
    return Estimate(notes=_notes(seeds, groups, there), **plain)


def _notes(seeds: int, groups: int, there: str) -> tuple[str, ...]:
    notes = []
    if seeds == 1:
        notes.append(
            "There is one seed. The intervals hold for other images, but not for another training: "
            f"how much the result varies between seeds is unknown. Use {FEW_SEEDS} seeds, or 3 at least."
        )
    elif seeds < FEW_SEEDS:
        notes.append(
            f"There are {seeds} seeds, so the variation between trainings is known only roughly, and the intervals are "
            f"wide for this reason. With {FEW_SEEDS} seeds they may be {_narrowing(seeds):.1f} times narrower."
        )
    if groups < FEW:
        notes.append(
            f"{there} Intervals from fewer than {FEW} are rough, and too narrow where a few images are very "
            "different from the others."
        )
    return tuple(notes)


def _narrowing(seeds: int) -> float:
    """Return how many times narrower an interval becomes with `FEW_SEEDS` seeds if only the seeds' part counts."""
    from scipy.stats import t

    now, then = (float(t.ppf(0.975, count - 1)) / math.sqrt(count) for count in (seeds, FEW_SEEDS))
    return now / then


def _fields(estimate: Estimate) -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in Estimate.__dataclass_fields__}
