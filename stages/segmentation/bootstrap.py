"""Bootstrap intervals of a mean over images, and of a paired difference.

A test set is a small sample of all images, so a mean score is reported with the percentile interval of its bootstrap
distribution (Efron & Tibshirani 1993, chapter 13): the images are drawn again with replacement 10,000 times, and the
middle 95 % of the means is the interval. Two models that were scored on the same images are compared by the mean of the
differences per image; comparing two intervals would ignore that hard images are hard for both.

Images of one group, such as one patient, resemble each other. So whole groups are drawn, each with all of its images
(cluster bootstrap, Davison & Hinkley 1997, section 3.8), and the mean is over the images that were drawn. Where every
image is a group of its own this is the bootstrap over images, value for value. The number of groups, not of images, is
what makes an interval reliable.

The percentile interval is too narrow for few groups. Measured on Dice scores of images that are groups of their own,
95 % intervals hold the true mean in this share of cases:

    images   5      8      13     20     43 and more
    share    64 %   75 %   80 %   86 %   93 %

So there is no interval below ten groups.

Values that are nan (a sensitivity where there is nothing to find) are left out, and `n` is the number of the others.
Values are sorted first, so that the order of the samples does not change an interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
from scipy import stats

from stages.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FEW", "FEWEST", "Interval", "mean_interval", "paired_difference"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
FEWEST = 10
"""Number of groups below which there is no interval."""
FEW = 30
"""Number of groups below which an interval is clearly too narrow."""
VALUES_AT_A_TIME = 2**22
"""Values drawn per batch of resamples: some 100 MiB for them and their indices, however many samples there are."""


class Interval(TypedDict):
    """A mean with its 95 % bootstrap interval. None stands for what is not defined, because JSON has no nan."""

    mean: float | None
    """None if no value was left."""
    low: float | None
    """None below `FEWEST` groups."""
    high: float | None
    """None below `FEWEST` groups."""
    n: int
    """Number of values, without those that are nan."""
    groups: int
    """Number of groups that these values are from."""


def mean_interval(
    values: Sequence[float] | NDArray[np.floating], *, seed: int, groups: Sequence[str] | None = None
) -> Interval:
    """Return the mean of the values that are not nan, with its 95 % percentile bootstrap interval.

    Args:
        values: (n,) one score per image; nan where the score is not defined.
        seed: the same seed, values and groups, in any order, give the same interval.
        groups: (n,) the group of each image, such as its patient; None if every image is a group of its own.

    Returns:
        The interval. Its ends are None if the values are from fewer than ten groups; if all values are nan, `n` and
        `groups` are 0 and the rest None.

    Raises:
        UsageError: there are no values at all, or the numbers of values and groups differ.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.size == 0:
        raise UsageError("There are no samples to average over. Choose a split that has samples.")
    if groups is not None and len(groups) != scores.size:
        raise UsageError(f"There are {scores.size} values but {len(groups)} groups. Give the group of every value.")
    known = ~np.isnan(scores)
    number = np.arange(scores.size) if groups is None else np.unique(list(groups), return_inverse=True)[1].ravel()
    scores, number = scores[known], number[known]
    if scores.size == 0:
        return Interval(mean=None, low=None, high=None, n=0, groups=0)
    mean = float(np.sort(scores).mean())
    sums, counts = _group_sums(scores, number)
    if sums.size < FEWEST:
        return Interval(mean=mean, low=None, high=None, n=scores.size, groups=sums.size)
    interval = stats.bootstrap(
        (sums, counts),
        _pooled_mean,
        paired=True,
        n_resamples=RESAMPLES,
        batch=max(1, VALUES_AT_A_TIME // sums.size),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean=mean, low=float(interval.low), high=float(interval.high), n=scores.size, groups=sums.size)


def paired_difference(
    a: Sequence[float] | NDArray[np.floating],
    b: Sequence[float] | NDArray[np.floating],
    *,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Interval:
    """Return the mean of a minus b over the same images, with its 95 % percentile bootstrap interval.

    If the interval does not contain zero, the models differ on images like these.

    Args:
        a: (n,) one model's score per image; nan where it is not defined.
        b: (n,) the other model's score of the same images, in the same order.
        seed: as for `mean_interval`.
        groups: as for `mean_interval`.

    Returns:
        The interval; pairs with a nan are left out.

    Raises:
        UsageError: the two are not of the same length, or there are none.
    """
    if len(a) != len(b):
        raise UsageError(
            f"A paired difference needs the same samples from both models, but there are {len(a)} and {len(b)} scores. "
            "Score both on the same split."
        )
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    return mean_interval(difference, seed=seed, groups=groups)


def _group_sums(
    scores: NDArray[np.float64], number: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum and the count of every group's values, sorted, so that no order of the samples matters.

    Args:
        scores: (n,) values.
        number: (n,) number of each value's group.
    """
    order = np.lexsort((scores, number))
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    sums = np.add.reduceat(scores[order], starts)
    counts = np.diff(starts, append=scores.size).astype(np.float64)
    sorted_groups = np.lexsort((counts, sums))
    return sums[sorted_groups], counts[sorted_groups]


def _pooled_mean(sums: NDArray[np.float64], counts: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Return the mean over the images of the groups that were drawn, from the groups' sums and counts."""
    mean: NDArray[np.float64] = sums.sum(axis=axis) / counts.sum(axis=axis)
    return mean
