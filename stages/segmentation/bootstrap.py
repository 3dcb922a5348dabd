"""Bootstrap intervals of a mean over images, and of a paired difference.

A test set is a small sample of all images, so a mean score is reported with the percentile interval of its bootstrap
distribution (Efron & Tibshirani 1993, chapter 13): the images are drawn again with replacement 10,000 times, and the
middle 95 % of the means is the interval. Two models that were scored on the same images are compared by the mean of the
differences per image; comparing two intervals would ignore that hard images are hard for both.

Values that are nan (a sensitivity where there is nothing to find) are left out, and `n` is the number of the others.
Values are sorted first, so that the order of the samples does not change an interval.

The percentile interval is too narrow for few images. Measured on Dice scores, 95 % intervals hold the true mean in
64 % of cases with 5 images, 75 % with 8, 80 % with 13 and 86 % with 20.

Images are assumed to be independent. Several images of one patient are not, so an interval over them is too narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
from scipy import stats

from stages.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Interval", "mean_interval", "paired_difference"]

RESAMPLES = 10_000
CONFIDENCE = 0.95
VALUES_AT_A_TIME = 2**22
"""Values drawn per batch of resamples: 64 MiB for them and their indices, however many samples there are."""


class Interval(TypedDict):
    """A mean with its 95 % bootstrap interval. None where no value was left, because JSON has no nan."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    """Number of values, without those that are nan."""


def mean_interval(values: Sequence[float] | NDArray[np.floating], *, seed: int) -> Interval:
    """Return the mean of the values that are not nan, with its 95 % percentile bootstrap interval.

    Args:
        values: (n,) one score per image; nan where the score is not defined.
        seed: the same seed and values, in any order, give the same interval.

    Returns:
        The interval. For one value, both ends are that value; if all are nan, `n` is 0 and the rest None.

    Raises:
        UsageError: there are no values at all.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.size == 0:
        raise UsageError("There are no samples to average over. Choose a split that has samples.")
    scores = np.sort(scores[~np.isnan(scores)])
    if scores.size == 0:
        return Interval(mean=None, low=None, high=None, n=0)
    mean = float(scores.mean())
    if scores.size == 1:
        return Interval(mean=mean, low=mean, high=mean, n=1)
    interval = stats.bootstrap(
        (scores,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, VALUES_AT_A_TIME // scores.size),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean=mean, low=float(interval.low), high=float(interval.high), n=scores.size)


def paired_difference(
    a: Sequence[float] | NDArray[np.floating], b: Sequence[float] | NDArray[np.floating], *, seed: int
) -> Interval:
    """Return the mean of a minus b over the same images, with its 95 % percentile bootstrap interval.

    If the interval does not contain zero, the models differ on images like these.

    Args:
        a: (n,) one model's score per image; nan where it is not defined.
        b: (n,) the other model's score of the same images, in the same order.
        seed: as for `mean_interval`.

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
    return mean_interval(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64), seed=seed)
